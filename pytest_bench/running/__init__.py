"""Running phases on a deployment: what every kind of point has in common.

`deployment.bring_up` makes the system under test ready, and `waiting` tells whoever watches; `samples` shares
a dataset out among points; `phases.drive` turns declared phases into phase results; `measuring.measure_phase`
turns a phase result into a measurement; `measuring.conclude` judges, writes the evidence, and hands back what
a test asserts on.
"""
