from __future__ import annotations

import pytest
from suite_bench import VOCABULARY, Bench

from pytest_bench.suite.vocabulary import Vocabulary


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return VOCABULARY
