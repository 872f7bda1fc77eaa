"""YAML to suites to a plan, with `file:line:column` in every complaint.

`loading.load_plan` reads suite files and returns a `plan.Plan`; `discovery.discover` finds the files. The
words a suite may use (APIs, metrics, audits, evals) are handed in as a `vocabulary.Vocabulary`, so this room
knows none of them; what the command line says over the suites comes as `context.Overrides`.

A file becomes a `document` (values with positions), is merged with what it includes (`include`), judged
against `schema` by `checking`, and planned by `deployments`, `dataset_plans` and `points`. Problems are
collected (`problems`) and raised together. `json_schema` publishes the language for editors.
"""
