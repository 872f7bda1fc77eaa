"""Driving load: the schedule, the HTTP client, the load workers and their supervisor.

Others use `engine.run` (drive phases), `bodies.write` (encode requests) and `log.read_records` (read a
phase back). A load worker is a process of its own that imports as little as possible, so this file
imports nothing. `docs/explanation/load-engine.md` explains the hot path on one page.
"""
