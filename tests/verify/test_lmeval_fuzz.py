"""A valid folder of lm-eval with any one thing changed is red, with a message and without a traceback."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lmeval_folder import EvalFolder

from pytest_bench.lmeval import Request, verify_folder

TIME = "2026-01-02T03-04-05"
FILES = (
    "meta_env.json",
    f"results_{TIME}_conc1.json",
    f"results_{TIME}_conc4.json",
    f"samples_gsm8k_{TIME}_conc1.jsonl",
    f"samples_gsm8k_{TIME}_conc4.jsonl",
    "server.log",
)
ASKED = Request(concurrencies=(1, 4), min_score=0.5)
FAST = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = EvalFolder(tmp_path_factory.mktemp("fuzz") / "eval", 1, 4)
    folder.metadata["artifacts"] = ["server.log"]
    path = folder.write()
    lines = [
        json.dumps({"doc_id": number, "filter": name, "exact_match": float(number < 9)})
        for name in ("strict-match", "flexible-extract")
        for number in range(10)
    ]
    for conc in (1, 4):
        (path / f"samples_gsm8k_{TIME}_conc{conc}.jsonl").write_text("\n".join(lines) + "\n")
    (path / "server.log").write_text("ready\n")
    assert not verify_folder(path, ASKED).findings
    return path


@pytest.fixture
def spoiled(good, tmp_path):
    return shutil.copytree(good, tmp_path / "eval")


def red(path):
    findings = verify_folder(path, ASKED).findings
    return bool(findings) and all(str(finding).isprintable() for finding in findings)


def with_bytes(good, name, data):
    """Whether the folder is red with other bytes in one file."""
    path = good / name
    before = path.read_bytes()
    try:
        path.write_bytes(data)
        return red(good)
    finally:
        path.write_bytes(before)


@FAST
@given(name=st.sampled_from(FILES[:-1]), data=st.binary(max_size=80))
def test_other_bytes_are_red(good, name, data):
    assert with_bytes(good, name, data)


@FAST
@given(name=st.sampled_from(FILES[:-1]), place=st.floats(0, 1, exclude_max=True), choose=st.data())
def test_a_byte_that_json_does_not_allow_is_red_at_any_position(good, name, place, choose):
    before = (good / name).read_bytes()
    at = int(place * len(before))
    data = before[:at] + choose.draw(st.sampled_from([b"\0", b"\xff", b"\x1b"])) + before[at:]
    assert with_bytes(good, name, data)


@FAST
@given(name=st.sampled_from(FILES[:-1]), place=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_red(good, name, place):
    before = (good / name).read_bytes()
    cut = before[: int(place * len(before))]
    assume(cut.strip() != before.strip())
    assert with_bytes(good, name, cut)


@FAST
@given(name=st.sampled_from(FILES[:-1]), choose=st.data())
def test_a_key_given_twice_is_red(good, name, choose):
    text = (good / name).read_text()
    lines = text.splitlines()
    number = choose.draw(st.integers(0, len(lines) - 1))
    key = choose.draw(st.sampled_from(sorted(json.loads(lines[number]))))
    lines[number] = f"{{{json.dumps(key)}: 1, {lines[number][1:]}"
    assert with_bytes(good, name, "\n".join(lines).encode())


@FAST
@given(name=st.sampled_from(FILES[3:5]), choose=st.data())
def test_a_removed_repeated_or_flipped_sample_is_red(good, name, choose):
    lines = (good / name).read_text().splitlines()
    number = choose.draw(st.integers(0, len(lines) - 1))
    match choose.draw(st.sampled_from(["remove", "repeat", "turn"])):
        case "remove":
            del lines[number]
        case "repeat":
            lines.append(lines[number])
        case "turn":
            sample = json.loads(lines[number])
            lines[number] = json.dumps(sample | {"exact_match": 1 - sample["exact_match"]})
    assert with_bytes(good, name, "\n".join(lines).encode())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe", "missing"])
def test_anything_but_a_regular_file_is_red(spoiled, tmp_path, name, kind):
    path = spoiled / name
    path.rename(tmp_path / "aside")
    match kind:
        case "link":
            path.symlink_to(tmp_path / "aside")
        case "dangling link":
            path.symlink_to("nowhere")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    # Samples are optional; their absence proves nothing.
    assert red(spoiled) or (kind == "missing" and name.startswith("samples"))


EXTRA = st.sampled_from(
    [
        "results.json",
        "results_x.json",
        f"results_{TIME}_conc1_2.json",
        f"results_{TIME}_conc2.json",
        f"results_{TIME}_conc.json",
        f"results_{TIME}.5_conc4.json",
        f"below/results_{TIME}_conc4.json",
        "below/further/results.json",
        f"samples_gsm8k_{TIME}.5_conc4.jsonl",
        f"samples_other_{TIME}_conc4.jsonl",
        f"samples_gsm8k_{TIME}.jsonl",
        f"samples_gsm8k_{TIME}_conc4_2.jsonl",
    ]
)


@FAST
@given(
    name=EXTRA,
    content=st.sampled_from(["copy", "empty", "link", "pipe", "folder"]),
)
def test_another_result_or_file_of_samples_is_red(good, tmp_path_factory, name, content):
    folder = tmp_path_factory.mktemp("extra") / "eval"
    shutil.copytree(good, folder)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    match content:
        case "copy":
            source = FILES[4] if name.endswith("jsonl") else FILES[2]
            shutil.copy(folder / source, path)
        case "empty":
            path.touch()
        case "link":
            path.symlink_to(folder / FILES[2])
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
    assert red(folder)
    shutil.rmtree(folder)


@FAST
@given(
    name=st.text(
        st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20
    ),
    start=st.sampled_from(["results", "samples_gsm8k_", ""]),
    end=st.sampled_from([".json", ".jsonl", ""]),
)
def test_a_file_of_any_name_is_handled(good, name, start, end):
    path = good / f"{start}{name}{end}"
    assume(not path.exists() and len(path.name.encode()) < 200)
    path.write_text("{")
    try:
        findings = verify_folder(good, ASKED).findings
        assert all(str(finding).isprintable() for finding in findings)
        assert findings or not (start == "results" and end == ".json")
    finally:
        path.unlink()
