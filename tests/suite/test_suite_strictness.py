from __future__ import annotations

import pytest

from pytest_bench.errors import SuiteError

MADE = """\
datasets: {made: {synthetic: {rows: 1, input_tokens: 1}}}
perf: {p: {dataset: made, load: {pattern: burst, requests: 1}}}
"""
POINT = "perf:\n  p: {dataset: prompts, load: {pattern: burst, requests: 10}}\n"


def only(problems: tuple[str, ...]) -> str:
    assert len(problems) == 1, problems
    return problems[0]


def test_a_problem_names_file_line_and_column(bench):
    problem = only(
        bench.body_problems("perf:\n  p: {dataset: prompts, load: {pattern: burst, requests: 0}}\n")
    )
    assert problem == "chat.yaml:7:58: perf.p.load.requests is 0; expected a number greater than 0"


def test_an_unknown_key_is_refused_with_the_nearest_word(bench):
    problem = only(bench.body_problems(POINT + "    datasset: x\n".replace("    ", "pref: {}\n#")))
    assert problem.startswith("chat.yaml:8:1: unknown key 'pref'")
    assert "did you mean 'perf'?" in problem


def test_a_nested_unknown_key_is_reported_at_its_position(bench):
    problem = only(
        bench.body_problems(
            "perf:\n  p:\n    dataset: prompts\n    load: {pattern: burst, request: 10, requests: 5}\n"
        )
    )
    assert problem.startswith("chat.yaml:9:28: unknown key 'request' in perf.p.load;")
    assert problem.endswith("did you mean 'requests'?")


def test_a_duplicate_key_is_refused_with_both_positions(bench):
    problem = only(bench.body_problems(POINT + "perf: {}\n"))
    assert (
        problem == "chat.yaml:8:1: the key 'perf' was given before, at chat.yaml:6:1; expected each key once"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"4"', 'is "4", which is text; expected a whole number: write it without quotes'),
        ("4.0", "is 4.0; expected a whole number"),
        ("1e3", "is 1000.0; expected a whole number"),
        ("1:30", 'is "1:30", which is text'),
        ("0x10", 'is "0x10", which is text'),
        ("1_000", 'is "1_000", which is text'),
        ("90s", 'is "90s", which is text'),
        ("yes", 'is "yes", which is text'),
        ("true", "is true; expected a whole number"),
        ("[1]", "is a list; expected a whole number"),
        ("-3", "is -3; expected a number greater than 0"),
        ("99999999999999999999", "expected a number of at most"),
        (".inf", ".inf is not a finite number"),
        (".NaN", ".NaN is not a finite number"),
        ("1e999", "1e999 is out of range"),
        ("9" * 5000, "a number of 5000 digits is out of range"),
    ],
)
def test_a_count_is_a_positive_whole_number_written_as_one(bench, value, said):
    problem = only(
        bench.body_problems(f"perf: {{p: {{dataset: made, load: {{pattern: burst, requests: {value}}}}}}}\n")
    )
    assert said in problem


@pytest.mark.parametrize("word", ["yes", "on", "y", "off", '"true"', "1"])
def test_only_true_and_false_are_booleans(bench, word):
    problem = only(
        bench.problems(
            "suite: s\ndeployment: {api: openai-chat, model: m, generation: {stream: " + word + "}}\n" + MADE
        )
    )
    assert "deployment.generation.stream is" in problem
    assert "expected true or false" in problem


def test_a_number_in_place_of_text_is_refused_with_advice_to_quote_it(bench):
    problem = only(bench.problems("suite: s\ndeployment: {api: videos, model: 7}\n" + MADE))
    assert (
        problem == "chat.yaml:2:34: deployment.model is 7, which is not text; expected text: put it in quotes"
    )


def test_exponents_are_numbers_if_a_number_is_expected(bench):
    plan = bench.body("perf: {p: {dataset: made, load: {pattern: poisson, rate: 1e3, requests: 10}}}\n")
    assert plan.points[0].load.rate == 1000.0


def test_leading_zeros_do_not_make_an_octal_number(bench):
    plan = bench.body("perf: {p: {dataset: made, load: {pattern: burst, requests: 010}}}\n")
    assert plan.points[0].load.requests == 10


def test_keys_are_always_text(bench):
    plan = bench.plan(
        "suite: s\n"
        "deployment: {api: openai-chat, model: m, generation: {extra_body: {logit_bias: {50256: -100}, on: 1}}}\n"
        + MADE
    )
    assert plan.deployments["s"].parameters == {"logit_bias": {"50256": -100}, "on": 1}


def test_an_empty_list_is_refused(bench):
    problem = only(
        bench.body_problems(
            "perf:\n  p:\n    dataset: made\n"
            "    load: {pattern: concurrency, requests: 8}\n    sweep: {concurrency: []}\n"
        )
    )
    assert problem == "chat.yaml:10:26: perf.p.sweep.concurrency is empty; expected at least one"


