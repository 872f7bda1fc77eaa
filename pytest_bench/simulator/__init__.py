"""The built-in simulator: a real HTTP server that behaves like a served model without being one.

It runs in its own process and knows nothing of the client: it speaks the APIs by itself, so that it can
contradict them. `Behaviour` says how it behaves, `start` runs it, `read_truth` reads what it saw. Inside:
`behaviour` (knobs) → `replies` and one module an API (what is answered) → `faults` → `script` (what is
written when) → `exchange` and `connection` (writing it, with stamps) → `truth` (the log).
"""

from pytest_bench.simulator.behaviour import Behaviour
from pytest_bench.simulator.process import Simulator, start
from pytest_bench.simulator.truth import Truth, TruthRecord, read_truth

__all__ = ["Behaviour", "Simulator", "Truth", "TruthRecord", "read_truth", "start"]
