"""What an engine on another machine cannot do for a deployment, refused before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_bench.containers.engine import ContainerError, Engine, host_of, is_loopback
from pytest_bench.containers.gpus import allocated
from pytest_bench.suite.container_plan import ContainerPlan


def require_possible(engine: Engine, plans: Sequence[ContainerPlan], environ: Mapping[str, str]) -> None:
    """Raises `ContainerError` that names everything which needs an engine on this machine, if `engine` is on another.

    The rest works there as here: the engine builds, loads and pulls images; `setup` runs and verification, artifacts
    and diagnostics read inside the container; and the watchdog removes the container through the engine.
    """
    if engine.local:
        return
    problems = [sentence for plan in plans for sentence in _problems(plan, environ)]
    if problems:
        lines = "".join(f"\n  {sentence}" for sentence in problems)
        raise ContainerError(
            f"the engine at {engine.address} is on another machine ({engine.hostname}), and the suite needs one on "
            f"this machine:{lines}"
        )
    if any(plan.port is not None for plan in plans):
        host_of(engine)


def _problems(plan: ContainerPlan, environ: Mapping[str, str]) -> Iterator[str]:
    here = plan.place
    for mount in plan.mounts:
        if mount.source is not None:
            yield (
                f"{here}.mounts: {mount.source} was checked on this machine, and the engine would mount its own path "
                "of that name: put the files into the image, or run the session where the engine is"
            )
    if plan.devices:
        yield f"{here}.devices: {', '.join(plan.devices)} are looked up on this machine"
    if plan.gpus is not None and allocated(environ) is not None:
        yield f"{here}.gpus: are those of this Slurm allocation, and the engine's are others"
    if plan.network == "host" and plan.port is not None:
        yield f"{here}.network: is `host`, and that port {plan.port} is free cannot be checked on that machine"
    elif plan.port is not None and is_loopback(plan.bind):
        yield (
            f"{here}.bind: is {plan.bind}, which only that machine can reach: set an address that this one can reach, "
            "such as 0.0.0.0"
        )
