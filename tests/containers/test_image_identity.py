"""One image has one identity on both image stores, and another image has another one."""

import copy

import pytest

from pytest_bench.containers.identity import identity_of
from pytest_bench.errors import EvidenceError

LAYERS = ["sha256:" + "1" * 64, "sha256:" + "2" * 64]
CLASSIC = {
    "Id": "sha256:" + "a" * 64,
    "RepoTags": ["server:1"],
    "Config": {
        "Hostname": "",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "Tty": False,
        "Env": ["PATH=/usr/bin", "A=1"],
        "Cmd": ["serve"],
        "Image": "sha256:" + "b" * 64,
        "Volumes": None,
        "WorkingDir": "/app",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": {"version": "1"},
    },
    "RootFS": {"Type": "layers", "Layers": LAYERS},
}
"""As an engine with the classic store answers: the id is the digest of the configuration."""
CONTAINERD = {
    "Id": "sha256:" + "c" * 64,
    "RepoTags": ["server:1"],
    "Descriptor": {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + "c" * 64},
    "Config": {
        "Env": ["PATH=/usr/bin", "A=1"],
        "Cmd": ["serve"],
        "WorkingDir": "/app",
        "Labels": {"version": "1"},
    },
    "RootFS": {"Type": "layers", "Layers": LAYERS},
}
"""As an engine with the containerd store answers for the same image: the id is the digest of an index."""


def test_both_stores_give_one_image_one_identity():
    assert CLASSIC["Id"] != CONTAINERD["Id"]
    assert identity_of(CLASSIC) == identity_of(CONTAINERD)
    assert identity_of(CLASSIC).digest == identity_of(CONTAINERD).digest


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("Config", "Env"), ["PATH=/usr/bin", "A=2"]),
        (("Config", "Cmd"), ["serve", "--debug"]),
        (("Config", "Entrypoint"), ["sudo"]),
        (("Config", "User"), "1000"),
        (("Config", "Labels"), {"version": "2"}),
        (("RootFS", "Layers"), LAYERS[::-1]),
        (("RootFS", "Layers"), LAYERS[:1]),
    ],
)
def test_every_difference_in_layers_or_configuration_is_another_identity(place, value):
    other = copy.deepcopy(CLASSIC)
    other[place[0]][place[1]] = value
    assert identity_of(other).digest != identity_of(CLASSIC).digest


@pytest.mark.parametrize("broken", [{}, {**CLASSIC, "RootFS": {"Layers": []}}, {**CLASSIC, "Config": None}])
def test_without_layers_or_configuration_there_is_no_identity(broken):
    with pytest.raises(EvidenceError, match="no layers or no configuration"):
        identity_of(broken)
