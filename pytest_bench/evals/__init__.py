"""Evals: what is asked, how a session asks it, and how its scores are measured, judged and written.

Others use `fields.EvalFields` and `definitions` (what suites declare), `point.run_eval` (one point of a session),
`remeasure` (the same from its evidence), and `results` (lm-eval's layout). Inside: `declared` reads a planned point;
`tasks` renders its items; `session` requests what the checkpoint lacks; `answers`, `measure` and `finishing` score what
it holds; `assessment` and `gating` judge; `sweeps` has what the concurrencies of a sweep share.

Another tool does the work in `command` (result files) and in `table_point` (tables, also of several nodes): there,
`node_tasks` starts a `node_task` on each node, which runs the command and writes what `node_files` reads.
"""
