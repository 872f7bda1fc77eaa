"""One rank in a process of its own: `rank_process.py RANK SIZE JOB`.

It meets, builds until its standard input ends, and waits at the barrier `end`."""

import sys

from pytest_bench.cluster.endpoint import meet
from pytest_bench.cluster.place import Place, derived_ports

SECRET = bytes(range(32))


def place(rank, size, job, ports=None, host=None):
    return Place(
        rank=rank,
        size=size,
        host=host or f"n{rank}",
        job=job,
        address="127.0.0.1",
        ports=ports or derived_ports("", job),
    )


if __name__ == "__main__":
    rank, size, job = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    with meet(place(rank, size, job), SECRET, join_s=60) as rendezvous:
        rendezvous.phase("building")
        print("building", flush=True)
        sys.stdin.read()
        rendezvous.barrier("end", timeout_s=600)
