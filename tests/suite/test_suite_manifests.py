"""A container that a manifest of madengine's completes."""

import json

import pytest

from pytest_bench.errors import SuiteError
from pytest_bench.suite.container_plan import Mount
from pytest_bench.suite.secret import Secret

BY_IMAGE = {
    "built_images": {
        "ci-chat": {"docker_image": "ci-chat", "registry_image": "registry:5000/ci-chat"},
        "ci-video": {"docker_image": "ci-video"},
    },
    "built_models": {
        "ci-chat": {
            "name": "chat",
            "additional_docker_run_options": (
                "--ipc host -v /mine:/models:ro --mount type=bind,source=/s,target=/scratch"
            ),
        }
    },
    "context": {
        "docker_env_vars": {
            "MODEL_DIR": "/models/${MODEL}",
            "PEER": "${NOT_SET_ANYWHERE}",
            "HF_TOKEN": "hf_literal",
            "EMPTY": "",
        },
        "docker_mounts": {"/models/": "/shared/models", "/data": "/nfs/data"},
        "docker_build_arg": {"GPU_ARCH": "gfx942", "BASE": "ubuntu"},
        "docker_gpus": "0-1",
        "gpu_renderDs": [128, 136],
        "gpu_vendor": "AMD",
        "guest_os": "UBUNTU",
        "tools": [{"name": "profiler"}],
    },
    "credentials_required": ["HUB"],
}
BY_MODEL = {
    "built_images": {"chat": {"docker_image": "vendor/serve:1", "local_image": True, "prebuilt": True}},
    "built_models": {"chat": {"name": "chat"}},
    "context": {"docker_gpus": "0,2", "gpu_vendor": "NVIDIA"},
}
TAIL = "datasets: {d: {path: x.jsonl}}\nperf: {p: {dataset: d, load: {pattern: burst, requests: 1}}}\n"


@pytest.fixture
def planned(bench):
    """The plan of a container with these lines, and a manifest beside the suite."""

    def plan(manifest, *lines, **environ):
        (bench.folder / "build_manifest.json").write_text(json.dumps(manifest))
        container = "".join(f"    {line}\n" for line in lines)
        text = f"suite: s\ndeployment:\n  api: openai-chat\n  model: m\n  container:\n{container}{TAIL}"
        bench.environ.update(environ)
        return bench.plan(text).deployments["s"].container

    return plan


@pytest.fixture
def problems(planned):
    def found(manifest, *lines, **environ):
        with pytest.raises(SuiteError) as raised:
            planned(manifest, *lines, **environ)
        return raised.value.problems

    return found


CHAT = "manifest: {path: build_manifest.json, image: ci-chat}"
ONLY = "manifest: {path: build_manifest.json}"


def test_a_manifest_keyed_by_image_completes_the_container(planned):
    found = planned(BY_IMAGE, CHAT, MODEL="llama")
    assert found.image == "registry:5000/ci-chat"
    assert found.environment == {
        "MODEL_DIR": "/models/llama",
        "HF_TOKEN": Secret(from_env="HF_TOKEN"),
        "EMPTY": "",
    }
    assert found.devices == ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD136")
    assert found.gpus is None


def test_a_manifest_keyed_by_model_completes_the_container(planned):
    found = planned(BY_MODEL, ONLY)
    assert (found.image, found.gpus, found.devices) == ("vendor/serve:1", ("0", "2"), ())


def test_a_mount_of_the_model_replaces_one_of_the_context_and_this_is_recorded(planned):
    found = planned(BY_IMAGE, CHAT, MODEL="llama")
    assert found.mounts == (
        Mount(target="/models", source="/mine", read_only=True),
        Mount(target="/scratch", source="/s"),
        Mount(target="/data", source="/nfs/data"),
    )
    (sentence,) = found.replaced_mounts
    assert sentence.startswith("/models is /mine read-only, the model's own mount, instead of /shared/models")


