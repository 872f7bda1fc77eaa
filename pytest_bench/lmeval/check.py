"""All rules, applied to one folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.lmeval import metadata as meta
from pytest_bench.lmeval import results, scores
from pytest_bench.lmeval.expected import Expected
from pytest_bench.lmeval.report import Problem, Report, Score, show
from pytest_bench.lmeval.results import ResultFile
from pytest_bench.lmeval.thresholds import Thresholds

METRIC_PREFIX = "exact_match,"


def check_folder(
    folder: Path,
    *,
    expected: Expected | None,
    thresholds: Thresholds | None = None,
    min_score: float | None = None,
    metric_prefix: str = METRIC_PREFIX,
    model_prefix: str | None = None,
) -> Report:
    """Hold a folder of lm-eval against what was asked for. Every problem is found, and none raises.

    `model_prefix` names the model among the thresholds; left out, `infmax_model_prefix` of the metadata does.
    """
    problems: list[Problem] = []
    metadata = meta.read_metadata(folder, problems)
    if expected is None:
        problems.append(
            Problem(
                "--expected-concs",
                "",
                "an expectation is required: the folder alone cannot say which concurrencies were meant",
            )
        )
    if metadata is not None:
        problems += [*meta.check_statuses(metadata), *meta.check_artifacts(metadata, folder)]
    asked = expected or _unasked(metadata)
    batch = meta.is_batch(metadata or {}, asked.concs)
    if expected is not None and metadata is not None:
        problems += (
            meta.check_batch(metadata, asked.concs) if batch else meta.check_single(metadata, asked.concs[0])
        )
    names = results.find_results(folder, problems)
    if expected is not None:
        problems += results.check_names(names, asked, batch=batch)
    files = list(_read(folder, names, asked, problems, batch=batch))
    problems += results.check_distinct(files)
    judged = _Scores(
        folder=folder,
        expected=asked,
        thresholds=thresholds or Thresholds(),
        min_score=min_score,
        metric_prefix=metric_prefix,
        model_prefix=model_prefix or _prefix(metadata),
        model=asked.model or _model(metadata),
        batch=batch,
        problems=problems,
    )
    found = [score for file in files for score in judged.of(file)]
    problems += _differing_sets(files, found)
    return Report(problems=tuple(dict.fromkeys(problems)), scores=tuple(found))


class _Scores(msgspec.Struct, kw_only=True):
    """What it takes to judge the scores of a file."""

    folder: Path
    expected: Expected
    thresholds: Thresholds
    min_score: float | None
    metric_prefix: str
    model_prefix: str | None
    model: str | None
    batch: bool
    problems: list[Problem]

    def of(self, file: ResultFile) -> Iterator[Score]:
        """The judged scores of a file; everything wrong with it becomes a problem."""
        self.problems += results.check_origin(file, self.expected, self.model)
        before = len(self.problems)
        tasks = scores.tasks_of(file, self.problems)
        if not tasks and len(self.problems) == before:
            self.problems.append(Problem(file.name, "results", "holds no task: there is nothing to check"))
        self.problems += results.check_sizes(file, list(tasks), self.expected.limit)
        for task, metrics in tasks.items():
            for score in scores.read_scores(file, task, metrics, self.metric_prefix, self.problems):
                recomputed, contradiction = scores.check_samples(self.folder, score, file, batch=self.batch)
                judged, below = scores.judge(score, self.thresholds, self.model_prefix, self.min_score)
                self.problems += [problem for problem in (contradiction, below) if problem is not None]
                yield msgspec.structs.replace(judged, recomputed=recomputed)


def _unasked(metadata: dict[str, Any] | None) -> Expected:
    """Stands in where nobody said what was asked for, so that everything else wrong is shown as well."""
    conc = (metadata or {}).get("conc")
    return Expected(concs=(conc,) if meta.is_conc(conc) else ())


def _read(
    folder: Path, names: list[str], expected: Expected, problems: list[Problem], *, batch: bool
) -> Iterator[ResultFile]:
    for name in names:
        try:
            conc = results.conc_of(name)
        except ValueError:
            conc = None
        if conc is None and not batch and expected.concs:
            conc = expected.concs[0]
        file = results.read_result(folder, name, conc, problems)
        if file is not None:
            yield file


def _prefix(metadata: dict[str, Any] | None) -> str | None:
    prefix = (metadata or {}).get("infmax_model_prefix")
    return prefix if isinstance(prefix, str) else None


def _model(metadata: dict[str, Any] | None) -> str | None:
    model = (metadata or {}).get("model")
    return model if isinstance(model, str) and model else None


def _differing_sets(files: list[ResultFile], found: list[Score]) -> Iterator[Problem]:
    """Every file measured the same tasks by the same metrics."""
    sets = {
        file.name: {(score.task, score.metric) for score in found if score.file == file.name}
        for file in files
    }
    everything = set().union(*sets.values())
    for name, own in sets.items():
        if missing := sorted(everything - own):
            listed = ", ".join(f"{show(task)} {show(metric)}" for task, metric in missing)
            yield Problem(name, "results", f"has no score of {listed}, which other files have")
