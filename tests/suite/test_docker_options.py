"""Mounts are taken over from the options of `docker run`, however they are spelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.suite.container_plan import Mount
from pytest_bench.suite.docker_options import taken_over
from pytest_bench.suite.mounts import merged, merged_for_model

NAME = st.text(
    st.characters(codec="ascii", exclude_characters=":\"'\\/,=\n\r", categories=("L", "N", "P", "Zs")),
    min_size=1,
)
PATH = st.lists(NAME.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
BIND = st.builds(Mount, target=PATH, source=PATH, read_only=st.booleans())
TMPFS = st.builds(Mount, target=PATH, read_only=st.booleans(), size_bytes=st.none() | st.integers(1, 2**50))


def spellings(mount, slash):
    """Every way to write a mount as words of a command."""
    ro = mount.read_only
    if mount.source is None:
        size = [] if mount.size_bytes is None else [f"size={mount.size_bytes}"]
        options = ",".join([*size, *(["ro"] if ro else ["rw", "noexec"])])
        yield ["--tmpfs", f"{mount.target}{slash}:{options}"]
        fields = ["type=tmpfs", f"destination={mount.target}{slash}", *(f"tmpfs-{one}" for one in size)]
        yield ["--mount", ",".join([*fields, *(["readonly"] if ro else ["readonly=false"])])]
        return
    for option in ("-v", "--volume"):
        text = f"{mount.source}{slash}:{mount.target}{slash}" + (":ro" if ro else "")
        yield [option, text]
        yield [f"{option}={text}"]
    yield [f"-itv{text}"]
    yield ["-dv", text]
    for source, target, read_only in (("source", "target", "readonly"), ("src", "dst", "ro=true")):
        fields = ["type=bind", f"{source}={mount.source}{slash}", f"{target}={mount.target}{slash}"]
        yield ["--mount", ",".join([*fields, *([read_only] if ro else [])])]


@given(st.one_of(BIND, TMPFS), st.sampled_from(["", "/", "//", "/./"]))
def test_every_spelling_of_a_mount_is_the_same_mount(mount, slash):
    for words in spellings(mount, slash):
        found = taken_over(words)
        assert found.mounts == (mount,), words
        assert merged([(one, "") for one in (*found.mounts, mount)]) == ((mount,), [])


OTHER = st.sampled_from(
    [
        ["--rm"],
        ["--ipc", "host"],
        ["--ipc=host"],
        ["-e", "A=-v"],
        ["-e", "-v"],
        ["--env", "--mount"],
        ["-w", "/a:/b"],
    ]
)


@given(st.lists(st.one_of(OTHER, BIND), max_size=8))
def test_other_options_stay_as_they_are_and_values_are_never_taken_for_options(parts):
    words = [
        word for part in parts for word in (part if isinstance(part, list) else next(spellings(part, "")))
    ]
    found = taken_over(words)
    assert list(found.mounts) == [part for part in parts if isinstance(part, Mount)]
    assert list(found.rest) == [word for part in parts if isinstance(part, list) for word in part]


def test_a_text_is_split_as_a_shell_does():
    found = taken_over("--rm -v '/my data/:/models/:ro'  --shm-size=8g")
    assert found.mounts == (Mount(target="/models", source="/my data", read_only=True),)
    assert found.rest == ("--rm", "--shm-size=8g")


def test_a_field_of_mount_may_hold_a_comma_in_quotes():
    (mount,) = taken_over(["--mount", 'type=bind,"source=/a,b",target=/c']).mounts
    assert mount == Mount(target="/c", source="/a,b")


def test_sizes_have_units():
    (mount,) = taken_over("--tmpfs /run:size=64k").mounts
    assert mount.size_bytes == 64 << 10


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("-v /cache", "is an anonymous volume"),
        ("-v name:/cache", "has the source 'name'; expected an absolute path"),
        ("-v /a:/b:Z", "has the option 'Z'"),
        ("-v /a:b", "is not an absolute path"),
        ("-v", "needs a value"),
        ("--mount type=volume,source=x,target=/b", "is of the type 'volume'"),
        ("--mount source=/a,target=/b", "is of the type 'volume'"),
        ("--mount type=bind,target=/b", "names no source"),
        ("--mount type=tmpfs,source=/a,target=/b", "names a source"),
        ("--mount type=bind,source=/a", "names no target"),
        ("--mount type=bind,source=/a,src=/b,target=/c", "gives 'source' twice"),
        ("--mount type=bind,source=/a,source=/a,target=/c", "gives 'source' twice"),
        ("--mount type=bind,source=/a,target=/b,bind-propagation=shared", "'bind-propagation'"),
        ("--mount type=bind,source=/a,target=/b,readonly=maybe", "expected true or false"),
        ("--tmpfs /run:exec", "has the option 'exec'"),
        ("--tmpfs /run:size=half", "has the size 'half'"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_with_the_option(options, why):
    with pytest.raises(ValueError, match="the Docker option") as raised:
        taken_over(options)
    assert why in str(raised.value)


OWN, CONTEXT = Mount(target="/models", source="/mine"), Mount(target="/models", source="/shared")


def test_a_models_own_mount_wins_over_one_of_the_context_and_this_is_recorded():
    other = Mount(target="/data", source="/data")
    mounts, conflicts, replaced = merged_for_model(
        [(OWN, "models.json")], [(CONTEXT, "context"), (other, "context")]
    )
    assert (mounts, conflicts) == ((OWN, other), [])
    assert replaced == ["/models is /mine, the model's own mount, instead of /shared (context)"]


def test_two_different_mounts_of_one_origin_still_conflict():
    _, conflicts, replaced = merged_for_model([(OWN, "a"), (CONTEXT, "b")], [])
    assert (len(conflicts), replaced) == (1, [])
    _, conflicts, replaced = merged_for_model([], [(OWN, "a"), (CONTEXT, "b")])
    assert (len(conflicts), replaced) == (1, [])


def test_a_mount_that_the_context_repeats_is_not_recorded_as_replaced():
    assert merged_for_model([(OWN, "a")], [(OWN, "context")]) == ((OWN,), [], [])
