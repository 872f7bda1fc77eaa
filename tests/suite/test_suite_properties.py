"""Loading any file gives a plan or a `SuiteError`, and ids keep their promises."""

from __future__ import annotations

import string

import msgspec
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from suite_bench import HEAD, Bench

from pytest_bench.errors import SuiteError
from pytest_bench.suite.plan import Plan
from pytest_bench.suite.sweep import padded

VALID = HEAD + (
    "named_bounds: {ok: {error_rate: '<= 1%'}}\n"
    "order: [perf, audit, eval]\n"
    "perf:\n"
    "  swept: &swept\n"
    "    dataset: made\n"
    "    load: {pattern: concurrency, requests: 64}\n"
    "    sweep: {concurrency: [1, 8], isl: [128]}\n"
    "    bounds: {use: [ok], time_to_first_token.p99: {bound: '<= 200ms', confidence: 0.95}}\n"
    "    slo: {time_to_first_token: '<= 1s'}\n"
    "    warmup: {duration_s: 1.5}\n"
    "  copied: {<<: *swept, texts: hash}\n"
    "  staged:\n"
    "    dataset: prompts\n"
    "    load:\n      pattern: stages\n"
    "      stages: [{pattern: burst, requests: 3}, {pattern: poisson, rate: 1e1, duration_s: 2}]\n"
    "audit: {a: {test: output-caching, of: swept/c0001-isl00128}}\n"
    "eval: {e: {dataset: prompts, task: '${TASK:-gsm8k}', sweep: {concurrency: [1]}}}\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("suites"))


def load_bytes(folder: Bench, data: bytes) -> Plan | None:
    """The plan; None where the suite was refused. Any other outcome is a failure."""
    (folder.folder / "chat.yaml").write_bytes(data)
    try:
        return folder.load()
    except SuiteError:
        return None


def test_the_suite_that_the_properties_start_from_is_valid(folder):
    assert len(load_bytes(folder, VALID.encode()).points) == 7


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"\x00")
@example(b'"\\UFFFFFFFF"')
@example(b'suite: "\\uD800"')
@example(b"%YAML 1." + b"9" * 5000 + b"\n---\na")
@example(b"[" * 1000)
@example(b"{a: " * 1000)
@example(b"- " * 1000)
@example(b"? [a]\n: b")
@example(b"&a [*a]")
@example(b"<<: {<<: {<<: 3}}")
@example(b"!!binary x")
@example(b"a: !<tag:%FF> x")
@example(b"--- a\n--- b")
@example(b"suite: " + b"9" * 100_000)
def test_no_bytes_give_anything_but_a_plan_or_a_suite_error(folder, data):
    load_bytes(folder, data)


@settings(deadline=None)
@given(st.text(alphabet=string.printable + "ä€😀\u2028\ufeff", max_size=200))
def test_no_text_gives_anything_but_a_plan_or_a_suite_error(folder, text):
    load_bytes(folder, text.encode())


MARKS = ["", *" \n:{}[],#|'\"", "- ", "<<: ", "!!int ", "&a "]
WORDS = "*a *swept null ~ yes true 0 -1 1e3 .inf 1:30 ${X} ${X:-y} ${ 0.5 [[1]] {a:1}".split()  # noqa: SIM905 # reads as what it is
SNIPPETS = st.sampled_from(MARKS + WORDS)


@given(st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 12), SNIPPETS), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_no_edit_of_a_valid_suite_gives_anything_but_a_plan_or_a_suite_error(folder, edits):
    text = VALID
    for start, length, snippet in edits:
        text = text[:start] + snippet + text[start + length :]
    load_bytes(folder, text.encode())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def paths(value, where=()):
    yield where
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*where, key))


STRUCTURE = yaml.safe_load(VALID)
PATHS = sorted((path for path in paths(STRUCTURE) if path), key=repr)


@given(st.sampled_from(PATHS), VALUES, st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_value_in_any_place_gives_anything_but_a_plan_or_a_suite_error(folder, path, value, flow):
    suite = yaml.safe_load(VALID)
    inside = suite
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    load_bytes(folder, yaml.safe_dump(suite, default_flow_style=flow, allow_unicode=True).encode())


COUNTS = st.lists(st.integers(1, 10**6), min_size=1, max_size=5, unique=True)
RATES = st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=5, unique=True)


def swept(folder: Bench, sweep: dict) -> Plan:
    """The plan of one point with this sweep; its load ends by time, and by requests too where they are swept."""
    limits = {"duration_s": 5, "stop": "and"} if "requests" in sweep else {"duration_s": 5}
    load = {"pattern": "poisson" if "rate" in sweep else "concurrency", **limits}
    suite = yaml.safe_load(HEAD)
    suite["perf"] = {"p": {"dataset": "made", "load": load, "sweep": sweep}}
    return load_bytes(folder, yaml.safe_dump(suite).encode())


SWEEPS = st.fixed_dictionaries(
    {"concurrency": COUNTS}, optional={"isl": COUNTS, "osl": COUNTS, "requests": COUNTS}
) | (st.fixed_dictionaries({"rate": RATES}, optional={"isl": COUNTS, "osl": COUNTS, "requests": COUNTS}))


@settings(max_examples=30, deadline=None)
@given(SWEEPS)
def test_ids_are_unique_and_contain_only_characters_that_selection_accepts(folder, sweep):
    plan = swept(folder, sweep)
    ids = [point.id for point in plan.points]
    assert len(set(ids)) == len(ids)
    allowed = set(string.ascii_lowercase + string.digits + "/.-_")
    assert all(set(point_id) <= allowed for point_id in ids)


@settings(max_examples=30, deadline=None)
@given(SWEEPS, st.data())
def test_adding_a_value_to_a_sweep_does_not_change_other_points(folder, sweep, data):
    dimension = data.draw(st.sampled_from(sorted(sweep)))
    more = data.draw(
        (RATES if dimension == "rate" else COUNTS).filter(lambda new: not set(new) & set(sweep[dimension]))
    )
    before = {point.id: point for point in swept(folder, sweep).points}
    after = {point.id: point for point in swept(folder, {**sweep, dimension: sweep[dimension] + more}).points}
    assert before.items() <= after.items()


@given(st.lists(st.integers(1, 9999), min_size=2, max_size=2, unique=True))
def test_no_padded_value_within_four_digits_is_found_in_another(values):
    first, second = (padded(value, 4) for value in values)
    assert first not in second


@settings(max_examples=30, deadline=None)
@given(SWEEPS)
def test_the_style_in_which_yaml_is_written_does_not_matter(folder, sweep):
    suite = yaml.safe_load(VALID)
    suite["perf"]["swept"]["sweep"]["isl"] = sweep.get("isl", [128]) + [128] * (
        128 not in sweep.get("isl", [128])
    )
    plans = [
        load_bytes(
            folder, yaml.safe_dump(suite, default_flow_style=flow, default_style=None, width=width).encode()
        )
        for flow, width in ((True, 40), (False, 200), (None, 80))
    ]
    first, *others = [[without_positions(point) for point in plan.points] for plan in plans]
    assert all(other == first for other in others)


def without_positions(point):
    bounds = tuple(msgspec.structs.replace(bound, origin="") for bound in point.bounds)
    slo = tuple(msgspec.structs.replace(bound, origin="") for bound in point.slo)
    return msgspec.structs.replace(point, origin="", bounds=bounds, slo=slo)
