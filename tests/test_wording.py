"""Phrases that messages share."""

import pytest

from pytest_bench.wording import did_you_mean, first_lines, first_of, one_line, one_of, printable, shown_name


def test_the_nearest_word_is_offered_and_nothing_if_none_is_near():
    assert did_you_mean("promt", ["model", "prompt"]) == "; did you mean 'prompt'?"
    assert did_you_mean("xyz", ["model", "prompt"]) == ""


def test_words_are_listed_in_their_order():
    assert one_of(["b", "a"]) == "b, a"
    assert one_of([]) == "nothing"


@pytest.mark.parametrize(("count", "said"), [(1, "w0"), (2, "w0, w1"), (3, "w0, w1 and 1 more")])
def test_a_long_list_ends_in_how_many_more_there_are(count, said):
    assert first_of([f"w{number}" for number in range(count)], 2) == said


def test_control_characters_are_replaced_unless_kept():
    assert (
        printable("a\x1b[2Jb\nc\u202e")
        == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"
    )
    assert printable("a\nb", keep="\n") == "a\nb"


def test_several_near_words_are_offered_nearest_first():
    assert did_you_mean("two", ["tow", "twos", "one"], most=2) == "; did you mean 'twos' or 'tow'?"


def test_text_is_shown_on_one_line_that_ends_in_an_ellipsis_if_it_is_cut():
    assert one_line("a\n\tb", 3) == "a b"
    assert one_line("abcd", 3) == "ab…"


def test_unprintable_file_names_are_escaped():
    assert shown_name("ä.json") == "ä.json"
    assert shown_name("\x1b[2J") == "'\\x1b[2J'"


def test_many_lines_end_in_how_many_more_there_are():
    assert list(first_lines(["a", "b"], 2)) == ["a", "b"]
    assert list(first_lines(["a", "b", "c"], 2)) == ["a", "b", "and 1 more"]
