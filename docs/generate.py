"""Write the reference pages that follow from the code: `python docs/generate.py`.

`tests/test_docs.py` fails while a page does not say what the code says.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from msgspec import Meta

from pytest_bench.api import MOST_TOKENS, import_api
from pytest_bench.bounds import SCHEDULED, TIME_UNITS
from pytest_bench.catalogue import all_apis, vocabulary
from pytest_bench.cli.main import COMMANDS
from pytest_bench.evals import definitions as eval_definitions
from pytest_bench.labels import Label
from pytest_bench.metrics.definitions import DEFINITIONS, EARLY_STOPPING, RATES, SHARES, STATISTICS
from pytest_bench.plugin.options import add_options
from pytest_bench.running.simulator_bound import LIMIT_MS
from pytest_bench.simulator.answers import FIELDS
from pytest_bench.simulator.behaviour import CHEATS, FAULTS, FRAMINGS, PER_SERVER, Behaviour
from pytest_bench.simulator.lag import SERIES
from pytest_bench.suite.json_schema import OPTIONAL, json_schema
from pytest_bench.suite.load_patterns import NEEDS, TAKES

REFERENCE = Path(__file__).parent / "reference"

NOTE = "<!-- Written by docs/generate.py; change the code, then run it. -->"
LABELS_BEGIN = (
    "<!-- This table is written by docs/generate.py; change pytest_bench/labels.py, then run it. -->"
)
LABELS_END = "<!-- End of the table. -->"


def metrics_page() -> str:
    """Every metric: what it is, its unit, and which statistics it has."""
    lines = [
        "# Metrics",
        NOTE,
        "",
        "A bound names a metric, and for a distribution a statistic after a dot: `time_to_first_token.p99`.",
        f"Statistics are {_code(STATISTICS)}; percentiles are exact, as the lower of two neighbours. Latencies",
        f"of whole requests also have MLPerf's early-stopping estimates: {_code(EARLY_STOPPING)}.",
        "",
        "A bound is a comparison (`<=`, `<`, `>=`, `>`, `==`) and a number, with a unit for times",
        f"({_code(TIME_UNITS)}): `<= 200ms`. Shares may be written in percent. Latencies and throughputs are those of",
        "succeeded requests. A metric that is not defined for a point is null, with the reason, and a bound on it is",
        "an error.",
        "",
        "Under open-loop load, bounds count from the scheduled time, so that no slow server can hide: "
        + ", ".join(f"one on `{name}` judges `{judged}`" for name, judged in SCHEDULED.items())
        + ". So it is in `stages` where every stage is open loop; stages that mix loops judge bounds as written. An",
        "`slo` is always taken as declared: name the scheduled metric there to count from the scheduled time.",
        "",
        "Two bounds are implied: `failed_requests == 0`, unless `failed_requests` or `error_rate` is bounded, and",
        "`empty_outputs == 0`, unless `empty_outputs` is.",
        "",
        "Times between content events need events that arrive apart. A stream whose content events all have the same",
        "time stamp (a proxy buffered it) has none. If more than one percent of the streams are like this, these",
        "metrics are null, with the reason.",
        "",
        "A bound with a `confidence` is judged by its interval: the mean or a percentile of a metric with one value a",
        f"request, {_code(sorted(SHARES | RATES))} have one. On a busy server, the latencies of neighbouring requests",
        "are alike. So the interval of a mean or a percentile comes from 20 blocks of requests in the order of issue,",
        "each at least ten relaxation times long. A shorter run has no interval (`too-short`), and neither has a",
        "percentile beyond which fewer than 20 independent values lie. The bound is then an error.",
        "",
        "A limit that could never be judged is refused before anything starts: on tokens without a tokenizer, on",
        "goodput without an `slo`, on scheduled times in a closed loop, on a steady state of a burst or of stages, on",
        "the Server scenario's throughput outside open loop, with a `confidence` where there is no interval.",
        "",
        "| metric | unit | kind | better | definition |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{item.name}` | {item.unit} | {item.kind} | {item.better} | {_cell(item.description)} |"
        for item in DEFINITIONS.values()
    ]
    lines += [
        "",
        "## Evals",
        "",
        "A bound of an eval names a score of its scorers, as `metric,filter`, or one of these. No bound is implied; an",
        "unscored request beyond the allowance makes the point an error.",
        "",
        "| metric | unit | definition |",
        "| --- | --- | --- |",
        f"| `exact_match,strict-match`, … | {eval_definitions.SCORE.unit} | {_cell(eval_definitions.SCORE.meaning)} |",
        *(
            f"| `{name}` | {metric.unit} | {_cell(metric.meaning)} |"
            for name, metric in eval_definitions.metrics(()).items()
        ),
    ]
    return "\n".join([*lines, ""])


def suites_page() -> str:
    """The suite language: each mapping with its keys, types, defaults and meanings."""
    # Without metrics, which have a page of their own.
    schema = json_schema(replace(vocabulary(all_apis([])), metrics={}))
    lines = [
        "# Suites",
        NOTE,
        "",
        "A suite is one YAML file. `pytest-bench schema` prints this language as JSON Schema, for editors.",
        "Unknown keys, repeated keys, wrong types and values that mean nothing are refused before anything",
        "starts, all of them at once, each with `file:line:column`.",
        "",
        "Values may hold `${VAR}` or `${VAR:-default}`. A key that must stay secret is written",
        "`{from_env: NAME}`.",
        "",
        *_section("The file", schema),
    ]
    for name, section in sorted(schema["$defs"].items(), key=lambda item: _title(item[0])):
        if name.endswith(OPTIONAL):
            continue  # the same keys as those of the section, none of them required
        lines += _section(_title(name), section)
        if _title(name) == "Load":
            lines += _load_patterns()
    return "\n".join(lines)


def _load_patterns() -> Iterator[str]:
    yield "### Load patterns"
    yield ""
    yield "[Choose a load](../how-to/choose-a-load.md) says when to use which. What a sweep gives, the load leaves out."
    yield "`concurrency`, `constant`, `poisson` and `gamma` also need `requests`, `duration_s`, or both."
    yield ""
    yield "| pattern | needs | may have |"
    yield "| --- | --- | --- |"
    for pattern, takes in TAKES.items():
        needs = NEEDS[pattern]
        yield f"| `{pattern}` | {_code(sorted(needs))} | {_code(sorted(takes - needs))} |"
    yield ""


def apis_page() -> str:
    """The shipped APIs: where requests go, which columns a row may have, and how responses are read."""
    lines = [
        "# APIs",
        NOTE,
        "",
        "`deployment.api` says how a request is written and a response read. A row of a dataset holds columns of",
        "its API; [add an API](../how-to/add-an-api.md) of your own where yours is missing.",
        "",
    ]
    for name, reference in all_apis([]).items():
        api = import_api(name, reference)
        answer = "as a stream or in one piece" if api.streaming else "in one piece"
        lines += [
            f"## {name}",
            "",
            f"`POST {api.path}`, answered {answer}{', or as a job to poll' * api.polls}.",
            "",
        ]
        lines += ["| column | required | meaning |", "| --- | --- | --- |"]
        required = "yes" if len(api.required) == 1 else "one of these"
        lines += [
            f"| `{column}` | {required if column in api.required else ''} | {_cell(meaning)} |"
            for column, meaning in api.columns.items()
        ]
        lines.append("")
    return "\n".join([*lines, *_responses(), ""])


_RESPONSES = {
    "an object with `error`, or with an `error_code` that is not 0": "`stream_error`",
    "an object with `message` or `detail` and no field of the API": "`stream_error`",
    "an event of type `error`, or a line `error: …` (llama.cpp)": "`stream_error`",
    "the finish reason `abort`, `aborted`, `cancelled`, `canceled`, `error` or `timeout`": "`stream_error`",
    'the finish reason `""`, `"null"` or `"none"`': "no finish reason",
    "a stream with neither `[DONE]` nor a finish reason": "`truncated_stream`",
    "an event that is not a JSON object, or a field of another type": "`malformed`",
    "an object without any field of the API": "skipped if the stream has a finish reason, else `malformed`",
    "comments, empty `data:`, `data: null`, `choices: null`": "skipped",
    "a stream under another content type, or none": "read if it begins like one",
    "events that no blank line ends": "`malformed`; the detail says so",
    "one answer to a request for a stream, or the reverse": "`malformed`",
    'a number of tokens as `3.0` or `"3"`': "read",
    f"a number of tokens that is not an integer from 0 to {MOST_TOKENS}": "`malformed`",
    "totals with every event that do not add up to the usage": "tokens of single events are unknown",
    "chat content parts of type `text`, `output_text`, `refusal`": "content",
    "chat content parts of type `thinking`, `reasoning`": "reasoning",
    "chat content parts of another type": "`malformed`",
    "tool-call arguments that are not text": "counted as JSON",
    "half of a surrogate pair (`\\ud83d`) in a text": "read as U+FFFD",
    "`/generate` events with the text so far, or with new text": "told apart by the growth of `completion_tokens`",
    "`/generate` events that fit neither": "`malformed`",
    "no output": "an empty output: a point fails unless it bounds `empty_outputs`",
}
"""What becomes of what a server sends."""


def _responses() -> list[str]:
    return [
        "## How responses are read",
        "",
        "A request succeeds if its response is complete and the server reports no error. Deviations from an API whose",
        "meaning is clear are read; others fail the request with a type and the server's words.",
        "",
        "| the server sends | result |",
        "| --- | --- |",
        *(f"| {sent} | {result} |" for sent, result in _RESPONSES.items()),
    ]


def simulator_page() -> str:
    """The simulator: how it is asked for, and every knob."""
    lines = [
        "# The simulator",
        NOTE,
        "",
        "A real HTTP server in a process of its own that behaves like a served model without being one. It speaks",
        "all shipped APIs, `/health`, `/v1/models`, `/version` and `/metrics`, and is as fast or as broken as it is",
        "told to be:",
        "",
        "- `--endpoint=simulator`, or `endpoint: simulator` in a suite, starts one for the session, with the knobs of",
        "  `deployment.simulator`. What is measured on it is labelled `simulator`.",
        "- `pytest-bench serve` runs one in the foreground, with a knob an option: `ttft_ms` is `--ttft-ms`. It prints",
        "  its URL once it listens.",
        "- A request sets a knob for itself with a header: `x-sim-ttft-ms: 50`. Not those marked *server*.",
        "",
        "The output is made of words that follow from the prompt and the seed: the same question, the same answer.",
        "",
        "It is one process beside the client, and claims its times up to 256 streams of 100 events a second. With",
        "more, first tokens come late and events bunched: what is measured is the simulator's own limit. It looks",
        "every 10 ms how late its event loop is while there is something to do, and tells at `/metrics`",
        f"(`{SERIES}`): a point whose phase it was more than {LIMIT_MS} ms late in, at p99, is labelled",
        f"`{Label.SIMULATOR_BOUND}`, and says so; its outcome stays. How far a machine gets, `pytest-bench",
        "calibrate` finds out; for more, start several with `pytest-bench serve` and name them all as endpoints.",
        "",
        "| knob | default | meaning |",
        "| --- | --- | --- |",
    ]
    defaults = Behaviour()
    for name, hint in get_type_hints(Behaviour, include_extras=True).items():
        meaning = next(meta.description or "" for meta in get_args(hint) if isinstance(meta, Meta))
        server = " *server*" if name in PER_SERVER else ""
        lines.append(f"| `{name}`{server} | {_value(getattr(defaults, name))} | {_cell(meaning)} |")
    for title, words, intro in (
        (
            "Faults",
            FAULTS,
            "`fault: {reset: 0.1}` or `--fault reset=0.1`: at most one of them strikes a request.",
        ),
        ("Odd framings", FRAMINGS, "Also under `fault`: unusual, valid, and never a failure."),
        ("Cheats", CHEATS, "`cheat: [short_output]` or `--cheat short_output`: what audits should find."),
    ):
        lines += ["", f"## {title}", "", intro, "", "| name | what happens |", "| --- | --- |"]
        lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in words.items()]
    return "\n".join([*lines, *_answers(), ""])


def _answers() -> Iterator[str]:
    yield from ("", "## Answers from a file", "")
    yield "`answers: data/answers.jsonl`, relative to the suite, or `--answers FILE`: every request for text gets"
    yield "the answer to its prompt, one JSON object a line. A prompt without an answer is refused with 422, so that"
    yield "no eval scores invented words; only the check of readiness, `Hello` with one token, gets a word. The file is"
    yield "checked before anything starts, and its content belongs to the digest of the points."
    yield ""
    yield "| field | meaning |"
    yield "| --- | --- |"
    for name, meaning in FIELDS.items():
        yield f"| `{name}` | {_cell(meaning)} |"
    yield ""
    yield "`GET /received` counts the requests: how many were `received` and `completed` for each item, and their"
    yield "ids in the order of arrival; and the ids of `unanswered` requests. The log holds the `item` of every"
    yield "request. Both are the server's own count, against which a resumed eval can be checked."
    yield ""
    yield "`suites/data/arithmetic-stories-answers.jsonl` answers 200 questions in gsm8k's format. Most answers are"
    yield "right; wrong, empty, null, truncated, refused, reasoning-only and unparseable ones are among them, and some"
    yield "that recite an example."


def command_line_page() -> str:
    """Options of the plugin, and every command with its arguments."""
    lines = [
        "# Command line",
        NOTE,
        "",
        "```console",
        "$ pytest suites/ -k wan22 --endpoint=http://host:8000",
        "```",
        "",
        "pytest's own options work as they do. A `-k` that selects nothing is red; one that leaves points out says so,",
        "and is red with `--complete`.",
        "",
        "| option | meaning |",
        "| --- | --- |",
    ]
    recorder = _Options()
    add_options(recorder)  # type: ignore[arg-type] # all that it asks of a parser
    lines += recorder.rows
    lines += [
        "",
        "Exit status: 0 every selected point passed, 1 something is red, 2 interrupted, 4 the call or the suites are",
        "wrong and nothing was run.",
        "",
        "## pytest-bench",
        "",
        "Commands beside pytest. Exit status: 0 good, 1 not good, 2 a mistake in the call, 130 interrupted. `compare`",
        "also has 3, a condition of `--fail-on` is broken, and 4, more repeats are needed to tell; `repeat` has 4 if",
        "the declared precision was not reached.",
    ]
    for name, reference in COMMANDS.items():
        command = importlib.import_module(reference)
        parser = argparse.ArgumentParser(add_help=False)
        command.add_arguments(parser)
        lines += ["", f"### {name}", "", f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.", ""]
        lines += ["```console", f"$ {command.EXAMPLE}", "```", ""]
        lines += ["| argument | meaning |", "| --- | --- |"]
        knobs = Behaviour.__struct_fields__ if name == "serve" else ()
        lines += _arguments(parser, left_out=knobs)
        if knobs:
            lines += ["", "And one option for each knob of [the simulator](simulator.md)."]
    return "\n".join([*lines, ""])


class _Options:
    """Stands in for pytest's parser, and remembers what it is given."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def getgroup(self, _name: str, _description: str) -> _Options:
        return self

    def addoption(self, option: str, *, help: str, metavar: str | None = None, **_: Any) -> None:  # noqa: A002 # pytest's word
        self.rows.append(f"| `{option}{f' {metavar}' if metavar else ''}` | {_cell(help)} |")


