"""Presets of files of a container (`artifacts.toml`), and the parts of their paths that differ between runs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

WORKDIR, _JOB = "{workdir}", "{slurm_job_id}"
_JOB_VARIABLE = "SLURM_JOB_ID"


@cache
def file_presets(field: str) -> dict[str, tuple[str, ...]]:
    """The patterns of each preset for a field of a container: `artifacts` or `diagnostics`."""
    text = files("pytest_bench.suite").joinpath("artifacts.toml").read_text(encoding="utf-8")
    return {name: tuple(fields[field]) for name, fields in tomllib.loads(text).items()}


def at_run(patterns: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """`patterns` in this run. The plan does not hold the job, so that plans of two jobs are equal."""
    job = environ.get(_JOB_VARIABLE, "")
    return tuple(pattern.replace(_JOB, job) for pattern in patterns if job or _JOB not in pattern)
