"""What the engine is asked for, and its own record of it."""

import os

import pytest

from pytest_bench.containers.request import command_line, creation
from pytest_bench.errors import UsageError
from pytest_bench.suite.container_plan import ContainerPlan, Mount, Ulimit

IMAGE = {"Entrypoint": ["serve"], "Cmd": ["--default"]}


def plan(**fields):
    return ContainerPlan(image="image", **fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (["serve"], ["--default"])),
        ({"arguments": ("--tp", "8")}, (["serve"], ["--default", "--tp", "8"])),
        ({"command": ("run", "x y")}, (["serve"], ["run", "x y"])),
        ({"entrypoint": ("launch",), "arguments": ("--tp", "8")}, (["launch"], ["--tp", "8"])),
    ],
)
def test_what_the_suite_leaves_out_is_the_images_own(fields, expected):
    assert command_line(plan(**fields), IMAGE) == expected


def test_a_device_that_does_not_exist_is_an_error():
    with pytest.raises(UsageError, match="no device of this host matches '/dev/absent"):
        creation(plan(devices=("/dev/absent*",)), {}, IMAGE, {})


def test_resources_reach_the_engine(engine, image, tmp_path):
    wanted = plan(
        command=("sleep", "1"),
        ipc="host",
        shm_size_bytes=2 << 30,
        ulimits={"memlock": Ulimit(soft=-1, hard=-1), "nofile": Ulimit(soft=1024, hard=2048)},
        cap_add=("SYS_PTRACE",),
        group_add=("video",),
        security_opt=("seccomp=unconfined",),
        devices=("/dev/nul[l]", "/dev/zero"),
        gpus="all",
        user="1000",
        workdir="/tmp",
        mounts=(
            Mount(target="/models", source=str(tmp_path), read_only=True),
            Mount(target="/scratch", size_bytes=1 << 20),
        ),
    )
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "2,3"}
    made = engine.containers.create(
        image, name=f"asked-{os.getpid()}", **creation(wanted, {"A": "1"}, IMAGE, slurm)
    )
    try:
        host, config = made.attrs["HostConfig"], made.attrs["Config"]
    finally:
        made.remove(force=True)
    assert (host["IpcMode"], host["ShmSize"]) == ("host", 2 << 30)
    assert {(limit["Name"], limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]} == {
        ("memlock", -1, -1),
        ("nofile", 1024, 2048),
    }
    assert (host["CapAdd"], host["GroupAdd"]) == (["SYS_PTRACE"], ["video"])
    assert "seccomp=unconfined" in host["SecurityOpt"]
    assert [device["PathOnHost"] for device in host["Devices"]] == ["/dev/null", "/dev/zero"]
    (gpus,) = host["DeviceRequests"]
    assert (gpus["DeviceIDs"], gpus["Capabilities"]) == (["2", "3"], [["gpu"]])
    assert [(mount["Type"], mount["Target"]) for mount in host["Mounts"]] == [
        ("bind", "/models"),
        ("tmpfs", "/scratch"),
    ]
    assert host["Mounts"][0]["ReadOnly"]
    assert (config["User"], config["WorkingDir"], "A=1" in config["Env"]) == ("1000", "/tmp", True)
    assert host["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
