"""madengine's manifests in both keyings, and how a node's values are restored from several sources."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.errors import EvidenceError, SuiteError, UsageError
from pytest_bench.suite.manifest import images, parse_manifest, read_manifest
from pytest_bench.suite.restoring import Source, manifest_source, restore
from pytest_bench.suite.secret import Secret

CONTEXT = {
    "docker_env_vars": {"MODEL_DIR": "/models/${MODEL}", "HF_TOKEN": "hf_literal", "EMPTY": ""},
    "docker_mounts": {"/data": "/nfs/data"},
    "docker_build_arg": {"GPU_ARCH": "gfx942"},
    "docker_gpus": "0-7",
    "gpu_vendor": "AMD",
    "guest_os": "UBUNTU",
    "tools": [{"name": "profiler"}],
    "pre_scripts": [],
    "encapsulate_script": "",
}
BY_IMAGE = {
    "built_images": {
        "ci-chat_chat.ubuntu.amd": {
            "docker_image": "ci-chat_chat.ubuntu.amd",
            "dockerfile": "docker/chat.ubuntu.amd.Dockerfile",
            "registry_image": "registry:5000/ci-chat",
            "build_duration": 4.5,
        },
        "ci-video_video.ubuntu.amd": {
            "docker_image": "ci-video_video.ubuntu.amd",
            "registry_image": "registry:5000/ci-video",
            "push_failed": True,
        },
        "ci-audio": {"registry_image": "registry:5000/ci-audio"},
    },
    "built_models": {"ci-chat_chat.ubuntu.amd": {"name": "chat", "n_gpus": "8"}},
    "context": CONTEXT,
    "credentials_required": ["HUB"],
    "deployment_config": {"target": "slurm", "slurm": {"nodes": 2}},
    "summary": {"successful_builds": ["chat"]},
    "push_failures": [
        {"image": "ci-audio", "intended_registry_image": "registry:5000/ci-audio", "error": "denied"}
    ],
}
BY_MODEL = {
    "built_images": {
        "chat": {
            "image_name": "vendor/serve:1",
            "docker_image": "vendor/serve:1",
            "local_image": True,
            "prebuilt": True,
        }
    },
    "built_models": {"chat": {"name": "chat", "docker_image": "vendor/serve:1"}},
    "context": {},
}


def test_a_manifest_keyed_by_image_names_what_other_nodes_can_pull():
    chat, video, audio = images(parse_manifest(BY_IMAGE, "m.json"))
    assert (chat.reference, chat.only_on_builder, chat.model["name"]) == (
        "registry:5000/ci-chat",
        False,
        "chat",
    )
    assert (video.reference, video.only_on_builder) == ("ci-video_video.ubuntu.amd", True)
    assert (audio.reference, audio.only_on_builder, audio.model) == ("ci-audio", True, None)


def test_a_manifest_keyed_by_model_names_the_image_that_was_given():
    (chat,) = images(parse_manifest(BY_MODEL, "m.json"))
    assert (chat.key, chat.reference, chat.only_on_builder) == ("chat", "vendor/serve:1", False)


def test_everything_else_is_kept_and_what_is_not_used_is_named():
    manifest = parse_manifest(BY_IMAGE, "m.json")
    assert manifest.deployment_config == BY_IMAGE["deployment_config"]
    assert manifest.credentials_required == ["HUB"]
    assert manifest.summary == {"successful_builds": ["chat"]}
    assert manifest.push_failures[0].others == {"intended_registry_image": "registry:5000/ci-audio"}
    assert manifest.context.not_used == ("tools",), "an empty value does nothing"
    assert manifest.context.others["tools"] == CONTEXT["tools"]
    assert manifest.built_images["ci-chat_chat.ubuntu.amd"].others["build_duration"] == 4.5


@pytest.mark.parametrize(
    ("manifest", "pointers"),
    [
        ({}, ["/built_images"]),
        ([], [""]),
        ({"built_images": {"a/b~c": {"docker_image": 3}}}, ["/built_images/a~1b~0c/docker_image"]),
        ({"built_images": {"a": {"local_image": "yes"}}}, ["/built_images/a/local_image"]),
        ({"built_images": {"chat": {"prebuilt": True}}}, ["/built_images/chat/docker_image"]),
        ({"built_images": {}, "built_models": {"a": {}}}, ["/built_models/a"]),
        (
            {"built_images": {}, "context": {"docker_env_vars": {"A": 1}, "gpu_vendor": 2}},
            ["/context/docker_env_vars/A", "/context/gpu_vendor"],
        ),
    ],
)
def test_every_problem_is_a_json_pointer(manifest, pointers):
    with pytest.raises(SuiteError) as error:
        parse_manifest(manifest, "m.json")
    for pointer in pointers:
        assert any(problem.startswith(f"m.json#{pointer}") for problem in error.value.problems), error.value


def test_a_manifest_is_read_strictly(tmp_path):
    path = tmp_path / "build_manifest.json"
    path.write_text(json.dumps(BY_MODEL))
    assert images(read_manifest(path))[0].key == "chat"
    path.write_text('{"built_images": {}, "built_images": {}}')
    with pytest.raises(EvidenceError, match=r"build_manifest\.json"):
        read_manifest(path)


def source(name, **values):
    return Source(name=name, values={key.replace("__", "."): value for key, value in values.items()})


def test_a_manifest_fills_only_what_no_stronger_source_set():
    manifest = manifest_source(parse_manifest(BY_IMAGE, "m.json").context, "m.json")
    restored = restore(
        [
            source("command line", gpu_vendor="NVIDIA", docker_env_vars__OWN="1"),
            manifest,
            source("defaults", guest_os="X"),
        ],
        {"MODEL": "chat"},
    )
    assert restored.values == {
        "gpu_vendor": "NVIDIA",
        "docker_env_vars.OWN": "1",
        "docker_env_vars.MODEL_DIR": "/models/chat",
        "docker_env_vars.HF_TOKEN": Secret(from_env="HF_TOKEN"),
        "docker_env_vars.EMPTY": "",
        "docker_mounts./data": "/nfs/data",
        "docker_build_arg.GPU_ARCH": "gfx942",
        "docker_gpus": "0-7",
        "guest_os": "UBUNTU",
    }
    assert (restored.sources["gpu_vendor"], restored.sources["guest_os"]) == ("command line", "m.json")
    assert "hf_literal" not in repr(restored)


def test_a_placeholder_without_a_value_never_replaces_one():
    sources = [
        source("command line", docker_env_vars__A="${UNSET}"),
        source("m.json", docker_env_vars__A="kept"),
    ]
    assert restore(sources, {}).values == {"docker_env_vars.A": "kept"}


def test_a_placeholder_without_a_value_is_left_out_and_named_or_an_error_if_required():
    sources = [source("m.json", docker_env_vars__A="${SET}/${UNSET}")]
    restored = restore(sources, {"SET": "x"})
    assert (restored.values, restored.unresolved) == ({}, {"docker_env_vars.A": "m.json: UNSET not set"})
    with pytest.raises(UsageError, match=r"docker_env_vars.A: required, but m.json: UNSET not set"):
        restore(sources, {"SET": "x"}, ["docker_env_vars.A"])
    with pytest.raises(UsageError, match=r"gpu_vendor: required, but not set by m.json"):
        restore(sources, {}, ["gpu_vendor"])


def test_an_empty_value_is_a_value():
    sources = [source("command line", guest_os=""), source("m.json", guest_os="UBUNTU")]
    assert restore(sources, {}, ["guest_os"]).values == {"guest_os": ""}
    assert restore([source("m.json", guest_os="${V}")], {"V": ""}).values == {"guest_os": ""}


def test_a_variable_that_holds_a_key_is_stored_by_its_name():
    sources = [source("m.json", docker_env_vars__HUB="${MY_TOKEN}")]
    assert restore(sources, {"MY_TOKEN": "v"}).values == {"docker_env_vars.HUB": Secret(from_env="MY_TOKEN")}
    with pytest.raises(UsageError, match="holds the key MY_TOKEN within other text"):
        restore([source("m.json", docker_env_vars__AUTH="Bearer ${MY_TOKEN}")], {"MY_TOKEN": "v"})


def test_a_secret_of_the_manifest_is_an_object_with_one_name():
    value = {"built_images": {}, "context": {"docker_env_vars": {"A": {"from_env": "B"}}}}
    context = parse_manifest(value, "m.json").context
    assert manifest_source(context, "m.json").values == {"docker_env_vars.A": Secret(from_env="B")}
    value["context"]["docker_env_vars"]["A"] = {"from_env": "B", "value": "x"}
    with pytest.raises(UsageError, match="only `from_env`"):
        manifest_source(parse_manifest(value, "m.json").context, "m.json")


KEYS = st.sampled_from(["gpu_vendor", "docker_env_vars.A", "docker_env_vars.B"])
VALUES = st.sampled_from(["", "x", "y", "${SET}", "${UNSET}", "a${UNSET}b"])


@given(st.lists(st.dictionaries(KEYS, VALUES), max_size=4))
def test_each_value_is_that_of_the_strongest_source_that_has_one(layers):
    sources = [Source(name=str(place), values=values) for place, values in enumerate(layers)]
    restored = restore(sources, {"SET": "s"})
    for key in {key for values in layers for key in values}:
        having = [
            place for place, values in enumerate(layers) if key in values and "UNSET" not in values[key]
        ]
        if having:
            assert restored.sources[key] == str(having[0])
            assert restored.values[key] == layers[having[0]][key].replace("${SET}", "s")
        else:
            assert key in restored.unresolved
            assert key not in restored.values
