"""Read suites (YAML) and plan their points. Every problem is reported with `file:line:column`.

`discovery.discover` finds suite files; `loading.load_plan` reads them and returns a `plan.Plan`. The names that a
suite may use (APIs, metrics, audits, evals) are passed in as a `vocabulary.Vocabulary`, and the command line's
overrides as `context.Overrides`.

A file becomes a `document` (values with positions), is merged with the files that it includes (`include`), validated
against a schema (`schema`, `deployment_schema`, ...) by `checking`, and planned by `deployments`, `dataset_plans` and
`points`. Problems are collected (`problems`) and raised together. `json_schema` publishes the language for editors.
"""
