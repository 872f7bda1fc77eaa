"""Several nodes: the Slurm allocation and its steps (`allocation`), and the checks of every node before a session
(`preflight`).

Nothing here runs on import, and nothing is copied, pulled or built.
"""

from pytest_bench.cluster.allocation import Allocation, read_allocation

__all__ = ["Allocation", "read_allocation"]
