"""Plan the container of a suite's deployment."""

from __future__ import annotations

from pytest_bench.suite import container_plan as plans
from pytest_bench.suite.container_schema import BuildSection, ContainerSection, MountSection
from pytest_bench.suite.context import Context
from pytest_bench.suite.forwarding import PREFIX, presets
from pytest_bench.suite.log_controls import controls
from pytest_bench.suite.mounts import merged, normalised
from pytest_bench.suite.secret import Secret, holds_key
from pytest_bench.wording import one_of

_PATH = ("deployment", "container")


def plan_container(context: Context, section: ContainerSection) -> plans.ContainerPlan:
    """The container, with paths made absolute. Problems are recorded in `context`."""
    environment: dict[str, str | Secret] = {
        name: value if isinstance(value, str) else Secret(from_env=value.from_env)
        for name, value in section.environment.items()
    }
    names, optional = _forwarded(context, section)
    for name in names:
        if name in environment:
            context.problem(
                (*_PATH, "forward"), f"names {name}, which `environment` sets, too; expected one of them"
            )
    for name in section.required:
        if name not in {*environment, *names, *optional}:
            context.problem(
                (*_PATH, "required"), f"names {name}, which neither `environment` nor `forward` provides"
            )
    _check_secrets(context, section)
    _check_evals(context, section)
    log, variables, arguments = _log(context, section)
    return plans.ContainerPlan(
        image=section.image,
        build=None if section.build is None else _build(context, section.build),
        image_cache=None
        if section.image_cache is None
        else str(context.file((*_PATH, "image_cache"), section.image_cache)),
        entrypoint=None if section.entrypoint is None else tuple(section.entrypoint),
        command=section.given("command"),
        arguments=(*section.arguments, *arguments),
        environment={**environment, **variables},
        forward=names,
        forward_if_set=tuple(name for name in optional if name not in environment),
        required=tuple(section.required),
        mounts=_mounts(context, section.mounts),
        port=section.port,
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
        devices=section.given("devices"),
        gpus=section.gpus if section.gpus in (None, "all") else tuple(section.gpus or ()),
        user=section.user,
        workdir=section.workdir,
        runtime=section.runtime,
        setup=tuple(tuple(words) for words in section.setup),
        artifacts=_artifacts(context, section),
        readiness=plans.Readiness(
            log_pattern=section.readiness.log_pattern, healthcheck=section.readiness.healthcheck
        ),
        log=log,
        no_progress_s=section.no_progress_s,
        stop_timeout_s=section.stop_timeout_s,
    )


def _forwarded(context: Context, section: ContainerSection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that must be set on the host, and those of presets."""
    names: dict[str, None] = {}
    optional: dict[str, None] = {}
    for position, word in enumerate(section.forward):
        if not word.startswith(PREFIX):
            names[word] = None
        elif found := context.known(
            (*_PATH, "forward", position), "preset", word.removeprefix(PREFIX), presets()
        ):
            optional |= dict.fromkeys(found)
    return tuple(names), tuple(name for name in optional if name not in names)


def _check_evals(context: Context, section: ContainerSection) -> None:
    """The variables that ask a launcher for evals must fit what the suite declares."""
    suite = context.document.value
    if isinstance(suite, dict) and suite.get("eval"):
        return
    for name in ("EVAL_ONLY", "RUN_EVAL"):
        value = section.environment.get(name)
        if isinstance(value, str) and value.lower() in {"1", "true", "yes"}:
            context.problem(
                (*_PATH, "environment", name), f"is {value!r}, but the suite declares no eval; leave it out"
            )


def _check_secrets(context: Context, section: ContainerSection) -> None:
    for name, value in section.environment.items():
        if isinstance(value, str) and value and holds_key(name):
            context.problem(
                (*_PATH, "environment", name),
                "holds a key, which a suite must not contain; expected {from_env: NAME}",
            )
    for name in section.build.arguments if section.build else {}:
        if holds_key(name):
            context.problem(
                (*_PATH, "build", "arguments", name),
                "holds a key, which everybody who has the image could read; pass it when the container runs",
            )


def _log(
    context: Context, section: ContainerSection
) -> tuple[plans.LogPlan, dict[str, str], tuple[str, ...]]:
    """The log, with the variables and arguments that its controls expand to."""
    path, log = (*_PATH, "log"), section.log
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


def _build(context: Context, section: BuildSection) -> plans.Build:
    path = (*_PATH, "build")
    folder = context.file((*path, "context"), section.context)
    dockerfile = None
    if section.dockerfile is not None:
        dockerfile = context.file((*path, "dockerfile"), section.dockerfile)
    if not folder.is_dir():
        context.problem((*path, "context"), f"is {section.context!r}, which is not a folder ({folder})")
    elif not (dockerfile or folder / "Dockerfile").is_file():
        context.problem(path, f"has no Dockerfile: {dockerfile or folder / 'Dockerfile'} is not a file")
    return plans.Build(
        context=str(folder),
        dockerfile=None if dockerfile is None else str(dockerfile),
        arguments=dict(section.arguments),
        target=section.target,
    )


def _mounts(context: Context, sections: list[MountSection]) -> tuple[plans.Mount, ...]:
    path = (*_PATH, "mounts")
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


def _artifacts(context: Context, section: ContainerSection) -> tuple[str, ...]:
    patterns = tuple(section.artifacts or ())
    for position, pattern in enumerate(patterns):
        folder, _, name = pattern.rpartition("/")
        if not pattern.startswith("/") or not name or any(sign in folder for sign in "*?["):
            context.problem(
                (*_PATH, "artifacts", position),
                f"is {pattern!r}; expected the absolute path of a file, with '*' and '?' in its name only",
            )
    return patterns
