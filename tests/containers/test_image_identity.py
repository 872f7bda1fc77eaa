"""One image has one identity on both image stores, and another image has another one."""

import copy
import json
from pathlib import Path

import pytest

from pytest_bench.containers.identity import identity_of
from pytest_bench.errors import EvidenceError

RECORDED = json.loads((Path(__file__).parent / "inspect_answers.json").read_text())
"""Answers of Docker 20.10.24 with the classic image store and of Docker 26.1.5 with the containerd image store, for the
same saved files: by image, then store. The image `full` has every setting of a Dockerfile, `plain` has none."""
CLASSIC = RECORDED["full"]["classic"]
LAYERS = CLASSIC["RootFS"]["Layers"]


@pytest.mark.parametrize("image", RECORDED)
def test_both_stores_give_one_image_one_identity_although_they_give_it_two_ids(image):
    classic, containerd = RECORDED[image]["classic"], RECORDED[image]["containerd"]
    assert classic["Id"] != containerd["Id"]
    assert identity_of(classic) == identity_of(containerd)
    assert identity_of(classic).digest == identity_of(containerd).digest


def test_two_images_have_two_identities_on_both_stores():
    digests = {identity_of(answer).digest for stores in RECORDED.values() for answer in stores.values()}
    assert len(digests) == len(RECORDED)


def test_the_digest_of_a_recorded_image_stays_the_same_because_caches_hold_it():
    assert identity_of(CLASSIC).digest == "1fe483dbca49a3162240cd918d3331e1d5578110d8c90caa574c256a60194646"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("Config", "Env"), ["PATH=/usr/bin", "LEVEL=2"]),
        (("Config", "Cmd"), ["serve", "--debug"]),
        (("Config", "Entrypoint"), ["sudo"]),
        (("Config", "User"), "1001"),
        (("Config", "Healthcheck"), None),
        (("Config", "ExposedPorts"), {"9000/tcp": {}}),
        (("Config", "StopSignal"), "SIGTERM"),
        (("Config", "Labels"), {"version": "2"}),
        (("RootFS", "Layers"), [*LAYERS, LAYERS[0]]),
        (("RootFS", "Layers"), ["sha256:" + "1" * 64]),
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
