"""Facts about the measuring machine and its software, for `environment.json`.

Nothing is changed. A fact that cannot be determined is None.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pytest_bench import clock

ENVIRONMENT_VERSION = 1

_log = logging.getLogger(__name__)

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
            affinity=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
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


def control_groups(controller: str, root: Path = _ROOT) -> Iterator[tuple[Path, ...]]:
    """Folders of this process's group for `controller` and of its parents, the innermost first.

    One tuple for each place where the group may be mounted. `root` is where `proc` and `sys` are mounted. In a
    container, the group's path may not exist below the mount; then the mount itself is the group.
    """
    base = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        _log.info("the control group of this process cannot be read (%s): asking the next source", error)
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            mounts = [base, base / "unified"]
        elif controller in controllers.split(","):
            mounts = [base / controllers, base / controller]
        else:
            continue
        for mount in dict.fromkeys(mounts):
            folder = mount / group.lstrip("/")
            levels = (folder, *folder.parents)
            yield levels[: levels.index(mount) + 1] if mount in levels else (mount,)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """The lowest CPU limit among this process's group and its parents, in CPUs; None if there is no limit."""
    quotas: list[float] = []
    for levels in control_groups("cpu", root):
        for level in levels:
            quotas += _quota(level)
    return min(quotas, default=None)


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """The lowest memory limit among this process's group and its parents; None if there is no limit."""
    limits = []
    for levels in control_groups("memory", root):
        for level in levels:
            for path in (level / "memory.max", level / "memory.limit_in_bytes"):
                text = _text(path) or ""
                # Version 1 states the largest multiple of the page size if there is no limit.
                if text.isdigit() and int(text) < 1 << 62:
                    limits.append(int(text))
    return min(limits, default=None)


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


def _quota(level: Path) -> Iterator[float]:
    path = next((level / name for name in ("cpu.max", "cpu.cfs_quota_us") if (level / name).is_file()), None)
    if path is None:
        return
    try:
        limit, _, period = path.read_text(encoding="ascii").strip().partition(" ")
        if limit not in {"max", "-1"}:
            period = period or path.with_name("cpu.cfs_period_us").read_text(encoding="ascii")
            yield int(limit) / int(period)
    except (OSError, ValueError, ZeroDivisionError) as error:
        _log.info("%s cannot be read (%s): asking the next source", path, error)


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