def _arguments(parser: argparse.ArgumentParser, *, left_out: Iterable[str]) -> Iterator[str]:
    for action in parser._actions:  # noqa: SLF001 # argparse tells them nowhere else
        if action.dest in left_out:
            continue
        metavar = action.metavar or ("|".join(map(str, action.choices)) if action.choices else None)
        takes_value = action.nargs != 0
        shown = metavar if isinstance(metavar, str) else action.dest.upper()
        options = ", ".join(action.option_strings)
        called = f"{options} {shown}" if options and takes_value else options or shown
        meaning = (action.help or "") % vars(action)
        default = f" (default {action.default})" if options and takes_value and _worth_saying(action) else ""
        yield f"| `{_cell(called)}` | {_cell(meaning + default)} |"


def _worth_saying(action: argparse.Action) -> bool:
    return action.default not in (None, [], ()) and "default" not in (action.help or "")


def _value(value: object) -> str:
    return "" if value in (None, {}, ()) else f"`{json.dumps(value)}`"


def _section(title: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    if description := schema.get("description"):
        yield " ".join(description.split())
        yield ""
    required = set(schema.get("required", ()))
    properties = schema.get("properties", {})
    if properties:
        yield "| key | value | default | meaning |"
        yield "| --- | --- | --- | --- |"
        for name, field in properties.items():
            default = "**required**" if name in required else _default(field)
            yield f"| `{name}` | {_type(field)} | {default} | {_cell(field.get('description', ''))} |"
        yield ""


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        title = _title(field["$ref"].rpartition("/")[2])
        return f"[{title}](#{_anchor(title)})"
    if "anyOf" in field or "oneOf" in field:
        kinds = [
            _type(item) for item in field.get("anyOf", field.get("oneOf", ())) if item.get("type") != "null"
        ]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{word}`" for word in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        inner = next(iter(field.get("patternProperties", {}).values()), field.get("additionalProperties"))
        return f"name: {_type(inner)}" if isinstance(inner, dict) and inner else "mapping"
    return {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}.get(
        field.get("type", ""), "anything"
    )


def _default(field: dict[str, Any]) -> str:
    if "default" not in field or field["default"] is None or isinstance(field["default"], dict):
        return ""
    return f"`{json.dumps(field['default'])}`"


def _title(name: str) -> str:
    if name.startswith("Audit_"):
        return f"Audit {name.removeprefix('Audit_')}"
    return name.removesuffix(OPTIONAL).removesuffix("Section")


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def results_folder_page() -> str:
    """The page as it is, with the table of labels between its two comments written anew."""
    page = (REFERENCE / "results-folder.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(LABELS_BEGIN)
    _, _, after = rest.partition(LABELS_END)
    table = ["| label | meaning |", "| --- | --- |"]
    table += [f"| `{label}` | {_cell(label.meaning)} |" for label in Label]
    return "\n".join([before + LABELS_BEGIN, *table, LABELS_END + after])


PAGES = {
    "apis.md": apis_page,
    "command-line.md": command_line_page,
    "metrics.md": metrics_page,
    "results-folder.md": results_folder_page,
    "simulator.md": simulator_page,
    "suites.md": suites_page,
}


def main() -> None:
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
