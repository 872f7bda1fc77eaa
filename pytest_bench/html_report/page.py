"""Renders the page: the template, the style sheets, the plotting library and the compressed data, in one file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import msgspec
import yaml
from markupsafe import Markup

from pytest_bench import __version__
from pytest_bench.comparison import changes
from pytest_bench.comparison.sessions import Session, evidence_files, session_files
from pytest_bench.errors import UsageError
from pytest_bench.html_report import content
from pytest_bench.html_report.plots import Plot
from pytest_bench.html_report.samples import FILTERS, choose_samples
from pytest_bench.reports.session_text import conclusion, notes, problems
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.wording import printable

DATA_VERSION = 1

_FOLDER = files("pytest_bench.html_report") / "page"


def render(
    sessions: Sequence[Session], output: Path, refused: Sequence[str] = (), scorings: Scorings = SCORINGS
) -> str:
    """The page of these sessions. Links to evidence are relative to the folder of `output`.

    `refused` says which folders did not verify and are not on the page. Raises `UsageError` if the plotting library is
    not installed, and `EvidenceError` for damaged files.
    """
    library = plotting_library()
    script = _file("page.js")
    drawn: list[Plot] = []

    def plot(item: Plot) -> Markup:
        drawn.append(item)
        return Markup(
            '<figure class="plot" id="plot-{0}"><div class="drawing" role="img" aria-label="{1}"></div>'
            "<figcaption>{1}</figcaption></figure>"
        ).format(len(drawn) - 1, item.caption)

    chosen = choose_samples(sessions, scorings)
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_file),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = lambda text: printable(str(text), keep="\n")
    with tempfile.TemporaryDirectory() as scratch:
        return environment.get_template("page.html.j2").render(
            sessions=sessions,
            refused=refused,
            plot=plot,
            content=content,
            differences=list(content.differences(sessions, Path(scratch), scorings)),
            points=content.point_sections(sessions, Path(scratch)),
            conclusion=conclusion,
            problems=problems,
            notes=notes,
            resolved=_resolved,
            environments=[changes.environment(session) for session in sessions],
            environment_changes=changes.changes([changes.environment(session) for session in sessions]),
            suite_changes=changes.changes([changes.suites(session) for session in sessions]),
            evidence=lambda session, point: _links(evidence_files(session, point), session, output),
            files_of=lambda session: _links(session_files(session), session, output),
            chosen=chosen,
            filters=FILTERS,
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            release=__version__,
            styles=[Markup(_file(name)) for name in ("simple.min.css", "page.css")],  # noqa: S704 # our own files
            library=Markup(library),  # noqa: S704 # as installed
            script=Markup(script),  # noqa: S704 # our own file
            licences=_file("licences.txt"),
            policy=_policy(library, script),
            data=lambda: Markup(_packed(drawn, chosen.samples)),  # noqa: S704 # base64
        )


def plotting_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script. Raises `UsageError` if they are not installed."""
    try:
        import vl_convert  # noqa: PLC0415 # optional, and large
    except ImportError as error:
        raise UsageError(
            "the plots of a report need vl-convert-python, which is not installed: "
            "pip install 'pytest-inference-bench[report]'"
        ) from error
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return str(bundle).replace("</script", "<\\/script")


def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """A content security policy: the page runs these scripts only, and fetches nothing.

    Vega compiles its expressions, hence `unsafe-eval`; they are ours, and data is never part of one.
    """
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _packed(drawn: Sequence[Plot], samples: Sequence[dict[str, Any]]) -> str:
    """Plots and samples as base64 of compressed JSON, so that no text of a model is part of the HTML."""
    data = msgspec.json.encode(
        {"version": DATA_VERSION, "plots": [item.spec for item in drawn], "samples": samples}
    )
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def _resolved(session: Session) -> Iterator[tuple[str, str]]:
    """Each suite as resolved, as YAML."""
    for suite, resolved in changes.resolved_suites(session).items():
        yield suite, yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True, width=110)


def _links(paths: Iterator[Path], session: Session, output: Path) -> list[tuple[str, str]]:
    """Address relative to the page, and name relative to the results folder, of each file."""
    here = output.resolve().parent
    return [
        (quote(os.path.relpath(path.resolve(), here)), str(path.relative_to(session.folder)))
        for path in paths
    ]
