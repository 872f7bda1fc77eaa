"""Which GPUs a container gets, in a Slurm allocation and outside of one."""

import pytest

from pytest_bench.containers.gpus import allocated, amd_environment, requested
from pytest_bench.errors import UsageError

JOB = {"SLURM_JOB_ID": "7"}


def test_outside_of_an_allocation_gpus_are_asked_for_as_written():
    assert requested("all", {"CUDA_VISIBLE_DEVICES": "0"}) == "all"
    assert requested(("5",), {}) == ("5",)
    assert requested(None, JOB) is None


@pytest.mark.parametrize(
    ("environ", "gpus"),
    [
        ({"SLURM_STEP_GPUS": "2,3", "SLURM_JOB_GPUS": "0-3"}, ("2", "3")),
        ({"SLURM_JOB_GPUS": "0-2,5"}, ("0", "1", "2", "5")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-ab12,GPU-cd34"}, ("GPU-ab12", "GPU-cd34")),
        ({"ROCR_VISIBLE_DEVICES": "4"}, ("4",)),
    ],
)
def test_in_an_allocation_all_means_its_own(environ, gpus):
    assert requested("all", JOB | environ) == gpus


def test_another_gpu_than_the_allocations_is_an_error_that_names_it():
    with pytest.raises(
        UsageError, match="asks for GPU 4, which the Slurm job 7 does not have; its GPUs are 0, 1"
    ):
        requested(("0", "4"), JOB | {"SLURM_JOB_GPUS": "0,1"})


def test_an_allocation_without_gpus_is_an_error():
    with pytest.raises(UsageError, match="has no GPUs"):
        allocated(JOB)


def test_amd_devices_are_confined_to_the_allocation_by_their_variable():
    environ = JOB | {"SLURM_STEP_GPUS": "2-3"}
    assert amd_environment(("/dev/kfd", "/dev/dri/*"), {}, environ) == {"ROCR_VISIBLE_DEVICES": "2,3"}
    assert amd_environment(("/dev/kfd",), {"ROCR_VISIBLE_DEVICES": "3"}, environ) == {}
    assert amd_environment(("/dev/infiniband/*",), {}, environ) == {}
    assert amd_environment(("/dev/kfd",), {}, {}) == {}
    with pytest.raises(UsageError, match="asks for GPU 0"):
        amd_environment(("/dev/kfd",), {"ROCR_VISIBLE_DEVICES": "0"}, environ)
