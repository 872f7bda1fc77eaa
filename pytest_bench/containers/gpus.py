"""Which GPUs a container gets: those asked for, out of those that this session may use.

dockerd is not part of a Slurm job: its containers see every GPU of the node, whatever the job's control group allows.
In an allocation, GPUs are therefore always named one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pytest_bench.errors import UsageError
from pytest_bench.suite.gpu_list import expanded

_JOB = "SLURM_JOB_ID"
_ALLOCATED = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
AMD_VISIBLE = "ROCR_VISIBLE_DEVICES"
_AMD_DEVICES = ("/dev/kfd", "/dev/dri")


def allocated(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The GPUs of the Slurm allocation that this process runs in; None outside of one.

    Raises `UsageError` if the allocation names none.
    """
    if not environ.get(_JOB):
        return None
    for name in _ALLOCATED:
        if environ.get(name):
            return tuple(expanded(environ[name]))
    raise UsageError(
        f"the Slurm job {environ[_JOB]} has no GPUs: none of {', '.join(_ALLOCATED)} is set; ask for them with --gpus"
    )


def requested(
    asked: tuple[str, ...] | Literal["all"] | None, environ: Mapping[str, str]
) -> tuple[str, ...] | Literal["all"] | None:
    """The GPUs to name to the engine. Raises `UsageError` for one outside of the allocation."""
    if asked is None:
        return None
    available = allocated(environ)
    if available is None:
        return asked
    if asked == "all":
        return available
    _require_within(asked, available, environ)
    return asked


def amd_environment(
    devices: tuple[str, ...], declared: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """The variable that confines a container with AMD devices to the allocation; empty where nothing is confined.

    Raises `UsageError` if the suite declares GPUs outside of the allocation.
    """
    if not any(device.startswith(_AMD_DEVICES) for device in devices):
        return {}
    available = allocated(environ)
    if available is None:
        return {}
    if AMD_VISIBLE in declared:
        _require_within(tuple(expanded(declared[AMD_VISIBLE])), available, environ)
        return {}
    return {AMD_VISIBLE: ",".join(available)}


def _require_within(asked: tuple[str, ...], available: tuple[str, ...], environ: Mapping[str, str]) -> None:
    others = [gpu for gpu in asked if gpu not in available]
    if others:
        raise UsageError(
            f"the container asks for GPU {', '.join(others)}, which the Slurm job {environ[_JOB]} does not have; its "
            f"GPUs are {', '.join(available)}"
        )
