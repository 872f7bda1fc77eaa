"""The control groups of this process (cgroups of Linux, both versions) and the limits that they set."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)

_ROOT = Path("/")


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
                with contextlib.suppress(OSError, ValueError):
                    limit = int(path.read_text(encoding="ascii"))
                    # Version 1 states the largest multiple of the page size if there is no limit.
                    if 0 <= limit < 1 << 62:
                        limits.append(limit)
    return min(limits, default=None)


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
