"""`pytest-bench measure`: measure an endpoint without writing a suite."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_bench.bounds import Bound, parse_bound, split_inline
from pytest_bench.cli import option_values
from pytest_bench.cli import run as judged_run
from pytest_bench.cli.init import test_file
from pytest_bench.cli.option_values import add_option
from pytest_bench.cli.quick_suite import QuickSuite
from pytest_bench.endpoints.headers import read_headers
from pytest_bench.endpoints.models import served_models
from pytest_bench.errors import EndpointError, TokensError, UsageError
from pytest_bench.files import write_atomic
from pytest_bench.hub_cache import is_hub_id
from pytest_bench.metrics.names import unit_of
from pytest_bench.plugin.selection import judging_functions
from pytest_bench.running.deployment import SIMULATOR
from pytest_bench.scratch import scratch_folder
from pytest_bench.suite.deployments import check_endpoints
from pytest_bench.suite.plan import Secret
from pytest_bench.suite.problems import Problems, nearest_file
from pytest_bench.tokens.source import find, resolve
from pytest_bench.wording import first_of, printable

SUMMARY = "measure an endpoint in one line, without writing a suite"
EXAMPLE = "pytest-bench measure http://host:8000 --model M --requests 100 --concurrency 8"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_TEST = "test_perf.py"
_NEW_FILES = ("--save", "--results")
_APIS = ("openai-chat", "openai-completions", "sglang")
"""APIs whose requests have a prompt and `max_tokens`."""
_SIMULATED = "simulated"
_FORMATS = ("jsonl", "json", "csv", "sharegpt", "parquet")
_MODELS_SHOWN = 8
_DEFAULT_CONCURRENCY = 8
_LEAST_WARMUP = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.allow_abbrev = False
    parser.add_argument("url", metavar="URL", help="the endpoint, as in http://host:8000, or `simulator`")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="name of the served model (default: the only one that the server lists)",
    )
    load = parser.add_argument_group("load")
    add_option(
        load,
        "--requests",
        "--num-prompts",
        convert=option_values.count,
        default=100,
        metavar="N",
        help="measured requests",
    )
    add_option(
        load,
        "--concurrency",
        "--max-concurrency",
        convert=option_values.list_of(option_values.count),
        metavar="N[,N...]",
        help=f"closed loop: requests in flight (default: {_DEFAULT_CONCURRENCY}, unless --rate is given). With --rate: "
        "most requests in flight. Several make one point each",
    )
    add_option(
        load,
        "--rate",
        "--request-rate",
        convert=option_values.list_of(option_values.rate),
        metavar="R[,R...]",
        help="open loop: Poisson arrivals per second, however many are in flight unless --concurrency limits them; "
        "several make one point each",
    )
    add_option(
        load,
        "--burstiness",
        convert=option_values.positive,
        default=1.0,
        metavar="X",
        help="shape of the gaps between arrivals: 1 is Poisson, below 1 is burstier",
    )
    add_option(
        load,
        "--warmup",
        "--num-warmups",
        convert=option_values.count_or_none,
        metavar="N",
        help=f"requests before each point, in no metric (default: the concurrency, at least {_LEAST_WARMUP})",
    )
    data = parser.add_argument_group("prompts and outputs")
    add_option(
        data,
        "--input-tokens",
        *("--input-len", "--random-input-len"),
        convert=option_values.count,
        default=512,
        metavar="N",
        help="length of generated prompts; in words if there is no tokenizer",
    )
    add_option(
        data,
        "--output-tokens",
        *("--output-len", "--random-output-len"),
        convert=option_values.count,
        default=128,
        metavar="N",
        help="`max_tokens` of each request",
    )
    add_option(
        data,
        "--dataset",
        "--dataset-path",
        metavar="FILE",
        help="prompts of a file instead of generated ones",
    )
    data.add_argument("--dataset-format", choices=_FORMATS, help="default: determined by the file's suffix")
    data.add_argument(
        "--ignore-eos",
        action=argparse.BooleanOptionalAction,
        help="generate all output tokens (default: for generated prompts; hosted APIs may refuse the field)",
    )
    add_option(
        data,
        "--temperature",
        convert=option_values.not_negative,
        default=0.0,
        metavar="X",
        help="sampling temperature",
    )
    add_option(
        data,
        "--extra-body",
        convert=option_values.json_object,
        default={},
        metavar="JSON",
        help="further fields of the request body, as a JSON object",
    )
    add_option(
        data,
        "--seed",
        convert=option_values.seed,
        metavar="N",
        help="seed of prompts and arrivals (default: a new one, so that no prompt is in the server's cache)",
    )
    served = parser.add_argument_group("endpoint")
    served.add_argument("--api", choices=_APIS, default="openai-chat", help="how requests are written")
    served.add_argument(
        "--no-check-model",
        dest="check_model",
        action="store_false",
        help="accept that the server does not list --model, as one that loads models on request",
    )
    served.add_argument(
        "--tokenizer",
        metavar="PATH_OR_ID",
        help="tokenizer that counts and generates (default: the one that the model's name leads to on this "
        "machine; without one, the server's usage counts)",
    )
    served.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable that holds the endpoint's API key"
    )
    served.add_argument(
        "--header",
        dest="headers",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a header of every request; may be repeated",
    )
    result = parser.add_argument_group("result")
    result.add_argument(
        "--bound",
        dest="bounds",
        action="append",
        default=[],
        metavar="LIMIT",
        help="a limit that must be met, as in --bound 'time_to_first_token.p99 <= 200ms'; may be repeated",
    )
    result.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="also write the suite to FILE, as in bench/quick.yaml, with a test file beside it",
    )
    result.add_argument("--results", metavar="DIR", help="folder for evidence, as given to pytest")


def run(arguments: argparse.Namespace) -> int:
    """Measure as `pytest-bench run` does, with its exit status. Raises `UsageError` for a mistake in the call."""
    again = shlex.join(["pytest-bench", "measure", *_without_files(arguments.words)])
    suite = _suite(arguments)
    text = f"# {again}\n{suite.text()}"
    if arguments.save is not None:
        _save(arguments.save, text)
    print(printable(text, keep="\n"), flush=True)
    for note in _notes(suite):
        print(f"note: {printable(note)}", flush=True)
    with scratch_folder() as folder:
        (folder / f"{suite.name}.yaml").write_text(text, encoding="utf-8")
        (folder / _TEST).write_text(test_file("perf"), encoding="utf-8")
        results = [] if arguments.results is None else [f"--results={arguments.results}"]
        # The header and the list of failures only repeat paths of the temporary folder.
        words = [str(folder), "-q", "--show-progress", "-rN", "-p", "no:cacheprovider", *results]
        status = judged_run.run_words(words, rerun=again)
    if status:
        kept = f"--save {arguments.save} kept it" if arguments.save else "--save FILE keeps it"
        print(f"note: {suite.name}.yaml, which messages name, is the suite printed above; {kept}", flush=True)
    return status


def _without_files(words: Sequence[str]) -> list[str]:
    """The words of a call without the options that name new files."""
    kept: list[str] = []
    follows = False
    for word in words:
        option, equals, _ = word.partition("=")
        if not follows and option not in _NEW_FILES:
            kept.append(word)
        follows = not follows and option in _NEW_FILES and not equals
    return kept


def _suite(arguments: argparse.Namespace) -> QuickSuite:
    url = _url(arguments.url)
    rate: tuple[float, ...] = arguments.rate or ()
    concurrency: tuple[int, ...] = arguments.concurrency or (() if rate else (_DEFAULT_CONCURRENCY,))
    headers = dict(map(_header, arguments.headers))
    dataset = None if arguments.dataset is None else _dataset(arguments.dataset)
    if dataset is None and arguments.dataset_format is not None:
        raise UsageError(
            f"--dataset-format {arguments.dataset_format}: is for a file; give one with --dataset, or leave it out"
        )
    if arguments.burstiness != 1.0 and not rate:
        raise UsageError(
            f"--burstiness {arguments.burstiness:g}: is the shape of arrivals; give --rate too, or leave it out"
        )
    settings: dict[str, Any] = {
        "name": _suite_name(arguments.save),
        "tokenizer": None if arguments.tokenizer is None else _tokenizer(arguments.tokenizer),
        "bounds": tuple(map(_bound, arguments.bounds)),
    }
    same = ("api", "requests", "burstiness", "input_tokens", "output_tokens", "dataset_format")
    settings |= {
        name: getattr(arguments, name)
        for name in (*same, "api_key_env", "temperature", "extra_body", "check_model")
    }
    warmup = arguments.warmup
    return QuickSuite(
        **settings,
        model=arguments.model or _only_model(url, headers, arguments.api_key_env),
        endpoint=url,
        concurrency=concurrency,
        rate=rate,
        warmup=max(_LEAST_WARMUP, *concurrency) if warmup is None else warmup,
        dataset=dataset,
        seed=secrets.randbelow(2**32) if arguments.seed is None else arguments.seed,
        headers=headers,
        ignore_eos=dataset is None if arguments.ignore_eos is None else arguments.ignore_eos,
    )


def _url(text: str) -> str:
    problems = Problems()
    check_endpoints((text,), None, "URL", problems)
    if problems:
        raise UsageError("; ".join(problems.error().problems))
    return text.rstrip("/")


def _only_model(url: str, headers: Mapping[str, str], api_key_env: str | None) -> str:
    """The model that the server lists, if it is the only one. Raises `UsageError`, which names those it lists."""
    if url == SIMULATOR:
        return _SIMULATED
    key = None if api_key_env is None else Secret(from_env=api_key_env)
    try:
        names = served_models(url, read_headers(headers, key, os.environ))
    except EndpointError as error:
        raise UsageError(
            f"--model is not given, and the server does not say what it serves: {error}; give --model NAME"
        ) from error
    if len(names) != 1:
        listed = first_of([repr(name) for name in names], _MODELS_SHOWN)
        served = f"{len(names)} models ({listed})" if names else "no model yet"
        raise UsageError(f"--model is not given, and {url} serves {served}; give --model NAME")
    print(f"note: --model {printable(names[0])}: the only model that {url} serves", flush=True)
    return names[0]


def _notes(suite: QuickSuite) -> Iterator[str]:
    if suite.dataset is None and suite.tokenizer is None:
        try:
            found = find(None, suite.model, str(Path.cwd()))
        except TokensError as error:
            raise UsageError(f"--model {suite.model}: {error}") from error
        if found is None:
            yield (
                f"no tokenizer of {suite.model} is on this machine: prompts have {suite.input_tokens} words, and the "
                "server's usage counts tokens; name one with --tokenizer for prompts of an exact number of tokens"
            )


def _save(path: Path, text: str) -> None:
    """Write the suite, and a test file if no test in its folder runs performance points. Raises `UsageError`."""
    if os.path.lexists(path):
        raise UsageError(f"--save {path}: already there; name another file, or move it away")
    files = {path: text}
    if not any(
        kind == "perf" for file in path.parent.glob("test_*.py") for kind, _ in judging_functions(file)
    ):
        files[path.parent / _TEST] = test_file("perf")
    if os.path.lexists(path.parent / _TEST) and len(files) > 1:
        raise UsageError(
            f"--save {path}: {path.parent / _TEST} is there and runs no performance points; name another folder"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            write_atomic(file, content.encode())
    except OSError as error:
        raise UsageError(
            f"--save {path}: {error.strerror or error}; name a file that can be written"
        ) from error
    print(f"saved: {', '.join(map(str, files))}", flush=True)


def _suite_name(save: Path | None) -> str:
    if save is None:
        return "measure"
    if save.suffix not in {".yaml", ".yml"}:
        raise UsageError(f"--save {save}: expected a name that ends in .yaml, as in bench/quick.yaml")
    if not _NAME.fullmatch(save.stem):
        raise UsageError(
            f"--save {save}: {save.stem!r} becomes the name of the suite; expected lower-case letters, digits and '-'"
        )
    return save.stem


def _dataset(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"--dataset {text}: there is no such file{nearest_file(path)}")
    return path


def _tokenizer(text: str) -> str:
    """`text` in a form that every suite can use: an absolute path if it exists, else a hub id."""
    path = Path(text).expanduser()
    if not path.exists() and is_hub_id(text):
        return text
    try:
        resolve(text)
    except TokensError as error:
        raise UsageError(f"--tokenizer: {error}") from error
    return str(path.absolute())


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--header {text!r}: expected NAME=VALUE, as in X-Team=bench")
    return name, value


def _bound(text: str) -> Bound:
    try:
        metric, limit = split_inline(text)
        return parse_bound(metric, limit, unit_of(metric))
    except UsageError as error:
        raise UsageError(f"--bound {text!r}: {error}") from error
