"""Driving load: the schedule, the HTTP client, the load workers and their supervisor.

Other rooms use `engine.run` (run phases), `bodies.write` (encode requests) and `log.read_records` (read the records of
a phase). A load worker is a separate process that imports as little as possible, so this file imports nothing.
`docs/explanation/load-engine.md` explains the times that it records, `docs/explanation/hot-path.md` how it works.
"""
