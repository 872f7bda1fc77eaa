"""`python -m pytest_bench.simulator`: the server as a program."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Meta

from pytest_bench.errors import BenchError, UsageError
from pytest_bench.simulator.behaviour import CHEATS, FAULTS, FRAMINGS, Behaviour, parse_faults

_EXAMPLE = "python -m pytest_bench.simulator --port 8000 --ttft-ms 50 --itl-ms 10 --fault reset=0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one argument for each knob, and those for address and log."""
    described = "\n".join(
        f"  {name}: {meaning}" for name, meaning in {**FAULTS, **FRAMINGS, **CHEATS}.items()
    )
    parser.epilog = f"faults, odd framings and cheats:\n{described}\n\n{parser.epilog or ''}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--log", type=Path, help="where the ground-truth log goes; must not exist")
    parser.add_argument("--exit-on-eof", action="store_true", help="end when standard input ends")
    parser.add_argument(
        "--behaviour", metavar="JSON", help="knobs as one JSON object; arguments go before it"
    )
    knobs = parser.add_argument_group("behaviour")
    for name, meaning, default in _knobs():
        option = "--" + name.replace("_", "-")
        if name in ("fault", "cheat"):
            metavar = "NAME=PROBABILITY" if name == "fault" else "NAME"
            knobs.add_argument(option, action="append", metavar=metavar, help=f"{meaning} (repeat for more)")
        elif isinstance(default, bool):
            knobs.add_argument(
                option, nargs="?", const="true", metavar="BOOL", help=f"{meaning} (default {default})"
            )
        else:
            knobs.add_argument(
                option, metavar="VALUE", help=f"{meaning} (default {default})".replace("%", "%%")
            )


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it. Raises `UsageError` for a mistake in the arguments."""
    if not 0 <= arguments.port <= 65535:
        raise UsageError(f"--port is {arguments.port}: expected 0 to 65535")
    behaviour = _behaviour(arguments)
    from pytest_bench.simulator.server import serve  # noqa: PLC0415 # imports uvloop, which `--help` does not need

    serve(
        behaviour,
        host=arguments.host,
        port=arguments.port,
        log=arguments.log,
        exit_on_eof=arguments.exit_on_eof,
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator until a signal ends it.

    Exit status 0, 2 for a mistake in the arguments, 1 if it could not go on.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pytest_bench.simulator",
        description="A server that behaves like a served model without being one.",
        epilog=f"example: {_EXAMPLE}",
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _behaviour(given: argparse.Namespace) -> Behaviour:
    mapping: dict[str, Any] = {}
    if given.behaviour is not None:
        try:
            mapping = msgspec.json.decode(given.behaviour, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise UsageError(f"--behaviour: expected a JSON object of knobs: {error}") from error
    for name, _, _ in _knobs():
        value = getattr(given, name)
        if value is not None:
            mapping[name] = parse_faults(value) if name == "fault" else value
    return Behaviour.from_mapping(mapping, text=True)


def _knobs() -> list[tuple[str, str, object]]:
    """Name, meaning and default of every knob, as the struct declares them."""
    defaults = Behaviour()
    return [
        (
            name,
            next(meta.description or "" for meta in get_args(hint) if isinstance(meta, Meta)),
            getattr(defaults, name),
        )
        for name, hint in get_type_hints(Behaviour, include_extras=True).items()
    ]


if __name__ == "__main__":
    sys.exit(main())
