"""What the engine is asked for: a plan, with what this host adds to it."""

from __future__ import annotations

import glob
import socket
from collections.abc import Mapping
from typing import Any

from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from pytest_bench.containers.engine import ContainerError
from pytest_bench.containers.gpus import requested
from pytest_bench.errors import UsageError
from pytest_bench.suite.container_plan import ContainerPlan

SETUP_FAILED = 125
"""Exit status of a container whose setup failed, before its server was started."""

# Runs the setup commands, then becomes the server. Each word is an argument of its own: a number says how many words
# the next command has, and 0 ends the list. The variables have long names, because the server inherits them if the
# container has variables of the same names.
SETUP = f"""\
pytest_bench_step=0
while [ "$1" -gt 0 ]; do
  pytest_bench_words=$1
  pytest_bench_step=$((pytest_bench_step + 1))
  shift
  (
    pytest_bench_left=$pytest_bench_words
    while [ "$pytest_bench_left" -gt 0 ]; do
      set -- "$@" "$1"
      shift
      pytest_bench_left=$((pytest_bench_left - 1))
    done
    shift $(($# - pytest_bench_words))
    exec "$@"
  )
  pytest_bench_status=$?
  if [ "$pytest_bench_status" -ne 0 ]; then
    echo "setup command $pytest_bench_step failed with status $pytest_bench_status" >&2
    exit {SETUP_FAILED}
  fi
  shift "$pytest_bench_words"
done
shift
exec "$@"
"""


def creation(
    plan: ContainerPlan,
    environment: Mapping[str, str],
    image_config: Mapping[str, Any],
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """Arguments of the SDK's `containers.create`, apart from image, name and labels.

    `image_config` is the image's `Config`, `environ` the environment of this process. Raises `UsageError` for devices
    that do not exist and GPUs that cannot be had, and `ContainerError` if nothing is to be run.
    """
    entrypoint, command = command_line(plan, image_config)
    published = [
        f"{port}/tcp" for port in (plan.port, *plan.ports) if port is not None and plan.network == "bridge"
    ]
    return {
        "entrypoint": entrypoint,
        "command": command,
        "environment": [f"{name}={value}" for name, value in environment.items()],
        # The client's own configuration may hold variables for proxies; nothing is inherited.
        "use_config_proxy": False,
        "network_mode": plan.network,
        "ports": dict.fromkeys(published, (plan.bind,)) or None,
        "ipc_mode": plan.ipc,
        "shm_size": plan.shm_size_bytes,
        "ulimits": [
            Ulimit(name=name, soft=limit.soft, hard=limit.hard) for name, limit in plan.ulimits.items()
        ],
        "cap_add": list(plan.cap_add),
        "privileged": plan.privileged,
        "group_add": list(plan.group_add),
        "security_opt": list(plan.security_opt),
        "devices": [f"{path}:{path}:rwm" for path in device_nodes(plan)],
        "device_requests": _gpu_requests(plan, environ),
        "user": plan.user,
        "working_dir": plan.workdir,
        "mounts": [
            Mount(
                target=mount.target,
                source=mount.source,
                type="tmpfs" if mount.source is None else "bind",
                read_only=mount.read_only,
                tmpfs_size=mount.size_bytes,
            )
            for mount in plan.mounts
        ],
        # The log must be readable, whatever the engine's default is.
        "log_config": LogConfig(type=LogConfig.types.JSON, config={}),
        "detach": True,
    }


def command_line(plan: ContainerPlan, image_config: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Entrypoint and command, with the image's own where the plan has none.

    As for Docker, an entrypoint in the plan also replaces the image's command.
    """
    entrypoint = plan.entrypoint
    default = image_config.get("Cmd") if entrypoint is None else None
    words = [*(plan.command or default or ()), *plan.arguments]
    first = list(entrypoint if entrypoint is not None else image_config.get("Entrypoint") or ())
    if not first and not words:
        raise ContainerError("there is no command to run: neither the suite nor the image has one")
    if not plan.setup:
        return first, words
    steps = [word for step in plan.setup for word in (str(len(step)), *step)]
    return ["sh", "-c", SETUP, "setup"], [*steps, "0", *first, *words]


def device_nodes(plan: ContainerPlan) -> list[str]:
    """The device nodes that a plan's patterns match. Raises `UsageError` for a pattern that matches none."""
    found: dict[str, None] = {}
    for pattern in plan.devices:
        nodes = sorted(glob.glob(pattern))  # noqa: PTH207 # absolute patterns
        if not nodes:
            raise UsageError(f"no device of this host matches {pattern!r} ({plan.place}.devices)")
        found |= dict.fromkeys(nodes)
    return list(found)


def require_free(port: int) -> None:
    """Raises `ContainerError` if something already listens on a port of this host."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 # nothing is accepted
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET6 and not isinstance(error, PermissionError) and error.errno != 98:
                continue  # this host has no IPv6
            raise ContainerError(
                f"port {port} of this host is not free ({error.strerror}), and the container uses the host's network: "
                "end what listens there, or declare another `port`"
            ) from error


def _gpu_requests(plan: ContainerPlan, environ: Mapping[str, str]) -> list[DeviceRequest]:
    gpus = requested(plan.gpus, environ)
    if gpus is None:
        return []
    if gpus == "all":
        return [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    return [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])]
