"""`pytest-bench slurm submit`: run suites in a Slurm job of several nodes.

The batch script only calls `pytest-bench run --slurm`. Secrets reach it in the environment, never in the script.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from pytest_bench import clock
from pytest_bench.cli.empty_values import refuse_empty
from pytest_bench.cli.planning import words as vocabulary_of
from pytest_bench.cluster.place import SECRET
from pytest_bench.cluster.proof import SECRET_BYTES
from pytest_bench.endpoints.headers import hide_secrets
from pytest_bench.errors import UsageError
from pytest_bench.files import write_atomic
from pytest_bench.plugin import handover, options
from pytest_bench.plugin.call import find_suites
from pytest_bench.plugin.opening import overrides
from pytest_bench.redaction import redact
from pytest_bench.suite.loading import load_plan
from pytest_bench.wording import printable

SUMMARY = "submit suites to Slurm as a batch job that runs them on several nodes"
EXAMPLE = "pytest-bench slurm submit --nodes 4 --sbatch=--time=2:00:00 -- suites/ --complete"

_TOOL_TIMEOUT_S = 60.0
_JOB = re.compile(r"^([0-9]+)(?:;\S+)?$", re.MULTILINE)
_PROGRAM = "pytest-bench"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("submit",), help="what to do")
    parser.add_argument("--nodes", type=int, required=True, metavar="N", help="nodes of the job")
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help="an option for sbatch, as in --sbatch=--partition=gpu; may be repeated, and wins over those that "
        "this command sets",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the batch script and the command that would submit it; write and submit nothing",
    )
    parser.add_argument(
        "pytest",
        nargs="*",
        metavar="-- ARGUMENT",
        help="everything that pytest takes; --slurm is added",
    )


def run_words(words: Sequence[str]) -> int:
    """Submit the job, and return 0. Raises `UsageError` if the suites or the call would be refused in the job."""
    own, separator, for_pytest = _split(words)
    refuse_empty(own)
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} slurm", description=f"{SUMMARY}.", epilog=f"example: {EXAMPLE}"
    )
    add_arguments(parser)
    arguments, others = parser.parse_known_args(own)
    others += arguments.pytest
    if others or not separator:
        raise UsageError(
            f"{' '.join(others) or 'no suites'}: expected the arguments of pytest after `--`, as in {EXAMPLE}"
        )
    if arguments.nodes < 1:
        raise UsageError(f"--nodes {arguments.nodes}: expected 1 or more")
    here = Path.cwd()
    _check(for_pytest)
    name = f"{clock.utc_now().replace('-', '').replace(':', '')}-{secrets.token_hex(4)}"
    path = here / "results" / f"slurm-{name}.sh"
    script = batch_script(arguments.nodes, here, arguments.sbatch, for_pytest)
    command = ["sbatch", "--parsable", str(path)]
    if arguments.dry_run:
        print(script)
        print("Nothing was submitted. Without --dry-run, the script is written and submitted with:")
        print(shlex.join(command))
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, script.encode())
    job = _submit(command)
    print(f"submitted job {job}: {path}")
    print(
        f"follow it with: squeue --job {job}; its output: {path.parent}/slurm-{job}.out, unless --sbatch names another"
    )
    return 0


def batch_script(nodes: int, folder: Path, sbatch: Sequence[str], for_pytest: Sequence[str]) -> str:
    """Return the batch script. Later options win, so those of the user follow ours."""
    program = Path(sysconfig.get_path("scripts")) / _PROGRAM
    given = [
        "--job-name=pytest-bench",
        f"--nodes={nodes}",
        "--ntasks-per-node=1",
        "--no-kill",  # a lost node makes its points missing, and the others go on
        "--export=ALL",
        f"--chdir={folder}",
        "--output=results/slurm-%j.out",
        *sbatch,
    ]
    lines = [
        "#!/bin/sh",
        *(f"#SBATCH {_quoted(option)}" for option in given),
        f"exec {shlex.join([str(program), 'run', *for_pytest, '--slurm'])}",
    ]
    return "\n".join([*lines, ""])


def _quoted(option: str) -> str:
    """Quote an option as sbatch reads it. Raises `UsageError`."""
    if not option.startswith("-") or not option.isprintable() or '"' in option:
        raise UsageError(
            f"--sbatch {option!r}: expected an option of sbatch, as in --sbatch=--partition=gpu, without quotes and "
            "line breaks"
        )
    name, equals, value = option.partition("=")
    return f'{name}="{value}"' if equals and not re.fullmatch(r"[\w./:%,@+=\[\]-]*", value) else option


def _split(words: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """Divide `words` at the first `--`."""
    if "--" not in words:
        return list(words), False, []
    at = list(words).index("--")
    return list(words[:at]), True, list(words[at + 1 :])


def _check(for_pytest: Sequence[str]) -> None:
    """Refuse now what the job would refuse after its time in the queue, and secrets in arguments."""
    call = handover.read_call([*for_pytest, "--slurm"])
    if options.shows_only(call.option) or options.collects_only(call.option):
        raise UsageError("this call only shows something and runs nothing: call pytest itself")
    suites = find_suites(call.option, call.here, call.rootpath, call.testpaths)
    if not suites:
        raise UsageError(
            f"{' '.join(call.option.file_or_dir) or 'the folder'} contains no suite: name a folder with a *.yaml that "
            "has a top-level key `suite`"
        )
    plugins = [name for name in call.option.plugins or () if not name.startswith("no:")]
    plan = load_plan(suites, vocabulary_of(plugins), overrides(call.option), os.environ, root=call.here)
    hide_secrets(plan, os.environ)
    for number, word in enumerate(for_pytest, start=1):
        if redact(word) != word:
            raise UsageError(
                f"argument {number} after `--` contains a secret of the suites, which would be readable in the batch "
                "script: remove it; the job inherits the environment variables of this call"
            )


def _submit(command: Sequence[str]) -> str:
    """Run sbatch and return the id of the job. Raises `UsageError`."""
    program = shutil.which(command[0])
    if program is None:
        raise UsageError(
            "sbatch is not on PATH: run this on a host with Slurm's client commands, or use --dry-run"
        )
    try:
        done = subprocess.run(
            [program, *command[1:]],
            # In the environment, which the job inherits: never in the script or an argument.
            env={SECRET: secrets.token_hex(SECRET_BYTES), **os.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"sbatch did not answer within {_TOOL_TIMEOUT_S:g} s: see squeue before trying again"
        ) from error
    found = _JOB.findall(done.stdout)
    if done.returncode != 0 or len(found) != 1:
        print(printable(done.stdout + done.stderr, keep="\n"), end="", file=sys.stderr)
        raise UsageError(
            f"sbatch ended with status {done.returncode}, and its output above has {len(found)} job ids, expected one"
        )
    return str(found[0])
