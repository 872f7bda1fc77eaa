"""Plan the containers of a suite's deployment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from pytest_bench.suite import container_plan as plans
from pytest_bench.suite.artifacts import WORKDIR, file_presets
from pytest_bench.suite.container_schema import ContainerSection, MountSection, RoleSection
from pytest_bench.suite.context import Context
from pytest_bench.suite.document import Path as Where
from pytest_bench.suite.forwarding import PREFIX, presets
from pytest_bench.suite.from_manifest import Contribution, Own, contribution
from pytest_bench.suite.log_controls import controls
from pytest_bench.suite.mounts import merged, normalised
from pytest_bench.suite.secret import Secret, holds_key
from pytest_bench.wording import one_of

_Section = ContainerSection | RoleSection


def plan_containers(
    context: Context, alone: ContainerSection | None, roles: Mapping[str, RoleSection], *, has_nodes: bool
) -> tuple[plans.ContainerPlan, ...]:
    """The containers of a deployment, with paths made absolute: the only one, or those by role.

    Problems are recorded in `context`.
    """
    if alone is not None:
        if roles:
            context.problem(
                ("deployment", "containers"), "are given together with a `container`; expected one of them"
            )
        return (_plan(context, alone, ("deployment", "container")),)
    if roles:
        _check_roles(context, roles, has_nodes=has_nodes)
    return tuple(
        msgspec.structs.replace(
            _plan(context, section, ("deployment", "containers", role)),
            role=role,
            critical=section.critical,
            serves=section.serves,
            rank=section.rank,
        )
        for role, section in roles.items()
    )


def _check_roles(context: Context, roles: Mapping[str, RoleSection], *, has_nodes: bool) -> None:
    path = ("deployment", "containers")
    serving = [role for role, section in roles.items() if section.serves]
    if len(serving) != 1:
        found = ", ".join(serving) or "none"
        context.problem(path, f"have {found} that serves; expected `serves: true` in exactly one")
    taken: dict[tuple[int, int], str] = {}
    for role, section in roles.items():
        here = (*path, role)
        if section.serves and section.port is None:
            context.problem(here, "serves, but has no `port`")
        if section.serves and not section.critical:
            context.problem((*here, "critical"), "is false, but no point can run without what serves")
        if not section.serves and section.no_progress_s is not None:
            context.problem((*here, "no_progress_s"), "is about requests; expected it where `serves` is true")
        if section.network == "host" and section.port is not None:
            other = taken.setdefault((section.rank, section.port), role)
            if other != role:
                context.problem(
                    (*here, "port"), f"is {section.port}, as that of {other}, and both use the host's network"
                )
        if section.rank and not has_nodes:
            context.problem((*here, "rank"), f"is {section.rank}, but the deployment has no `nodes`")


def _plan(context: Context, section: _Section, path: Where) -> plans.ContainerPlan:
    environment: dict[str, str | Secret] = {
        name: value if isinstance(value, str) else Secret(from_env=value.from_env)
        for name, value in section.environment.items()
    }
    names, optional = _forwarded(context, section, path)
    for name in names:
        if name in environment:
            context.problem(
                (*path, "forward"), f"names {name}, which `environment` sets, too; expected one of them"
            )
    lacking = tuple(name for name in section.required if name not in {*environment, *names, *optional})
    mounts = _mounts(context, section.mounts, (*path, "mounts"))
    restored = contribution(
        context,
        section.manifest,
        (*path, "manifest"),
        Own(
            variables=frozenset({*environment, *names}),
            required=lacking,
            targets=frozenset(mount.target for mount in mounts),
            build_arguments=frozenset(section.build.arguments if section.build else ()),
            has_gpus=section.gpus is not None or section.devices is not None,
        ),
    )
    image = section.image or restored.image
    if section.manifest is None:
        if image is None:
            context.problem(path, "has no 'image'; expected one, or a 'manifest' that names it")
        for name in lacking:
            context.problem(
                (*path, "required"), f"names {name}, which neither `environment` nor `forward` provides"
            )
    if section.ports and section.network == "host":
        context.problem(
            (*path, "ports"), "are published on bridge networks only; on the host's network all are"
        )
    if section.port in section.ports:
        context.problem((*path, "ports"), f"repeat {section.port}, which is `port`")
    _check_secrets(context, section, path)
    log, variables, arguments = _log(context, section, path)
    return plans.ContainerPlan(
        image=image or "",
        build=_build(context, section, restored, (*path, "build")),
        image_cache=None
        if section.image_cache is None
        else str(context.file((*path, "image_cache"), section.image_cache)),
        entrypoint=None if section.entrypoint is None else tuple(section.entrypoint),
        command=section.given("command"),
        arguments=(*section.arguments, *arguments),
        environment={**restored.environment, **environment, **variables},
        forward=names,
        forward_if_set=tuple(name for name in optional if name not in environment),
        required=tuple(section.required),
        mounts=(*mounts, *restored.mounts),
        manifest=restored.used,
        replaced_mounts=restored.replaced_mounts,
        port=section.port,
        ports=tuple(section.ports),
        network=section.network,
        bind=section.bind,
        ipc=section.ipc,
        shm_size_bytes=section.shm_size,
        ulimits={
            name: plans.Ulimit(soft=limit.soft, hard=limit.hard) for name, limit in section.ulimits.items()
        },
        cap_add=section.given("cap_add"),
        privileged=section.privileged,
        group_add=section.given("group_add"),
        security_opt=section.given("security_opt"),
        devices=section.given("devices") or restored.devices,
        gpus=_gpus(section) or restored.gpus,
        user=section.user,
        workdir=section.workdir,
        runtime=section.runtime,
        setup=tuple(tuple(words) for words in section.setup),
        artifacts=_patterns(context, section, (*path, "artifacts")),
        diagnostics=_patterns(context, section, (*path, "diagnostics")),
        readiness=plans.Readiness(
            log_pattern=section.readiness.log_pattern, healthcheck=section.readiness.healthcheck
        ),
        log=log,
        no_progress_s=section.no_progress_s,
        stop_timeout_s=section.stop_timeout_s,
    )


def _forwarded(context: Context, section: _Section, path: Where) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that must be set on the host, and those of presets."""
    names: dict[str, None] = {}
    optional: dict[str, None] = {}
    for position, word in enumerate(section.forward):
        if not word.startswith(PREFIX):
            names[word] = None
        elif found := context.known(
            (*path, "forward", position), "preset", word.removeprefix(PREFIX), presets()
        ):
            optional |= dict.fromkeys(found)
    return tuple(names), tuple(name for name in optional if name not in names)


