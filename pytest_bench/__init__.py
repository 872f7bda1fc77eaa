"""Benchmarks, MLPerf compliance audits and accuracy evals of served models as pytest items.

The package is a house of rooms on floors; imports only point down. `docs/explanation/architecture.md`
draws it and `tests/test_floors.py` enforces it. Importing this package does nothing else.
"""

__version__ = "0.1.0"
