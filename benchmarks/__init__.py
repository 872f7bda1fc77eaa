"""The load engine measured: its cost beside other clients, and its truth beside a server's own stamps.

`python -m benchmarks` prints one table; README.md says what each row means. Nothing here is a test:
figures depend on the machine, and only ratios of pairs measured in one run carry to another.
"""
