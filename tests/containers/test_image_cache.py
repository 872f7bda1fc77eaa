"""Images that nodes share as files, on a real engine."""

import contextlib
import json
import os
import stat
from pathlib import Path

import docker
import pytest

from pytest_bench.containers.engine import ContainerError
from pytest_bench.containers.identity import identity_of
from pytest_bench.containers.images import provide
from pytest_bench.suite.container_plan import Build, ContainerPlan

NAME = "localhost:1/cached:{}"
"""Nothing listens on port 1, so that a pull fails at once."""


@pytest.fixture
def image_plan(engine, tmp_path, request):
    """A function that returns the plan of a small image that is built from two files."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "content").write_text(request.node.name)
    label = f"pytest-bench-test={tmp_path}"
    (folder / "Dockerfile").write_text(
        f'FROM scratch\nLABEL {label}\nARG LEVEL=1\nCOPY content /\nENV LEVEL=$LEVEL\nCMD ["/x"]\n'
    )
    name = NAME.format(abs(hash(request.node.name)))

    def plan(*, built=True, **arguments):
        return ContainerPlan(
            image=name,
            build=Build(context=str(folder), arguments=arguments) if built else None,
            image_cache=str(tmp_path / "cache"),
        )

    yield plan
    for made in engine.images.list(filters={"label": label}):
        with contextlib.suppress(docker.errors.ImageNotFound):  # removed with its children
            engine.images.remove(made.id, force=True)


def files(plan, suffix):
    (found,) = [path for path in folder(plan).iterdir() if path.suffix == suffix]
    return found


def folder(plan):
    return Path(plan.image_cache)


def test_an_image_is_built_once_saved_and_then_loaded(engine, image_plan, os_environ):
    plan = image_plan()
    built = provide(engine, plan, os_environ)
    assert built.provenance == "built"
    tar = files(plan, ".tar")
    assert {path.suffix for path in folder(plan).iterdir()} == {".tar", ".json"}
    assert stat.S_IMODE(tar.stat().st_mode) == 0o644
    sidecar = json.loads(files(plan, ".json").read_text())
    assert (sidecar["reference"], sidecar["identity"]) == (plan.image, built.identity.digest)
    engine.images.remove(built.id, force=True)
    loaded = provide(engine, plan, os_environ)
    assert (loaded.provenance, loaded.identity) == ("loaded", built.identity)


def test_a_stale_image_under_the_right_tag_is_not_used(engine, image, image_plan, os_environ):
    plan = image_plan()
    built = provide(engine, plan, os_environ)
    engine.images.remove(built.id, force=True)
    engine.images.get(image).tag(plan.image)
    again = provide(engine, plan, os_environ)
    assert (again.provenance, again.identity) == ("loaded", built.identity)
    assert again.id != image


def test_the_same_tag_built_with_other_arguments_is_another_image(engine, image_plan, os_environ):
    one = provide(engine, image_plan(LEVEL="1"), os_environ)
    two = provide(engine, image_plan(LEVEL="2"), os_environ)
    assert (one.provenance, two.provenance) == ("built", "built")
    assert one.identity != two.identity
    assert provide(engine, image_plan(LEVEL="1"), os_environ).identity == one.identity


def cut_short(tar):
    tar.write_bytes(tar.read_bytes()[:-2048])


def changed(tar):
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(data)


def emptied(tar):
    tar.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, changed, emptied])
def test_a_damaged_file_is_quarantined_and_the_image_built_again(engine, image_plan, os_environ, damage):
    plan = image_plan()
    built = provide(engine, plan, os_environ)
    engine.images.remove(built.id, force=True)
    damage(files(plan, ".tar"))
    again = provide(engine, plan, os_environ)
    assert (again.provenance, again.identity) == ("built", built.identity)
    assert {path.suffix for path in folder(plan).iterdir()} == {".tar", ".json", ".corrupt"}


def test_a_file_that_holds_another_image_than_its_sidecar_says_is_not_used(engine, image_plan, os_environ):
    plan, other = image_plan(LEVEL="1"), image_plan(LEVEL="2")
    built = provide(engine, plan, os_environ)
    sidecar = files(plan, ".json")
    entry = json.loads(sidecar.read_text())
    engine.images.remove(built.id, force=True)
    wrong = {"image_id": "sha256:" + "0" * 64, "identity": entry["identity"][:16] + "0" * 48}
    sidecar.write_text(json.dumps(entry | wrong))
    assert provide(engine, plan, os_environ).provenance == "built"
    assert provide(engine, other, os_environ).identity != built.identity


def test_a_file_without_a_sidecar_is_no_entry(engine, image_plan, os_environ):
    plan = image_plan()
    built = provide(engine, plan, os_environ)
    engine.images.remove(built.id, force=True)
    files(plan, ".json").unlink()
    assert provide(engine, plan, os_environ).provenance == "built"


def test_if_no_source_has_the_image_the_reason_of_each_is_given(engine, image_plan, os_environ):
    plan = image_plan()
    (folder(plan).parent / "context" / "content").unlink()
    with pytest.raises(ContainerError) as raised:
        provide(engine, plan, os_environ)
    story = str(raised.value)
    for source in ("not loaded: ", "not built: ", "not pulled: "):
        assert f"\n  {source}" in story


def test_only_the_first_task_of_a_step_writes_to_the_cache(engine, image_plan, os_environ):
    plan = image_plan()
    built = provide(engine, plan, {**os_environ, "SLURM_PROCID": "1"})
    assert not folder(plan).exists()
    assert identity_of(engine.images.get(built.id).attrs) == built.identity


@pytest.fixture
def os_environ():
    return dict(os.environ)
