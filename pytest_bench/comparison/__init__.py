"""Compares sessions whose folders were verified: what their metrics differ by, and whether that is worse than allowed.

`sessions.read_session` reads a session. `compare.compare` compares two sides of one or several sessions each, `text`
shows the result, and `changes` says what differs between suites and environments. `repeats` summarises the sessions of
one side.
"""
