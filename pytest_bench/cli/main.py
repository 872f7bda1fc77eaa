"""Run a command by its name, and report its errors."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType

from pytest_bench.cli.empty_values import refuse_empty
from pytest_bench.errors import BenchError, UsageError
from pytest_bench.wording import printable

COMMANDS = {
    "measure": "pytest_bench.cli.measure",
    "run": "pytest_bench.cli.run",
    "repeat": "pytest_bench.cli.repeat",
    "slurm": "pytest_bench.cli.slurm",
    "show": "pytest_bench.cli.show",
    "report": "pytest_bench.cli.report",
    "compare": "pytest_bench.cli.compare",
    "requests": "pytest_bench.cli.requests",
    "samples": "pytest_bench.cli.samples",
    "init": "pytest_bench.cli.init",
    "plan": "pytest_bench.cli.plan",
    "verify": "pytest_bench.cli.verify",
    "recount": "pytest_bench.cli.recount",
    "export": "pytest_bench.cli.export",
    "clean": "pytest_bench.cli.clean",
    "calibrate": "pytest_bench.cli.calibrate",
    "serve": "pytest_bench.cli.serve",
    "schema": "pytest_bench.cli.schema",
}
"""Import paths of the commands; only the one that is asked for is imported."""

NOT_GOOD, USAGE, INTERRUPTED = 1, 2, 130
"""Exit statuses of commands that do not succeed. A user error never ends in a traceback."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pytest-bench` with the arguments of this process, or with `argv`."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else None
    if name not in COMMANDS:
        _overview().parse_args(words or ["--help"])
        return USAGE
    command = importlib.import_module(COMMANDS[name])
    try:
        status = _status(name, command, words[1:])
        sys.stdout.flush()
    except UsageError as error:
        return _complain(error, USAGE)
    except BenchError as error:
        return _complain(error, NOT_GOOD)
    except BrokenPipeError:
        # The reader of our output has exited. Without this, the interpreter would report the error again as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_GOOD
    except OSError as error:
        return _complain(f"{error.filename or 'a file'}: {error.strerror or error}", USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _status(name: str, command: ModuleType, words: list[str]) -> int:
    if hasattr(command, "run_words") and words[:1] not in (["-h"], ["--help"]):
        return int(command.run_words(words))  # the command parses them itself
    refuse_empty(words)
    arguments = _parser(name, command).parse_args(words, argparse.Namespace(words=words))
    return int(command.run(arguments))


def _parser(name: str, command: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"pytest-bench {name}",
        description=f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.",
        epilog=f"example: {command.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser


def _overview() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-bench",
        description="Commands beside pytest, which runs suites itself: pytest suites/ --endpoint=URL",
        epilog="example: pytest-bench measure http://host:8000 --concurrency 8",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version("pytest-inference-bench"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        commands.add_parser(name, help=importlib.import_module(module).SUMMARY)
    return parser


def _complain(error: object, status: int) -> int:
    print("error:", printable(str(error), keep="\n"), file=sys.stderr)
    return status
