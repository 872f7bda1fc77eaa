from __future__ import annotations

import numpy as np
import pytest
from byte_level import train
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pytest_bench.datasets.rows import load_dataset
from pytest_bench.datasets.synthetic import Length, draw_lengths
from pytest_bench.datasets.words import WORDS
from pytest_bench.errors import DatasetError
from pytest_bench.suite.plan import DatasetPlan

COLUMNS = {"prompt": "text", "max_tokens": "a limit"}


class ByteLevel:
    """A small byte-level BPE, trained here: most words take several tokens."""

    def __init__(self) -> None:
        words = np.random.default_rng(0).choice(WORDS, size=(100, 100))
        self._tokenizer = train([" ".join(line) for line in words], 700)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]


@pytest.fixture(scope="module")
def tokenizer() -> ByteLevel:
    return ByteLevel()


def fixed(length: int) -> dict:
    return {"distribution": "fixed", "mean": float(length)}


def make(tokenizer=None, columns=COLUMNS, name="made", **fields):
    declared = {
        "rows": 20,
        "input_tokens": fixed(32),
        "output_tokens": None,
        "range_ratio": 1.0,
        "shared_prefix": None,
        "seed": 0,
        **fields,
    }
    plan = DatasetPlan(name=name, synthetic=declared)
    return load_dataset(plan, columns=columns, required=frozenset({"prompt"}), tokenizer=tokenizer)


@pytest.mark.parametrize("length", [2, 3, 17, 128, 2000])
def test_every_prompt_has_exactly_the_wanted_count_of_tokens(tokenizer, length):
    dataset = make(tokenizer, input_tokens=fixed(length))
    assert {len(tokenizer.encode(row["prompt"])) for row in dataset.rows} == {length}
    assert dataset.length_unit == "tokens"


def test_without_a_tokenizer_lengths_are_in_words_and_recorded_as_such():
    dataset = make(input_tokens=fixed(40))
    assert {len(row["prompt"].split()) for row in dataset.rows} == {40}
    assert dataset.length_unit == "words"


def test_all_prompts_differ():
    dataset = make(input_tokens=fixed(2), rows=500)
    assert len({row["prompt"] for row in dataset.rows}) == 500


def test_more_prompts_than_can_differ_are_refused():
    with pytest.raises(DatasetError, match="not enough distinct prompts of length 1"):
        make(input_tokens=fixed(1), rows=2000)


def test_equal_seeds_give_equal_rows_and_different_seeds_different_rows(tokenizer):
    assert make(tokenizer, seed=5).digest == make(tokenizer, seed=5).digest != make(tokenizer, seed=6).digest


def test_datasets_with_different_names_have_different_prompts_of_equal_lengths():
    drawn = {"input_tokens": {"distribution": "uniform", "min": 20, "max": 90}, "output_tokens": fixed(64)}
    one, other = make(name="a-osl0064", **drawn), make(name="a-osl0128", **drawn)
    assert not {row["prompt"][:20] for row in one.rows} & {row["prompt"][:20] for row in other.rows}
    lengths = [[len(row["prompt"].split()) for row in made.rows] for made in (one, other)]
    assert lengths[0] == lengths[1]


def test_output_lengths_alone_do_not_change_the_prompts():
    plain, limited = make(), make(output_tokens=fixed(64))
    assert [row["prompt"] for row in plain.rows] == [row["prompt"] for row in limited.rows]
    assert {row["max_tokens"] for row in limited.rows} == {64}


def test_more_rows_keep_the_first_ones_lengths_fixed():
    assert make(rows=30).rows[:20] == make(rows=20).rows


def test_a_range_ratio_spreads_fixed_lengths_down_to_its_share():
    lengths = [
        len(row["prompt"].split()) for row in make(input_tokens=fixed(100), range_ratio=0.5, rows=400).rows
    ]
    assert min(lengths) >= 50
    assert max(lengths) <= 100
    assert np.mean(lengths) == pytest.approx(75, abs=3)


@pytest.mark.parametrize(
    "length",
    [
        Length(distribution="normal", mean=200, stddev=20),
        Length(distribution="lognormal", mean=200, stddev=80),
        Length(distribution="uniform", min=100, max=300),
    ],
)
def test_a_distribution_has_the_requested_mean(length):
    lengths = draw_lengths(length, 20_000, 1.0, np.random.default_rng(1))
    assert np.mean(lengths) == pytest.approx(200, rel=0.02)


def test_the_deviation_of_a_lognormal_is_that_of_the_lengths():
    lengths = draw_lengths(
        Length(distribution="lognormal", mean=200, stddev=80), 50_000, 1.0, np.random.default_rng(1)
    )
    assert np.std(lengths) == pytest.approx(80, rel=0.05)


