"""Images that nodes share as files, on a real engine."""

import contextlib
import json
import os
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import msgspec
import pytest

from pytest_bench.containers.builds import fingerprint_of
from pytest_bench.containers.engine import ContainerError, connect
from pytest_bench.containers.identity import identity_of
from pytest_bench.containers.image_cache import Entry, ImageCache
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
    with pytest.raises(ContainerError, match="is another one than its damaged file in the cache held"):
        provide(engine, plan, os_environ)
    assert provide(engine, other, os_environ).identity != built.identity


def test_an_image_that_is_built_again_must_be_the_one_that_its_damaged_file_held(
    engine, image_plan, os_environ, tmp_path
):
    plan = image_plan()
    built = provide(engine, plan, os_environ)
    engine.images.remove(built.id, force=True)
    cut_short(files(plan, ".tar"))
    (tmp_path / "context" / "content").write_text("a file that has changed meanwhile")
    for _ in range(2):  # a second attempt does not forget what was lost
        with pytest.raises(ContainerError, match="is another one") as raised:
            provide(engine, plan, os_environ)
        assert built.identity.digest in str(raised.value)
        assert {path.suffix for path in folder(plan).iterdir()} == {".corrupt", ".lost"}
    files(plan, ".lost").unlink()
    again = provide(engine, plan, os_environ)
    assert (again.provenance, again.identity != built.identity) == ("built", True)


def test_a_file_without_a_sidecar_is_not_an_entry(engine, image_plan, os_environ):
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


def test_only_the_first_task_of_a_step_builds_a_damaged_image_again(engine, image_plan, os_environ):
    plan = image_plan()
    built = provide(engine, plan, os_environ)
    engine.images.remove(built.id, force=True)
    cut_short(files(plan, ".tar"))
    with pytest.raises(ContainerError, match="not built: the first task of the Slurm step builds it"):
        provide(engine, plan, {**os_environ, "SLURM_PROCID": "1"})
    assert {path.suffix for path in folder(plan).iterdir()} == {".tar", ".json"}
    assert provide(engine, plan, os_environ).provenance == "built"


def test_two_writers_at_once_leave_one_whole_entry(engine, image_plan, os_environ):
    plan = image_plan()
    built = provide(engine, msgspec.structs.replace(plan, image_cache=None), os_environ)
    both = threading.Barrier(2)

    def save(_):
        with connect() as client:
            both.wait()
            return ImageCache(folder(plan)).save(client, plan.image, built.id, fingerprint_of(plan.build))

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(save, range(2))
    assert (one.sha256, one.identity) == (other.sha256, other.identity)
    assert sorted(path.suffix for path in folder(plan).iterdir()) == [".json", ".tar"]
    engine.images.remove(built.id, force=True)
    assert provide(engine, plan, os_environ).provenance == "loaded"


def test_two_engines_that_save_one_image_as_different_bytes_leave_two_entries(image_plan):
    cache, plan = ImageCache(folder(image_plan())), image_plan()
    common = {"reference": plan.image, "identity": "1" * 64, "layers": (), "image_id": "i", "size_bytes": 1}
    common |= {"fingerprint": "", "producer": "", "saved": ""}
    one, other = Entry(sha256="a" * 64, **common), Entry(sha256="b" * 64, **common)
    assert cache.path(one) != cache.path(other)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 8 KiB."""
    folder = tmp_path / "cache"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "small", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode and not os.environ.get("CI"):
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr}")
    assert mounted.returncode == 0, mounted.stderr
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full_is_an_error_that_leaves_no_entry_and_keeps_the_image(
    engine, image_plan, os_environ, small_disk
):
    plan = image_plan()
    with pytest.raises(ContainerError, match=r"No space left on device; make .* writable and free space"):
        provide(engine, plan, os_environ)
    assert list(small_disk.iterdir()) == []
    assert engine.images.get(plan.image)


def reasons(engine, plan, os_environ):
    with pytest.raises(ContainerError) as raised:
        provide(engine, plan, os_environ)
    return [line.split()[1] for line in str(raised.value).splitlines() if line.startswith("  not ")]


def test_a_local_image_is_built_before_it_is_pulled_and_any_other_afterwards(engine, image_plan, os_environ):
    plan = image_plan()
    (folder(plan).parent / "context" / "content").unlink()
    assert reasons(engine, plan, os_environ) == ["loaded:", "built:", "pulled:"]
    foreign = msgspec.structs.replace(plan, build=msgspec.structs.replace(plan.build, local=False))
    assert reasons(engine, foreign, os_environ) == ["loaded:", "present:", "pulled:", "built:"]


def test_an_image_of_a_registry_is_built_if_it_cannot_be_pulled(engine, image_plan, os_environ):
    plan = image_plan()
    foreign = msgspec.structs.replace(plan, build=msgspec.structs.replace(plan.build, local=False))
    assert provide(engine, foreign, os_environ).provenance == "built"


@pytest.fixture
def os_environ():
    return dict(os.environ)
