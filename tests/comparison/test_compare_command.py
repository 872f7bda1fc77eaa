"""`pytest-bench compare` on real sessions of two simulators."""

import json
import shutil

import pytest
from comparison_bench import POINT

CONDITION = "request_throughput < -25%"
"""Its interval within one session needs no requests that are independent of each other."""


def test_a_slower_server_is_worse_and_says_by_how_much(compare, old, new):
    status, out, err = compare(old, new, "--fail-on", CONDITION)
    assert status == 3, out + err
    assert f"{POINT}: {CONDITION}: worse: request_throughput: -" in out
    assert "intervals within one session each: how sessions differ is not in them" in out


def test_a_faster_server_is_not_worse(compare, old, new):
    status, out, err = compare(new, old, "--fail-on", CONDITION)
    assert status == 0, out + err
    assert ": not worse: request_throughput: +" in out


def test_a_metric_without_an_interval_asks_for_repeats(compare, old, new):
    status, out, _ = compare(old, new, "--fail-on", "output_token_throughput < -5%", "--json")
    (judged,) = json.loads(out)["comparison"]["judged"]
    assert (status, judged["answer"], judged["more"]) == (4, "cannot tell", 5)


def test_what_changed_is_named(compare, old, new, urls):
    _, out, _ = compare(old, new)
    assert f'load.deployment.endpoints: ["{urls[0]}"]'[:40] in out
    assert "the environments do not differ" in out


def test_tables_survive_a_paste_at_80_columns(compare, old, new):
    _, out, _ = compare(old, new)
    table = out.partition("\n\n")[0].splitlines()
    assert table[0] == POINT
    assert max(map(len, table)) <= 80
    assert any("time_to_first_token.p99" in line for line in table)


def test_json_has_full_numbers_and_markdown_the_table(compare, old, new):
    _, out, _ = compare(old, new, "--json", "--metric", "request_throughput")
    (found,) = json.loads(out)["comparison"]["differences"]
    assert (found["metric"], found["unit"], found["mark"]) == ("request_throughput", "requests/s", "worse")
    assert found["low"] < found["change"] < found["high"]
    assert found["candidate"] < found["baseline"] < 400
    _, out, _ = compare(old, new, "--markdown")
    assert out.startswith(f"**{POINT}**\n\n|")


def test_another_load_is_refused_unless_asked_for_and_then_said_on_every_line(compare, bench, urls, old):
    bench.write(concurrency=4)
    other = bench.run("other-load", f"--endpoint={urls[0]}")
    status, out, err = compare(old, other, "--fail-on", CONDITION)
    assert status == 1
    assert f"error: {POINT}: is not comparable: other load (concurrency 8, 4)" in err
    assert "request_throughput" not in out
    status, out, err = compare(old, other, "--fail-on", CONDITION, "--incomparable")
    assert status in {0, 3, 4}, err
    lines = [line for line in out.splitlines() if line.startswith(("time_to_", "request_", "NOT"))]
    assert lines
    assert all("NOT COMPARABLE" in line for line in lines)


def test_another_dataset_is_refused(compare, bench, urls, old):
    bench.write(rows=440)
    other = bench.run("other-data", f"--endpoint={urls[0]}")
    status, _, err = compare(old, other)
    assert status == 1
    assert "other dataset digest (" in err


def test_a_baseline_that_did_not_pass_is_an_error(compare, bench, urls, old):
    bench.write(bound="1ms")
    failed = bench.run("failed", f"--endpoint={urls[0]}", status=1)
    status, out, err = compare(failed, old)
    assert status == 1
    assert f"{POINT}: baseline {failed}: its outcome is fail, and only a pass counts" in err
    assert "time_to_first_token" not in out
    status, out, err = compare(old, failed)
    assert status == 1
    assert f"{POINT}: candidate {failed}: its outcome is fail" in err
    assert "time_to_first_token.p50" in out