@pytest.mark.parametrize("values", ["[1, 8, 1]", "[0.5, 0.50]"])
def test_a_repeated_value_is_refused(bench, values):
    name = "rate" if "." in values else "concurrency"
    pattern = {"rate": "poisson", "concurrency": "concurrency"}[name]
    problem = only(
        bench.body_problems(
            f"perf:\n  p:\n    dataset: made\n"
            f"    load: {{pattern: {pattern}, requests: 8}}\n    sweep: {{{name}: {values}}}\n"
        )
    )
    assert f"perf.p.sweep.{name} repeats" in problem


def test_a_missing_key_is_reported_at_its_mapping(bench):
    problem = only(bench.body_problems("perf:\n  p:\n    load: {pattern: burst, requests: 1}\n"))
    assert problem == "chat.yaml:7:3: perf.p has no 'dataset'; expected one"


def test_all_problems_of_all_files_are_reported_at_once_in_order(bench):
    bench.write(
        "suite: A\ndeployment: {api: openai-caht, model: 4, endpont: x}\n"
        "perf: {p: {dataset: q, load: {pattern: bursts}}}\n",
        "a.yaml",
    )
    bench.write("suite: b\nsuite: c\n", "b.yaml")
    bench.write("{", "c.yaml")
    with pytest.raises(SuiteError) as caught:
        bench.load("a.yaml", "b.yaml", "c.yaml", "missing.yaml")
    problems = caught.value.problems
    assert [problem.split(": ")[0] for problem in problems if ".yaml:" in problem] == [
        "a.yaml:1:8",
        "a.yaml:2:19",
        "a.yaml:2:39",
        "a.yaml:2:42",
        "a.yaml:3:21",
        "a.yaml:3:40",
        "b.yaml:1:1",
        "b.yaml:1:1",
        "b.yaml:2:1",
        "c.yaml:1:2",
    ]
    assert any("missing.yaml cannot be read: No such file or directory" in problem for problem in problems)
    assert str(caught.value).startswith("11 problems in the suites:\n  ")


def test_the_parts_of_a_broken_declaration_are_judged_too(bench):
    problems = bench.body_problems(
        "perf:\n  p: {dataset: promts, load: {pattern: burst, requests: x}, "
        "bounds: {time_to_first_token.p98: '<= 1ms', error_rate: 3}}\n"
    )
    assert len(problems) == 4
    assert "did you mean 'prompts'?" in problems[0]
    assert "requests" in problems[1]
    assert "p98" in problems[2]
    assert "expected a limit in quotes" in problems[3]


def test_an_explicit_tag_is_refused(bench):
    problem = only(
        bench.body_problems("perf: {p: {dataset: made, load: {pattern: burst, requests: !!python/int 3}}}\n")
    )
    assert "the tag 'tag:yaml.org,2002:python/int' is not part of the suite language" in problem


def test_a_suite_without_points_is_refused(bench):
    assert "declares no points" in only(bench.body_problems(""))


def test_an_empty_file_is_refused(bench):
    assert only(bench.problems("# nothing\n")).startswith("chat.yaml:1:1: the file is empty")


def test_a_file_that_is_not_utf8_is_refused_at_the_byte(bench):
    bench.write("")
    (bench.folder / "chat.yaml").write_bytes(b"suite: s\n# caf\xe9\n")
    with pytest.raises(SuiteError, match=r"chat\.yaml:2:6: the file is not UTF-8 here"):
        bench.load()


def test_two_suites_of_one_name_are_refused_with_both_positions(bench):
    body = "deployment: {api: videos, model: m}\n" + MADE
    bench.write("suite: same\n" + body, "a.yaml")
    bench.write("suite: same\n" + body, "b.yaml")
    with pytest.raises(SuiteError) as caught:
        bench.load("a.yaml", "b.yaml")
    assert caught.value.problems == (
        "b.yaml:1:8: the suite 'same' is also declared at a.yaml:1:8; expected unique names",
    )


def test_one_file_given_twice_is_read_once(bench):
    bench.write("suite: s\ndeployment: {api: videos, model: m}\n" + MADE)
    assert len(bench.load("chat.yaml", "chat.yaml").points) == 1


@pytest.mark.parametrize("name", ["Chat", "a/b", "a=b", "-x", "a b", "x" * 81, "ä"])
def test_names_are_safe_as_paths_and_for_selection(bench, name):
    problem = only(
        bench.body_problems(f"perf:\n  {name!r}: {{dataset: made, load: {{pattern: burst, requests: 1}}}}\n")
    )
    assert "is not a valid name; expected lower-case letters" in problem
