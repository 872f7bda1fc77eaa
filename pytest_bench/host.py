"""Facts about the measuring machine and its software, for `environment.json`.

Nothing is changed. A fact that cannot be determined is None.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pytest_bench import clock
from pytest_bench.control_groups import cpu_quota, memory_limit_bytes
from pytest_bench.cpus import affinity

ENVIRONMENT_VERSION = 1

_TOOL_TIMEOUT_S = 10.0
_DISTRIBUTION = "pytest-inference-bench"
_ROOT = Path("/")


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    model: str | None
    count: int | None
    """Logical CPUs of the machine."""
    affinity: int | None
    """Logical CPUs this process may run on."""
    quota: float | None
    """CPU limit of the control groups, in CPUs; None: no limit, or unknown."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    total_bytes: int | None
    limit_bytes: int | None
    """Memory limit of the control groups; None: no limit, or unknown."""


class Git(msgspec.Struct, frozen=True, kw_only=True):
    commit: str
    dirty: bool | None
    """Whether tracked files differ from the commit."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Facts on which a measurement depends, apart from the server."""

    packages: dict[str, str | None]
    """Version of this package and of each of its dependencies, extras included; None: not installed."""
    python: str
    implementation: str
    name: str | None
    system: str | None
    kernel: str | None
    machine: str | None
    distribution: str | None
    """Name of the operating system's distribution."""
    boot_id: str
    cpu: Cpu
    memory: Memory
    gpus: tuple[str, ...] | None
    """Names, by index; None if no vendor's tool lists any."""
    git: Git | None
    """State of the repository that contains the working folder."""
    clock: str
    """Clock of all latencies."""
    clock_source: str | None
    """The kernel's source of that clock. With `hpet` or `acpi_pm`, every reading costs a system call."""
    measured_at: str
    """ISO 8601, UTC."""


class Environment(Host, frozen=True, kw_only=True):
    """Contents of `environment.json`: the host and the nonce of a session."""

    version: int = ENVIRONMENT_VERSION
    nonce: str
    """Of the session."""


def name() -> str:
    """Name of this machine, for messages."""
    return platform.node() or "this machine"


def describe(folder: Path) -> Host:
    """Collect the facts now. `folder` is the folder whose repository is described.

    Runs git and the GPU tools as subprocesses if they are installed, each with a time limit.
    """
    return Host(
        packages=_packages(),
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        name=platform.node() or None,
        system=platform.system() or None,
        kernel=platform.release() or None,
        machine=platform.machine() or None,
        distribution=_distribution(),
        boot_id=clock.boot_id(),
        cpu=Cpu(
            model=cpu_model(),
            count=os.cpu_count(),
            affinity=None if (own := affinity()) is None else len(own),
            quota=cpu_quota(),
        ),
        memory=Memory(total_bytes=_memory_bytes(), limit_bytes=memory_limit_bytes()),
        gpus=gpu_names(),
        git=git_state(folder),
        clock=clock.SOURCE,
        clock_source=_text(_ROOT / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        measured_at=clock.utc_now(),
    )


def environment(folder: Path, nonce: str) -> Environment:
    """`describe(folder)` with the nonce of a session."""
    return Environment(nonce=nonce, **msgspec.structs.asdict(describe(folder)))


def cpu_model(root: Path = _ROOT) -> str | None:
    """Model name of the first processor; None if the kernel does not report one, as on many ARM systems."""
    match = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else None


def gpu_names() -> tuple[str, ...] | None:
    """Names of the GPUs that the vendor's tool (`nvidia-smi`, `rocm-smi`) lists."""
    nvidia = _run("nvidia-smi", ["--query-gpu=name", "--format=csv,noheader"]) or ""
    names = tuple(line.strip() for line in nvidia.splitlines() if line.strip())
    return names or _rocm_names(_run("rocm-smi", ["--showproductname", "--json"]))


def git_state(folder: Path) -> Git | None:
    """Commit of the repository that contains `folder`. Takes no lock and starts no file-system monitor."""
    command = ["--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder)]
    commit = _run("git", [*command, "rev-parse", "--verify", "HEAD"])
    if commit is None:
        return None
    changes = _run("git", [*command, "status", "--porcelain", "--untracked-files=no"])
    return Git(commit=commit.strip(), dirty=None if changes is None else bool(changes.strip()))


def _packages() -> dict[str, str | None]:
    versions: dict[str, str | None] = {_DISTRIBUTION: _version(_DISTRIBUTION)}
    if versions[_DISTRIBUTION] is not None:
        for requirement in importlib.metadata.requires(_DISTRIBUTION) or ():
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            if match:
                versions[match[0]] = _version(match[0])
    return versions


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _rocm_names(text: str | None) -> tuple[str, ...] | None:
    try:
        cards = msgspec.json.decode(text or "null", type=dict[str, dict[str, str]] | None)
    except msgspec.DecodeError:
        return None
    names = []
    for card in sorted(cards or (), key=lambda card: int(re.sub(r"\D", "", card) or 0)):
        fields = {field.lower(): value for field, value in (cards or {})[card].items()}
        name = fields.get("card series")
        if name is not None:
            names.append(name)
    return tuple(names) or None


def _run(tool: str, arguments: Sequence[str]) -> str | None:
    """Output of an installed tool; None if it is missing, fails, or exceeds the time limit."""
    program = shutil.which(tool)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            check=True,
            timeout=_TOOL_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
