"""The container of a deployment in a suite."""

import pytest

from pytest_bench.containers.log_classes import CLASSES
from pytest_bench.errors import SuiteError
from pytest_bench.suite.artifacts import at_run
from pytest_bench.suite.container_plan import Mount
from pytest_bench.suite.deployments import endpoint_problem
from pytest_bench.suite.forwarding import presets
from pytest_bench.suite.log_controls import controls
from pytest_bench.suite.secret import Secret

TAIL = "datasets: {d: {path: x.jsonl}}\nperf: {p: {dataset: d, load: {pattern: burst, requests: 1}}}\n"


def suite(*lines, deployment=""):
    container = "".join(f"    {line}\n" for line in ("image: i", *lines))
    return (
        f"suite: s\ndeployment:\n  api: openai-chat\n  model: m\n{deployment}  container:\n{container}{TAIL}"
    )


@pytest.fixture
def planned(bench):
    def plan(*lines, **overrides):
        return bench.plan(suite(*lines), **overrides).deployments["s"]

    return plan


@pytest.fixture
def problem(bench):
    """The one problem of a container with these lines."""

    def found(*lines, **parts):
        with pytest.raises(SuiteError) as raised:
            bench.plan(suite(*lines, **parts))
        (sentence,) = raised.value.problems
        return sentence

    return found


def test_names_of_presets_are_listed_without_those_that_the_suite_sets(planned):
    found = planned(
        "environment: {xP: '1', KEY: {from_env: OURS}}", "forward: [preset:vllm-disagg, HF_TOKEN]"
    ).container
    assert found.environment == {"xP": "1", "KEY": Secret(from_env="OURS")}
    assert found.forward == ("HF_TOKEN",)
    assert set(found.forward_if_set) == set(presets()["vllm-disagg"]) - {"xP"}


def test_a_preset_lists_each_name_once_and_no_pattern():
    for names in presets().values():
        assert len(set(names)) == len(names)
        assert all(name.isidentifier() for name in names)


def test_a_preset_of_files_stands_for_patterns_in_the_working_folder_and_in_the_folder_of_the_job(planned):
    lines = (
        "workdir: /myworkspace/m/",
        "artifacts: [preset:madengine, /x]",
        "diagnostics: [preset:madengine]",
    )
    found = planned(*lines).container
    kinds = ("perf_*.csv", "perf-*.csv", "benchmark_*_CONCURRENCY.log")
    own = [f"/myworkspace/m/{kind}" for kind in kinds]
    assert at_run(found.artifacts, {}) == (*own, "/x")
    of_job = [f"/run_logs/7/{kind}" for kind in kinds]
    assert at_run(found.artifacts, {"SLURM_JOB_ID": "7"}) == (*own, *of_job, "/x")
    assert at_run(found.diagnostics, {}) == ("/myworkspace/m/*.log", "/run_logs/*")


def test_sizes_and_mounts_are_made_absolute(planned, bench):
    (bench.folder / "models").mkdir()
    found = planned(
        "shm_size: 16 GiB", "mounts: [{source: models, target: /models/, read_only: true}]"
    ).container
    assert found.shm_size_bytes == 16 << 30
    assert found.mounts == (Mount(target="/models", source=str(bench.folder / "models"), read_only=True),)


def test_a_container_serves_without_an_endpoint_unless_the_command_line_names_one(planned):
    deployment = planned()
    assert (deployment.endpoints, deployment.container.network) == ((), "bridge")
    assert endpoint_problem(deployment) is None
    assert planned(endpoints=("http://a:1",)).container is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["environment: {A: null}"], "environment.A"),
        (["environment: {A: 1}"], "environment.A"),
        (["environment: [A]"], "environment"),
        (
            ["environment: {HF_TOKEN: hf_x}"],
            "holds a key, which a suite must not contain; expected {from_env: NAME}",
        ),
        (["forward: ['preset:vlm-disagg']"], "did you mean 'vllm-disagg'?"),
        (["forward: ['MAD_*']"], "forward"),
        (["environment: {A: '1'}", "forward: [A]"], "names A, which `environment` sets, too"),
        (["required: [A]"], "names A, which neither `environment` nor `forward` provides"),
        (["mounts: [{source: gone, target: /m}]"], "'gone', which does not exist"),
        (["mounts: [{target: m}]"], "'m' is not an absolute path in the container"),
        (["mounts: [{target: /m}, {target: /m/, size: 1 MiB}]"], "mounts /m twice: tmpfs (chat.yaml:7:14)"),
        (["shm_size: 16G"], "'16 GiB'"),
        (["command: vllm serve"], "command"),
        (["command: []"], "command"),
        (["artifacts: ['/run_*/x']"], "with '*' and '?' in its name only"),
        (["artifacts: ['preset:madengin']"], "did you mean 'madengine'?"),
        (["artifacts: ['preset:madengine']"], "whose files are in `workdir`; expected an absolute `workdir`"),
        (["readiness: {log_pattern: '('}"], "expected a regular expression"),
        (["log: {controls: {level: INFO}}"], "need an `engine`"),
        (["log: {engine: vlm}"], "did you mean 'vllm'?"),
        (["log: {engine: vllm, controls: {levels: INFO}}"], "did you mean 'level'?"),
        (["log: {engine: vllm, controls: {level: QUIET}}"], "is 'QUIET'; expected DEBUG, INFO"),
        (
            ["environment: {VLLM_LOGGING_LEVEL: INFO}", "log: {engine: vllm, controls: {level: INFO}}"],
            "sets VLLM_LOGGING_LEVEL, which `environment` sets, too",
        ),
        (
            ["arguments: [--log-level=info]", "log: {engine: sglang, controls: {level: info}}"],
            "sets --log-level, which `arguments` hold, too",
        ),
        (["environment: {EVAL_ONLY: 'true'}"], "is 'true', but the suite declares no eval"),
        (["environment: {RUN_EVAL: '1'}"], "is '1', but the suite declares no eval"),
        (["ports: [9000]", "network: host"], "ports are published on bridge networks only"),
        (["ports: [8000]"], "ports repeat 8000, which is `port`"),
        (["runtime: enroot"], "'docker'"),
        (["build: {context: gone}"], "'gone', which is not a folder"),
        (
            ["build: {context: ., arguments: {HF_TOKEN: x}}", "user: '0'"],
            "everybody who has the image could read",
        ),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(problem, bench, lines, expected):
    (bench.folder / "Dockerfile").write_text("FROM scratch\n")
    sentence = problem(*lines)
    assert expected in sentence
    assert ":" in sentence.partition(" ")[0]


