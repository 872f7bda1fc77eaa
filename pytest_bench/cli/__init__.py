"""The command `pytest-bench`. `main` finds the subcommand; each subcommand is one module.

A command module has `SUMMARY`, `EXAMPLE`, `add_arguments(parser)` and `run(arguments)`, which returns the exit
status: 0 good, 1 not good; 2 is a usage error, 130 an interrupt. It is imported when its command is called.
"""

from pytest_bench.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
