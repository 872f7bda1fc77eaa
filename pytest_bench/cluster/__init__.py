"""Several nodes.

`allocation` is the Slurm job and its steps, `preflight` checks every node before a session. `rendezvous` makes
processes on several nodes wait for each other: `place` says where each stands, `endpoint.meet` connects them.
`tables` and `combining` judge what several nodes measured. Nothing runs on import.
"""

from pytest_bench.cluster.allocation import Allocation, read_allocation

__all__ = ["Allocation", "read_allocation"]
