"""Which text of a response is scored, and what the response itself says about its quality."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

TextChoice = Literal["content", "content_or_reasoning", "after_think"]
TextSource = Literal["content", "reasoning", "after_think"]
Condition = Literal[
    "extraction_failed", "empty", "truncated", "time_limited", "refused", "stopped_in_reasoning"
]

CONDITIONS: dict[Condition, str] = {
    "extraction_failed": "the extractor found no answer in the scored text",
    "empty": "the scored text is empty or blank",
    "truncated": "the response ended at a token limit",
    "time_limited": "the response was cut off at the eval's time limit of an item",
    "refused": "the server or the model refused to answer",
    "stopped_in_reasoning": "the response stopped before its reasoning ended, for example at a stop string",
}
"""Conditions that are counted for each eval, and their meaning."""

_TRUNCATED = frozenset({"length", "max_tokens"})
_REFUSED = frozenset({"content_filter", "refusal"})
_STOPPED = frozenset({"stop", "stop_sequence"})
_OPENING, _CLOSING = "<think>", "</think>"


class Response(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A completed response. `content` is None if the server sent `null`."""

    content: str | None
    reasoning: str = ""
    """Text of `reasoning_content` or `reasoning`."""
    finish_reason: str | None = None
    refusal: bool = False
    """Whether the server sent a refusal in place of content."""
    limit: Literal["time"] | None = None
    """The limit at which the client cut it off."""


class ScoredText(NamedTuple):
    text: str
    source: TextSource
    """The part of the response that `text` was taken from."""


def scored_text(response: Response, choice: TextChoice) -> ScoredText:
    """Select the text to score.

    `content_or_reasoning` falls back to the reasoning if the content is blank. `after_think` takes the content
    after its last `</think>`; it is empty if `<think>` was never closed, and the whole content without tags.
    """
    content = response.content or ""
    if choice == "content_or_reasoning" and not content.strip() and response.reasoning:
        return ScoredText(response.reasoning, "reasoning")
    if choice == "after_think":
        _, closing, after = content.rpartition(_CLOSING)
        if closing:
            return ScoredText(after, "after_think")
        return ScoredText("" if _OPENING in content else content, "after_think")
    return ScoredText(content, "content")


def conditions(response: Response, text: str) -> set[Condition]:
    """Conditions of a response whose scored text is `text`; `extraction_failed` is added by the scorer."""
    found: set[Condition] = set()
    if not text.strip():
        found.add("empty")
    if response.finish_reason in _TRUNCATED:
        found.add("truncated")
    if response.limit == "time":
        found.add("time_limited")
    if response.refusal or response.finish_reason in _REFUSED:
        found.add("refused")
    if response.finish_reason in _STOPPED and _is_reasoning_only(response):
        found.add("stopped_in_reasoning")
    return found


def _is_reasoning_only(response: Response) -> bool:
    content = response.content or ""
    unclosed = content.rfind(_OPENING) > content.rfind(_CLOSING)
    return unclosed or bool(response.reasoning.strip() and not content.strip())
