"""The variables of a container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.redaction import hide
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.secret import Secret, holds_key


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Variables with their values. Its `repr` shows names only, because values may be keys."""

    values: Mapping[str, str]
    forwarded: tuple[str, ...] = ()
    """Names that came from the host."""

    def __repr__(self) -> str:
        return f"Environment({', '.join(self.values)})"

    def entries(self) -> list[str]:
        """`NAME=VALUE`, as the engine takes them."""
        return [f"{name}={value}" for name, value in self.values.items()]


def resolve(plan: ContainerPlan, environ: Mapping[str, str]) -> Environment:
    """The variables that `plan` declares, with those that come from the host's `environ`.

    Secrets and forwarded values of names that hold a key are hidden from everything this process writes. Raises
    `UsageError` that names every variable that is missing.
    """
    secret = {name: value.from_env for name, value in plan.environment.items() if isinstance(value, Secret)}
    missing = [name for name in (*secret.values(), *plan.forward) if name not in environ]
    if missing:
        raise UsageError(
            f"the container needs variables that are not set on this host: {', '.join(missing)}; export them"
        )
    hide(environ[name] for name in secret.values())
    hide(environ[name] for name in plan.forward if holds_key(name))
    optional = [name for name in plan.forward_if_set if name in environ]
    hide(environ[name] for name in optional if holds_key(name))
    values = {
        name: value if isinstance(value, str) else environ[value.from_env]
        for name, value in plan.environment.items()
    }
    values |= {name: environ[name] for name in (*plan.forward, *optional)}
    absent = [name for name in plan.required if name not in values]
    if absent:
        raise UsageError(
            f"the container requires variables that no declaration provides: {', '.join(absent)}; export them, or "
            f"set them in {plan.place}.environment"
        )
    return Environment(values=MappingProxyType(values), forwarded=(*plan.forward, *optional))


def parse(entries: Sequence[bytes]) -> dict[bytes, bytes]:
    """Entries `NAME=VALUE` as a mapping. As in libc's getenv, the first of two with one name counts."""
    values: dict[bytes, bytes] = {}
    for entry in entries:
        name, _, value = entry.partition(b"=")
        values.setdefault(name, value)
    return values
