"""Runs phases on a deployment: what all kinds of points have in common.

`session` has the facts of a session and the callbacks that report progress; `resources` loads datasets and tokenizers.
`deployment.bring_up` makes the system under test ready, and `waiting` reports progress meanwhile. `samples` divides a
dataset among points. `phases.drive` drives declared phases and returns their results, and `measuring.measure_phase`
measures one. `labels` gives the labels. `measuring.write_point` writes the evidence and returns what a test asserts on.
"""
