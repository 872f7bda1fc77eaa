"""Mounts: one for each target."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.suite.container_plan import Mount
from pytest_bench.suite.mounts import merged, normalised

MOUNTS = st.builds(
    Mount,
    target=st.sampled_from(["/a", "/b", "/c"]),
    source=st.sampled_from(["/x", "/y", None]),
    read_only=st.booleans(),
)


@pytest.mark.parametrize("spelling", ["/models", "/models/", "//models", "/a/../models/.", "/models//"])
def test_spellings_of_one_target_are_one(spelling):
    assert normalised(spelling) == "/models"


@pytest.mark.parametrize("target", ["models", "", "./models"])
def test_a_target_that_is_not_absolute_is_refused(target):
    with pytest.raises(ValueError, match="not an absolute path"):
        normalised(target)


def test_identical_mounts_are_merged():
    mount = Mount(target="/models", source="/data")
    assert merged([(mount, "a.yaml:1:1"), (mount, "a.yaml:2:1")]) == ((mount,), [])


def test_conflicting_mounts_are_an_error_that_names_both_origins():
    one, other = (
        Mount(target="/models", source="/data"),
        Mount(target="/models", source="/other", read_only=True),
    )
    _, (conflict,) = merged([(one, "a.yaml:1:1"), (other, "b.yaml:2:1")])
    assert conflict == "mounts /models twice: /data (a.yaml:1:1) and /other read-only (b.yaml:2:1)"


@given(st.lists(MOUNTS))
def test_every_target_is_mounted_once_and_every_difference_is_a_conflict(mounts):
    found, conflicts = merged([(mount, str(place)) for place, mount in enumerate(mounts)])
    assert [mount.target for mount in found] == list(dict.fromkeys(mount.target for mount in mounts))
    first = {mount.target: mount for mount in reversed(mounts)}
    assert len(conflicts) == sum(mount != first[mount.target] for mount in mounts)