def test_a_manifest_never_replaces_what_the_suite_sets(planned, bench):
    (bench.folder / "here").mkdir()
    (bench.folder / "Dockerfile").touch()
    found = planned(
        BY_IMAGE,
        CHAT,
        "image: mine",
        "build: {context: ., arguments: {BASE: debian}}",
        "environment: {MODEL_DIR: /elsewhere, EMPTY: full}",
        "forward: [HF_TOKEN]",
        "mounts: [{target: /models, source: here}, {target: /data, source: here}]",
        "devices: [/dev/null]",
    )
    assert found.image == "mine"
    assert found.environment == {"MODEL_DIR": "/elsewhere", "EMPTY": "full"}
    assert found.forward == ("HF_TOKEN",)
    here = str(bench.folder / "here")
    assert found.mounts == (
        Mount(target="/models", source=here),
        Mount(target="/data", source=here),
        Mount(target="/scratch", source="/s"),
    )
    assert found.build.arguments == {"BASE": "debian", "GPU_ARCH": "gfx942"}
    assert found.devices == ("/dev/null",)


def test_the_plan_says_what_the_manifest_set_and_what_of_it_has_no_effect(planned):
    used = planned(BY_IMAGE, CHAT, MODEL="llama").manifest
    assert used.image == "ci-chat"
    assert {"docker_env_vars.MODEL_DIR", "docker_gpus", "docker_mounts./data"} <= set(used.filled)
    assert used.unresolved == {"docker_env_vars.PEER": "build_manifest.json: NOT_SET_ANYWHERE not set"}
    assert used.not_used == (
        "tools",
        "credentials_required",
        "guest_os",
        "additional_docker_run_options: --ipc host",
    )


def test_a_placeholder_without_a_value_is_left_out_and_if_required_a_problem(planned, problems):
    assert "PEER" not in planned(BY_IMAGE, CHAT, MODEL="llama").environment
    (sentence,) = problems(BY_IMAGE, CHAT, "required: [PEER]", MODEL="llama")
    assert "docker_env_vars.PEER: required, but build_manifest.json: NOT_SET_ANYWHERE not set" in sentence
    (sentence,) = problems(BY_IMAGE, CHAT, "required: [ABSENT]", MODEL="llama")
    assert "docker_env_vars.ABSENT: required, but not set by" in sentence


def test_a_secret_of_a_manifest_is_never_in_the_plan(planned):
    assert "hf_literal" not in repr(planned(BY_IMAGE, CHAT))


def test_an_image_that_only_its_builder_has_is_built_before_it_is_pulled(planned, bench):
    (bench.folder / "Dockerfile").touch()
    video = "manifest: {path: build_manifest.json, image: ci-video}"
    assert planned(BY_IMAGE, video, "build: {context: .}").build.local
    assert not planned(BY_IMAGE, CHAT, "build: {context: .}").build.local


def test_an_unknown_image_is_a_problem_with_the_nearest_name(problems):
    (sentence,) = problems(BY_IMAGE, "manifest: {path: build_manifest.json, image: ci-chut}")
    assert "names the image 'ci-chut'" in sentence
    assert "did you mean 'ci-chat'?" in sentence
    (sentence,) = problems(BY_IMAGE, ONLY)
    assert "names no image" in sentence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"built_images": {"chat": {"local_image": "yes"}}}, "#/built_images/chat/local_image"),
        ({"context": {"docker_gpus": "0", "gpu_vendor": "OTHER"}}, "gpu_vendor 'OTHER'; expected 'AMD'"),
        (
            {"context": {"docker_gpus": "0,7", "gpu_vendor": "AMD", "gpu_renderDs": [128]}},
            "gpu_renderDs is [128]; expected a list",
        ),
        ({"context": {"docker_build_arg": {"HUB_TOKEN": "x"}}}, "docker_build_arg.HUB_TOKEN holds a key"),
        ({"context": {"docker_mounts": {"data": "/nfs"}}}, "'data' is not an absolute path"),
        (
            {"built_models": {"chat": {"additional_docker_run_options": "-v volume:/x"}}},
            "expected an absolute path of the host",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_is_a_problem_of_the_suite(problems, change, said):
    (sentence,) = problems({**BY_MODEL, **change}, ONLY)
    assert said in sentence
    assert "deployment.container.manifest.path" in sentence


def test_a_manifest_that_cannot_be_read_is_a_problem_of_the_suite(problems):
    (sentence,) = problems(BY_MODEL, "manifest: {path: other.json}")
    assert "other.json: cannot be read" in sentence


def test_a_container_needs_an_image_of_its_own_or_of_a_manifest(problems):
    (sentence,) = problems(BY_MODEL, "workdir: /")
    assert "deployment.container has no 'image'; expected one, or a 'manifest' that names it" in sentence