@given(
    st.sampled_from(["normal", "lognormal"]),
    st.floats(1, 1e4),
    st.floats(0.1, 1e4),
    st.integers(1, 100),
    st.integers(0, 100),
)
def test_drawn_lengths_stay_within_their_limits(distribution, mean, stddev, low, more):
    length = Length(distribution=distribution, mean=mean, stddev=stddev, min=low, max=low + more)
    assert all(
        low <= drawn <= low + more for drawn in draw_lengths(length, 50, 1.0, np.random.default_rng(0))
    )


def test_prompts_of_a_group_share_a_prefix_of_the_wanted_length(tokenizer):
    dataset = make(tokenizer, input_tokens=fixed(64), shared_prefix={"tokens": 24, "groups": 2})
    prompts = [row["prompt"] for row in dataset.rows]
    prefixes = [common(prompts[group::2]) for group in (0, 1)]
    assert prefixes[0] != prefixes[1]
    assert all(len(tokenizer.encode(prefix)) >= 24 for prefix in prefixes)
    assert {len(tokenizer.encode(prompt)) for prompt in prompts} == {64}


def common(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length].rstrip()


def test_a_prefix_as_long_as_the_prompt_is_refused():
    with pytest.raises(
        DatasetError, match="dataset 'made': its shortest prompt, of length 10, leaves no room"
    ):
        make(input_tokens=fixed(10), shared_prefix={"tokens": 10, "groups": 1})


def test_an_api_that_reads_no_such_columns_is_named():
    with pytest.raises(DatasetError, match="has a column 'max_tokens', which this API does not read"):
        make(columns={"prompt": "text"}, output_tokens=fixed(5))


class OnlyEven:
    """Counts two tokens a letter: no odd length exists."""

    def encode(self, text: str) -> list[int]:
        return [0] * (2 * len(text))

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]


def test_a_length_that_no_text_can_have_is_refused():
    with pytest.raises(DatasetError, match="no text of exactly 33 tokens was found with this tokenizer"):
        make(OnlyEven(), input_tokens=fixed(33))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 300), st.integers(0, 2**63 - 1))
def test_any_length_and_seed_give_exact_prompts(tokenizer, length, seed):
    dataset = make(tokenizer, rows=3, input_tokens=fixed(length), seed=seed)
    assert {len(tokenizer.encode(row["prompt"])) for row in dataset.rows} == {length}


def traced(folder, tokenizer, **fields):
    """Rows of a dataset whose lengths are those of a trace of three arrivals."""
    path = folder / "trace.jsonl"
    lengths = ((30, 5), (12, 7), (9, 3))
    path.write_text(
        "".join(f'{{"timestamp": 0, "input_length": {i}, "output_length": {o}}}\n' for i, o in lengths)
    )
    declared = {"trace": str(path), "rows": 3, "ahead": 0, "seed": 0, **fields}
    plan = DatasetPlan(name="monday", synthetic=declared)
    return load_dataset(plan, columns=COLUMNS, required=frozenset({"prompt"}), tokenizer=tokenizer).rows


def test_each_arrival_of_a_trace_has_a_prompt_of_its_length_and_asks_for_its_output(tmp_path, tokenizer):
    rows = traced(tmp_path, tokenizer)
    assert [len(tokenizer.encode(row["prompt"])) for row in rows] == [30, 12, 9]
    assert [row["max_tokens"] for row in rows] == [5, 7, 3]


def test_rows_of_the_warm_up_come_before_the_first_arrival(tmp_path, tokenizer):
    rows = traced(tmp_path, tokenizer, rows=5, ahead=2)
    assert [row["max_tokens"] for row in rows] == [5, 7, 5, 7, 3]
    assert len({row["prompt"] for row in rows}) == 5


def test_lengths_of_a_trace_are_tokens_and_never_words(tmp_path):
    with pytest.raises(DatasetError, match="lengths of a trace are in tokens; name the model's tokenizer"):
        traced(tmp_path, None)


# Prompts that begin the same.

SIZE = 16


class Metaspace(ByteLevel):
    """Puts a space before every text, as SentencePiece does: a block alone has other tokens than within a prompt."""

    def __init__(self) -> None:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=700, show_progress=False)
        tokenizer.train_from_iterator([" ".join(WORDS)], trainer)
        self._tokenizer = tokenizer


@pytest.fixture(scope="module", params=[ByteLevel, Metaspace])
def any_tokenizer(request):
    return request.param()


