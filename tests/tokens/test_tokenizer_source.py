from __future__ import annotations

import hashlib
import shutil

import pytest

from pytest_bench.errors import TokensError
from pytest_bench.tokens import hub
from pytest_bench.tokens.source import find, resolve


def test_a_folder_and_its_file_are_the_same_tokenizer(bpe_folder):
    by_folder, by_file = resolve(str(bpe_folder)), resolve(str(bpe_folder / "tokenizer.json"))
    assert by_folder.file == by_file.file == str(bpe_folder / "tokenizer.json")
    assert by_folder.format == "json"
    expected = hashlib.sha256((bpe_folder / "tokenizer.json").read_bytes()).hexdigest()
    assert by_folder.digest == by_file.digest == expected


def test_files_that_shape_a_chat_are_part_of_the_identity(bpe_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(bpe_folder, folder)
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert sorted(resolve(str(folder)).files) == [
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_a_single_tiktoken_file_in_a_folder_is_found(tmp_path):
    (tmp_path / "qwen.tiktoken").write_text("IQ== 0\n")
    assert resolve(str(tmp_path)).format == "tiktoken"


def test_the_error_for_a_folder_without_a_tokenizer_lists_its_files(tmp_path):
    (tmp_path / "tokenization_model.py").write_text("raise SystemExit")
    with pytest.raises(
        TokensError, match=r"neither a tokenizer\.json.*found: tokenization_model\.py.*not run"
    ):
        resolve(str(tmp_path))


def test_a_path_that_does_not_exist_is_refused_without_asking_any_hub(tmp_path):
    def no_hub(name):
        raise AssertionError(name)

    for name in (str(tmp_path / "gone"), "gone/tokenizer.json", "./gone"):
        with pytest.raises(
            TokensError, match=r"no such file or folder \(/.*/gone.*relative to the suite's folder"
        ):
            resolve(name, fetch_folder=no_hub)


def test_a_hub_id_is_looked_up_and_keeps_its_name(bpe_folder):
    source = resolve("maker/model-7b", fetch_folder=lambda name: bpe_folder)
    assert (source.name, source.file) == ("maker/model-7b", str(bpe_folder / "tokenizer.json"))


@pytest.fixture
def hub_cache(bpe_folder, tmp_path, monkeypatch):
    """A cache of the hub's library that holds the tokenizer of `maker/model`; the folder with its files."""
    model = tmp_path / "hub/models--maker--model"
    snapshot = model / "snapshots/0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(bpe_folder, snapshot)
    (model / "refs").mkdir()
    (model / "refs/main").write_text(snapshot.name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return snapshot


def test_the_tokenizer_of_a_served_model_is_found_if_it_is_a_folder_or_a_cached_hub_id(bpe_folder, hub_cache):
    beside = str(bpe_folder.parent)
    assert find(None, str(bpe_folder), "/").file == str(bpe_folder / "tokenizer.json")
    assert find(None, bpe_folder.name, beside).file == str(bpe_folder / "tokenizer.json")
    assert find(None, "maker/model", beside).file == str(hub_cache / "tokenizer.json")
    assert find(str(bpe_folder), "maker/model", beside).name == str(bpe_folder)


def test_a_served_model_without_a_local_tokenizer_has_none_and_nothing_is_downloaded(
    hub_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(hub, "fetch", None)
    (tmp_path / "weights").mkdir()
    for model in ("maker/other", "simulated", str(tmp_path / "weights"), str(tmp_path / "gone"), "a b"):
        assert find(None, model, str(tmp_path)) is None
    assert find(None, None, str(tmp_path)) is None


def test_a_cached_hub_id_is_found_without_a_network(hub_cache, monkeypatch):
    monkeypatch.setattr(hub, "fetch", None)
    assert resolve("maker/model").file == str(hub_cache / "tokenizer.json")


def test_an_unreachable_hub_is_an_error_that_suggests_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TokensError, match=r"maker/model.*neither cached.*nor reachable.*Give a folder"):
        resolve("maker/model")


def test_a_download_that_hangs_ends_at_the_time_limit(tmp_path, monkeypatch):
    hanging = tmp_path / "huggingface_hub"
    hanging.mkdir()
    (hanging / "__init__.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TokensError, match=r"no answer within 0\.5 s"):
        hub.fetch("maker/model", 0.5)
