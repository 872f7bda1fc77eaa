"""The built-in simulator: a real HTTP server that behaves like a served model without being one.

It runs in its own process and shares no code with the client: it implements the APIs independently, so that it
can disprove the client's view of them. `Behaviour` holds its settings, `start` runs it, `read_truth` reads its
log, and `Answers` reads the file that it answers from. Inside: `behaviour` (settings) → `replies` and one module an
API (replies) → `faults` → `script` (which bytes are written when) → `exchange` and `connection` (writing them, with
stamps) → `truth` (the log).
"""

from pytest_bench.simulator.answers import Answers
from pytest_bench.simulator.behaviour import Behaviour
from pytest_bench.simulator.process import Simulator, start
from pytest_bench.simulator.truth import Truth, TruthRecord, read_truth

__all__ = ["Answers", "Behaviour", "Simulator", "Truth", "TruthRecord", "read_truth", "start"]