def of_blocks(folder, tokenizer, *arrivals, ahead=0, seed=0, name="monday"):
    """Prompts of a trace with these lengths and ids."""
    path = folder / "trace.jsonl"
    path.write_text(
        "".join(
            f'{{"timestamp": 0, "input_length": {length}, "output_length": 1, "hash_ids": {ids}}}\n'
            for length, ids in arrivals
        )
    )
    rows = len(arrivals) + ahead
    declared = {"trace": str(path), "rows": rows, "ahead": ahead, "seed": seed, "block_size": SIZE}
    plan = DatasetPlan(name=name, synthetic=declared)
    made = load_dataset(plan, columns=COLUMNS, required=frozenset({"prompt"}), tokenizer=tokenizer).rows
    return [row["prompt"] for row in made]


def tokens_shared(tokenizer, one, other):
    pairs = zip(tokenizer.encode(one), tokenizer.encode(other), strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), None)


def test_prompts_begin_with_the_same_tokens_as_far_as_their_ids_agree(tmp_path, any_tokenizer):
    first, second, third = of_blocks(
        tmp_path, any_tokenizer, (40, [0, 1, 2]), (64, [0, 1, 5, 9]), (48, [0, 7, 5])
    )

    assert [len(any_tokenizer.encode(text)) for text in (first, second, third)] == [40, 64, 48]
    assert 2 * SIZE <= tokens_shared(any_tokenizer, first, second) < 3 * SIZE
    assert SIZE <= tokens_shared(any_tokenizer, second, third) < 2 * SIZE


def test_the_same_ids_and_length_are_the_same_prompt(tmp_path, any_tokenizer):
    first, second, longer = of_blocks(tmp_path, any_tokenizer, *[(20, [4, 4])] * 2, (21, [4, 4]))

    assert first == second != longer


def test_the_last_block_is_a_prefix_of_the_whole_block(tmp_path, any_tokenizer):
    cut, whole = of_blocks(tmp_path, any_tokenizer, (30, [0, 1]), (32, [0, 1]))

    # But for the few tokens of the word that it ends in.
    assert tokens_shared(any_tokenizer, cut, whole) is None or tokens_shared(any_tokenizer, cut, whole) >= 24


def test_the_warm_up_shares_no_block_with_the_arrivals(tmp_path, tokenizer):
    warm_up, *arrivals = of_blocks(tmp_path, tokenizer, (32, [0, 1]), (48, [0, 1, 2]), ahead=1)

    assert len(tokenizer.encode(warm_up)) == 32
    assert all(tokens_shared(tokenizer, warm_up, arrival) < SIZE for arrival in arrivals)


def test_replays_with_different_names_share_no_block(tmp_path, tokenizer):
    trace = (32, [0, 1]), (48, [0, 1, 2])
    first, second = (of_blocks(tmp_path, tokenizer, *trace, name=name) for name in ("monday-a", "monday-b"))

    assert all(tokens_shared(tokenizer, one, other) < SIZE for one in first for other in second)


def test_blocks_follow_from_the_seed(tmp_path, tokenizer):
    trace = (40, [0, 1, 2**64]), (8, [3])

    assert of_blocks(tmp_path, tokenizer, *trace) == of_blocks(tmp_path, tokenizer, *trace)
    assert of_blocks(tmp_path, tokenizer, *trace) != of_blocks(tmp_path, tokenizer, *trace, seed=1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.integers(1, 5 * SIZE).flatmap(
            lambda length: st.tuples(
                st.just(length),
                st.lists(st.integers(0, 3), min_size=-(-length // SIZE), max_size=-(-length // SIZE)),
            )
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_ids_give_exact_lengths_and_the_same_tokens_for_the_same_first_ids(
    tmp_path_factory, tokenizer, trace
):
    prompts = of_blocks(tmp_path_factory.getbasetemp(), tokenizer, *trace)
    tokens = list(map(tokenizer.encode, prompts))
    assert [len(ids) for ids in tokens] == [length for length, _ in trace]
    for (length, ids), own in zip(trace, tokens, strict=True):
        for (other_length, other_ids), other in zip(trace, tokens, strict=True):
            whole = min(length, other_length) // SIZE
            same = next((n for n in range(whole) if ids[n] != other_ids[n]), whole) * SIZE
            assert own[:same] == other[:same]


class AcrossWords(ByteLevel):
    """Cuts a text every seven letters, wherever words end."""

    def encode(self, text: str) -> list[int]:
        return [hash(text[start : start + 7]) for start in range(0, len(text), 7)]


def test_a_tokenizer_that_joins_words_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"not cut texts between words.*leave the ids of the trace aside"):
        of_blocks(tmp_path, AcrossWords(), (48, [0, 1, 2]), (48, [3, 1, 2]))