def _check_secrets(context: Context, section: _Section, path: Where) -> None:
    for name, value in section.environment.items():
        if isinstance(value, str) and value and holds_key(name):
            context.problem(
                (*path, "environment", name),
                "holds a key, which a suite must not contain; expected {from_env: NAME}",
            )
    for name in section.build.arguments if section.build else {}:
        if holds_key(name):
            context.problem(
                (*path, "build", "arguments", name),
                "holds a key, which everybody who has the image could read; pass it when the container runs",
            )


def _log(
    context: Context, section: _Section, path: Where
) -> tuple[plans.LogPlan, dict[str, str], tuple[str, ...]]:
    """The log, with the variables and arguments that its controls expand to."""
    path, log = (*path, "log"), section.log
    variables: dict[str, str] = {}
    arguments: list[str] = []
    silenced: set[str] = set()
    known = {} if log.engine is None else context.known((*path, "engine"), "engine", log.engine, controls())
    if log.controls and log.engine is None:
        context.problem((*path, "controls"), f"need an `engine`; expected {one_of(controls())}")
    for name, value in log.controls.items() if known else ():
        here = (*path, "controls", name)
        control = context.known(here, f"control of {log.engine}", name, known or {})
        if control is None:
            continue
        if value not in control.values:
            context.problem(here, f"is {value!r}; expected {one_of(control.values)}")
        words = control.arguments(value)
        for twice in section.environment.keys() & control.variables(value).keys():
            context.problem(here, f"sets {twice}, which `environment` sets, too; expected one of them")
        if {word.partition("=")[0] for word in section.arguments} & set(words[:1]):
            context.problem(here, f"sets {words[0]}, which `arguments` hold, too; expected one of them")
        variables |= control.variables(value)
        arguments += words
        silenced |= control.silenced(value)
    canary = log.canary
    plan = plans.LogPlan(
        engine=log.engine,
        controls=dict(log.controls),
        silenced=tuple(sorted(silenced)),
        canary=None
        if canary is None
        else plans.Canary(path=canary.path, body=canary.body, pattern=canary.pattern),
        benign=tuple(log.benign),
        failures=tuple(log.failures),
        budget=plans.LogBudget(
            lines_per_request=log.budget.lines_per_request,
            bytes_per_request=log.budget.bytes_per_request,
            classes={str(name): limit for name, limit in log.budget.classes.items()},
        ),
        baseline_lines_per_request=log.baseline_lines_per_request,
    )
    return plan, variables, tuple(arguments)


