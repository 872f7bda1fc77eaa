"""Whether an eval that another tool ran had the concurrency that was asked for."""

from __future__ import annotations

import msgspec

from pytest_bench.evals.server_concurrency import ServerPeak
from pytest_bench.lmeval.folder import Folder
from pytest_bench.lmeval.scores import states_concurrency


class CommandConcurrency(msgspec.Struct, frozen=True, kw_only=True):
    """The proof. `problem` is None if the concurrency is proven."""

    asked: int
    stated: bool
    """Whether the tool's files state a concurrency. Whether it is the right one is checked separately."""
    server: ServerPeak
    problem: str | None


def prove_command_concurrency(
    asked: int, read: Folder, server: ServerPeak, *, own_metadata: bool
) -> CommandConcurrency:
    """Judge what the tool's files state; if they state nothing, the most requests that the server had in flight.

    `own_metadata`: the tool wrote `meta_env.json` itself, so that its `conc` is a statement of the tool's.
    """
    states = own_metadata and read.metadata is not None and "conc" in read.metadata
    silent = [result.name for result in read.results if not states_concurrency(result)]
    stated = states or not silent
    problem = None if stated or server.peak == asked else _problem(asked, silent, server)
    return CommandConcurrency(asked=asked, stated=stated, server=server, problem=problem)


def _problem(asked: int, silent: list[str], server: ServerPeak) -> str:
    if server.peak is None:
        observed = "the server's metrics have no known gauge of requests in flight"
    else:
        observed = (
            f"the server had at most {server.peak} requests in flight at {server.readings} readings of "
            f"{' + '.join(server.gauges)}; {asked} were asked for"
        )
    return (
        f"{silent[0]} does not state its concurrency, and {observed}. Next: let the tool write it (lm-eval: "
        "`num_concurrent={concurrency}` in --model_args; others: `conc` in {output}/meta_env.json), or declare "
        "`unproven_concurrency: allowed`, which labels the point"
    )
