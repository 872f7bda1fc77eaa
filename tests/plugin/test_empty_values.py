"""An empty value, as from a lost variable, is refused by every option of the plugin."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys

import pytest

from pytest_bench.cli.main import COMMANDS, _parser, main
from pytest_bench.plugin.options import OPTIONS


def takes_value(words):
    return words.get("action") != "store_true"


@pytest.mark.parametrize(
    "option", [name for name, words in OPTIONS.items() if takes_value(words)] + ["--junitxml"]
)
@pytest.mark.parametrize("value", ["", " "], ids=["empty", "a space"])
def test_an_option_of_the_plugin_with_an_empty_value_is_refused(tmp_path, option, value):
    (tmp_path / "tiny.yaml").write_text("suite: tiny\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path), f"{option}={value}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stdout
    assert f"{option}: the value is empty" in done.stderr


def options_of_commands():
    for name, module in COMMANDS.items():
        if name == "run":  # its words are pytest's
            continue
        for action in _parser(name, importlib.import_module(module))._actions:
            if isinstance(action, argparse._HelpAction) or action.nargs == 0:
                continue
            yield name, action.option_strings[-1] if action.option_strings else ""


@pytest.mark.parametrize(("command", "option"), list(options_of_commands()))
def test_an_option_or_argument_of_a_command_with_an_empty_value_is_refused(capsys, command, option):
    for words in ([option, ""], [f"{option}="]) if option else ([""], [" "]):
        assert main([command, *words]) == 2
        assert "value is empty" in capsys.readouterr().err
