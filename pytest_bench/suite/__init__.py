"""YAML to suites to a plan, with `file:line:column` in every complaint.

`load_plan` reads suite files and returns a `plan.Plan`; the words a suite may use (APIs, metrics,
audits, scorers) are handed in as a `Vocabulary`, so this room knows none of them.
"""