def test_a_folder_that_does_not_verify_is_named_and_nothing_is_compared(compare, old, new, tmp_path):
    damaged = shutil.copytree(old, tmp_path / "damaged")
    log = damaged / "points" / POINT / "phases/measured/requests.0.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"status":200', b'"status":201', 1))
    status, out, err = compare(damaged, new)
    assert (status, out) == (1, "")
    assert f"does not verify: {damaged}: points/{POINT}" in err


def test_a_missing_baseline_or_point_is_an_error(compare, old, new, tmp_path):
    assert compare(tmp_path / "nothing", new)[0] == 2
    assert compare(tmp_path, new)[0] == 2
    assert compare(old, old)[0] == 2
    status, _, err = compare(old, new, "--point", "load/perf/stead")
    assert status == 2
    assert f"did you mean '{POINT}'?" in err


def test_a_point_that_only_one_side_has_is_an_error(compare, bench, urls, old):
    bench.write()
    text = (bench.root / "bench/load.yaml").read_text()
    steady = text.partition("perf:\n")[2]
    (bench.root / "bench/load.yaml").write_text(text + steady.replace("steady", "second"))
    both = bench.run("both", f"--endpoint={urls[0]}")
    for sides, side in (((old, both), "baseline"), ((both, old), "candidate")):
        status, _, err = compare(*sides)
        assert status == 1
        assert f"load/perf/second: {side} {old}: has no such point; run it there" in err
    assert compare(old, both, "--point", POINT)[0] == 0


def test_a_condition_on_a_metric_that_no_point_has_is_an_error(compare, old, new):
    status, _, err = compare(old, new, "--fail-on", "exact_match,strict-match < -0.01")
    assert status == 1
    assert "no compared point has this metric" in err


def test_a_condition_leaves_out_points_that_never_have_its_metric(compare, bench, urls):
    bench.write(whole=True)
    sessions = [bench.run(f"whole-{number}", f"--endpoint={urls[number]}") for number in range(len(urls))]
    condition = ("--fail-on", "time_to_first_token.p99 > +5%")
    status, out, err = compare(*sessions, *condition)
    assert status in {3, 4}, out + err
    assert "whole/perf/answers" in out
    assert err == ""
    status, _, err = compare(*sessions, "--point", "whole/perf/answers", *condition)
    assert status == 1
    assert "no compared point has this metric" in err


def test_a_null_metric_never_passes(compare, old, new):
    status, _, err = compare(old, new, "--fail-on", "goodput < -5%")
    assert status == 1
    assert "goodput is null in old" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["time_to_first_token.p99 < -5%"], "this would fail on an improvement"),
        (["request_throughput > +5%"], "this would fail on an improvement"),
        (["time_to_first_token.p99 > 5%"], "a difference needs its sign"),
        (["time_to_first_token > +5%"], "a statistic must follow"),
        (["time_to_first_token.p99 > +0%"], "--resolution 2%"),
        (["error_rate > +5%"], "has no relative difference"),
        (["time_to_first_token.p99"], "expected a condition like"),
        (["time_to_first_token.p99 > +5%", "--resolution", "2ms"], "expected the same unit"),
        (["time_to_first_token.p99 > +5%", "--resolution", "0%"], "expected more than 0"),
        (["ttft.p99 > +5%"], "did you mean 'time_to_first_token'?"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(compare, old, new, words, sentence):
    status, _, err = compare(old, new, "--fail-on", *words)
    assert status == 2
    assert sentence in err


def test_evals_are_paired_by_item(compare, bench):
    right = [2 * number for number in range(40)]
    wrong = [value + 1 if place < 12 else value for place, value in enumerate(right)]
    shutil.rmtree(bench.root / "bench", ignore_errors=True)
    bench.write_eval(right)
    best = bench.run("right")
    bench.write_eval(wrong)
    worst = bench.run("wrong")
    condition = "exact_match,strict-match < -0.05"
    status, out, err = compare(best, worst, "--fail-on", condition)
    assert status == 3, out + err
    assert "0 won, 12 lost" in out
    assert f"{condition}: worse: exact_match,strict-match: -0.300" in out
    assert compare(worst, best, "--fail-on", condition)[0] == 0
