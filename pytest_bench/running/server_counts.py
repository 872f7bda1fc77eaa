"""Input tokens counted by the server, if there is no tokenizer and its usage does not state them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench import clock
from pytest_bench.api import Chat
from pytest_bench.endpoints.address import parse_url
from pytest_bench.endpoints.client import Client
from pytest_bench.endpoints.tokenize import PATH, count_tokens
from pytest_bench.errors import EndpointError
from pytest_bench.lines import encode_line
from pytest_bench.load.log import read_records
from pytest_bench.records import PhaseResult
from pytest_bench.running.counting import Counted, read_counted
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.inputs import FOR_THE_TEMPLATE
from pytest_bench.tokens.counts import COUNTS_LOG, SERVER, CountsWriter, InputTokens, OutputTokens
from pytest_bench.tokens.text_log import origin_of

_LOOKED_AT = 100
"""Successes whose usage decides whether the server needs to be asked."""


def count_inputs_by_server(
    deployment: Deployment, result: PhaseResult, rows: Sequence[Mapping[str, Any]]
) -> Counted:
    """Ask vLLM's `/tokenize` for the length of each sample of a phase, and record the answers in its counts log.

    Sends nothing if usage states input lengths, or if the API has no prompts. If the server does not answer within the
    deployment's `counting_timeout_s`, inputs are not counted, and the evidence says why.
    """
    folder = Path(result.folder)
    if deployment.plan.video_seconds is not None or _is_stated_in_usage(folder):
        return Counted()
    answered = [
        (record.request_id, record.sample_index)
        for record in read_records(folder)
        if record.outcome == "succeeded"
    ]
    try:
        counts = dict(_asked(deployment, rows, dict.fromkeys(sample for _, sample in answered)))
    except EndpointError as error:
        return Counted(evidence={"inputs": f"not counted: {error}"})
    with CountsWriter(
        folder / COUNTS_LOG, SERVER, "", PATH, origin=origin_of(min(folder.glob("texts.*.jsonl")))
    ) as writer:
        lines = [
            *(
                OutputTokens(
                    request_id=request,
                    sample_index=sample,
                    content=None,
                    reasoning=None,
                    tool_calls=None,
                    first_event=None,
                )
                for request, sample in answered
            ),
            *(InputTokens(sample_index=sample, input=count) for sample, count in counts.items()),
        ]
        writer.add(b"".join(encode_line(msgspec.json.encode(line)) for line in lines), len(lines))
        writer.end("complete", inputs_counted=len(counts))
    counted = read_counted(folder)
    return Counted(tokens=counted.tokens, evidence={"inputs": f"POST {PATH}", "inputs_counted": len(counts)})


def _asked(
    deployment: Deployment, rows: Sequence[Mapping[str, Any]], samples: Iterable[int]
) -> Iterator[tuple[int, int]]:
    """Each sample and its number of tokens. Raises `EndpointError` if one is not counted in time."""
    limit_s = deployment.plan.tokens.counting_timeout_s
    stop_ns = clock.monotonic_ns() + int(limit_s * 1e9) if limit_s else None
    client = Client(parse_url(deployment.urls[0]), deployment.headers)
    for sample in samples:
        if stop_ns is not None and clock.monotonic_ns() > stop_ns:
            raise EndpointError(f"POST {PATH}: not finished within {limit_s:g} s")
        asked = _question(deployment, rows[sample])
        yield sample, asked if isinstance(asked, int) else count_tokens(client, asked)


def _is_stated_in_usage(folder: Path) -> bool:
    """Whether usage states input lengths in the first successes; also True if there is no success."""
    succeeded = (record for record in read_records(folder) if record.outcome == "succeeded")
    return all(
        record.usage is not None and record.usage.input_tokens is not None
        for record in itertools.islice(succeeded, _LOOKED_AT)
    )


def _question(deployment: Deployment, row: Mapping[str, Any]) -> dict[str, Any] | int:
    """The body for `/tokenize`; for token ids their number, because they need no counting."""
    prompt = deployment.api.prompt(row)
    parameters = deployment.plan.parameters
    if isinstance(prompt, Chat):
        names = (*FOR_THE_TEMPLATE, "chat_template_kwargs")
        named = {name: parameters[name] for name in names if name in parameters}
        return {"model": deployment.plan.model, "messages": list(prompt.messages), **named}
    if isinstance(prompt, str):
        return {"model": deployment.plan.model, "prompt": prompt}
    return len(prompt)
