import pytest
from checkpoint_log import Log


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "checkpoint.jsonl")
