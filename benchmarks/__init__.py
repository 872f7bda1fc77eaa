"""Benchmarks of the load engine: cost compared with other clients, accuracy compared with a server's stamps.

`python -m benchmarks` prints one table; README.md says what each row means. Nothing here is a test:
figures depend on the machine, and only ratios of pairs measured in one run carry to another.
"""