def _gpus(section: _Section) -> tuple[str, ...] | Literal["all"] | None:
    return section.gpus if section.gpus in (None, "all") else tuple(section.gpus or ())


def _build(context: Context, container: _Section, restored: Contribution, path: Where) -> plans.Build | None:
    section = container.build
    if section is None:
        return None
    folder = context.file((*path, "context"), section.context)
    dockerfile = None
    if section.dockerfile is not None:
        dockerfile = context.file((*path, "dockerfile"), section.dockerfile)
    if not folder.is_dir():
        context.problem((*path, "context"), f"is {section.context!r}, which is not a folder ({folder})")
    elif not (dockerfile or folder / "Dockerfile").is_file():
        context.problem(path, f"has no Dockerfile: {dockerfile or folder / 'Dockerfile'} is not a file")
    contexts = {}
    for name, source in section.contexts.items():
        contexts[name] = source
        if "://" not in source:
            contexts[name] = str(context.file((*path, "contexts", name), source))
            if not Path(contexts[name]).is_dir():
                context.problem((*path, "contexts", name), f"is {source!r}, which is not a folder")
    return plans.Build(
        context=str(folder),
        dockerfile=None if dockerfile is None else str(dockerfile),
        arguments={**restored.build_arguments, **section.arguments},
        target=section.target,
        contexts=contexts,
        local=section.local and (restored.used is None or restored.is_local),
    )


def _mounts(context: Context, sections: list[MountSection], path: Where) -> tuple[plans.Mount, ...]:
    planned: list[tuple[plans.Mount, str]] = []
    for position, section in enumerate(sections):
        here = (*path, position)
        try:
            target = normalised(section.target)
        except ValueError as error:
            context.problem((*here, "target"), str(error))
            continue
        source = None
        if section.source is not None:
            source = context.file((*here, "source"), section.source)
            if not source.exists():
                context.problem((*here, "source"), f"is {section.source!r}, which does not exist ({source})")
            if section.size is not None:
                context.problem(
                    (*here, "size"), "is given for a path of the host; expected it for a tmpfs only"
                )
        mount = plans.Mount(
            target=target,
            source=None if source is None else str(source),
            read_only=section.read_only,
            size_bytes=section.size,
        )
        planned.append((mount, str(context.mark(here))))
    mounts, conflicts = merged(planned)
    for conflict in conflicts:
        context.problem(path, conflict)
    return mounts


def _patterns(context: Context, section: _Section, path: Where) -> tuple[str, ...]:
    """The patterns of a field, with those of its presets in their place."""
    field = str(path[-1])
    found: dict[str, None] = {}
    for position, pattern in enumerate(section.given(field)):
        if pattern.startswith(PREFIX):
            name = pattern.removeprefix(PREFIX)
            of_preset = context.known((*path, position), "preset", name, file_presets(field)) or ()
            if not (section.workdir or "").startswith("/") and any(WORKDIR in each for each in of_preset):
                context.problem(
                    (*path, position),
                    f"is {pattern!r}, whose files are in `workdir`; expected an absolute `workdir`",
                )
            workdir = (section.workdir or "").rstrip("/")
            found |= dict.fromkeys(each.replace(WORKDIR, workdir) for each in of_preset)
            continue
        found[pattern] = None
        folder, _, name = pattern.rpartition("/")
        if not pattern.startswith("/") or not name or any(sign in folder for sign in "*?["):
            context.problem(
                (*path, position),
                f"is {pattern!r}; expected the absolute path of a file, with '*' and '?' in its name only",
            )
    return tuple(found)