def test_an_endpoint_beside_a_container_is_refused(problem):
    assert "is given together with a container" in problem(deployment="  endpoint: http://a:1\n")


def test_log_controls_become_variables_and_arguments(planned):
    found = planned(
        "arguments: [--tp, '8']",
        "log: {engine: vllm, controls: {level: WARNING, access_log: 'off', statistics: 'on'}}",
    ).container
    assert found.environment == {"VLLM_LOGGING_LEVEL": "WARNING"}
    assert found.arguments == ("--tp", "8", "--disable-uvicorn-access-log")
    assert found.log.silenced == ("access", "debug")


def test_every_control_sets_something_and_silences_known_classes_at_its_own_values():
    for engine, named in controls().items():
        for name, control in named.items():
            ways = (control.environment, control.option, control.flag_off)
            assert sum(way is not None for way in ways) == 1, (engine, name)
            assert set(control.silences) <= set(CLASSES)
            assert all(set(values) <= set(control.values) for values in control.silences.values())


def roles(*lines, deployment=""):
    several = "".join(f"    {line}\n" for line in lines)
    return (
        f"suite: s\ndeployment:\n  api: openai-chat\n  model: m\n{deployment}  containers:\n{several}{TAIL}"
    )


PROXY = "proxy: {image: i, port: 8000, serves: true}"


def test_roles_keep_their_order_and_are_critical_unless_they_say_otherwise(bench):
    lines = (PROXY, "decode: {image: j, arguments: [--tp, '8']}", "client: {image: i, critical: false}")
    deployment = bench.plan(roles(*lines)).deployments["s"]
    found = [(each.role, each.port, each.serves, each.critical) for each in deployment.containers]
    assert found == [
        ("proxy", 8000, True, True),
        ("decode", None, False, True),
        ("client", None, False, False),
    ]
    assert deployment.container.role == "proxy"
    assert [each.place for each in deployment.containers][1] == "deployment.containers.decode"
    assert endpoint_problem(deployment) is None
    assert bench.plan(roles(*lines), endpoints=("http://a:1",)).deployments["s"].containers == ()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a: {image: i, port: 1}"], "deployment.containers have none that serves"),
        ([PROXY, "b: {image: i, port: 1, serves: true}"], "have proxy, b that serves"),
        (["a: {image: i, serves: true}"], "deployment.containers.a serves, but has no `port`"),
        (
            ["a: {image: i, port: 1, serves: true, critical: false}"],
            "a.critical is false, but no point can run",
        ),
        ([PROXY, "b: {image: i, no_progress_s: 5}"], "b.no_progress_s is about requests"),
        (
            [
                PROXY,
                "b: {image: i, network: host, port: 9}",
                "c: {image: i, network: host, port: 9}",
            ],
            "c.port is 9, as that of b, and both use the host's network",
        ),
        (
            [PROXY, "b: {image: i, environment: {HF_TOKEN: x}}"],
            "containers.b.environment.HF_TOKEN holds a key",
        ),
        ([PROXY, "B_1: {image: i}"], "lower-case letters"),
    ],
)
def test_roles_that_mean_nothing_are_refused_with_their_place(bench, lines, expected):
    with pytest.raises(SuiteError) as raised:
        bench.plan(roles(*lines))
    (sentence,) = raised.value.problems
    assert expected in sentence


def test_one_container_and_several_are_not_declared_together(bench):
    with pytest.raises(SuiteError, match="are given together with a `container`"):
        bench.plan(roles(PROXY, deployment="  container: {image: i}\n"))
