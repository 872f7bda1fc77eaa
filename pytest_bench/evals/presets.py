"""Prompts and stop strings of other tools' tasks, so that a suite need not repeat them."""

from __future__ import annotations

import msgspec


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool's task fixes about prompts and answers. The data are the user's."""

    source: str
    """Tool, version and file that the preset follows."""
    template: str | None
    """None: the tool's prompt is not included, and a suite that reproduces it states it."""
    target: str
    stop: tuple[str, ...]
    few_shots: int
    """Number of examples that the tool shows."""
    temperature: float
    scorers: tuple[str, ...]


PRESETS: dict[str, Preset] = {
    "gsm8k": Preset(
        source="lm-eval 0.4.13, lm_eval/tasks/gsm8k/gsm8k.yaml, version 3.0",
        template="Question: {{question}}\nAnswer:",
        target="{{answer}}",
        stop=("Question:", "</s>", "<|im_end|>"),
        few_shots=5,
        temperature=0.0,
        scorers=("gsm8k-strict-match", "gsm8k-flexible-extract"),
    ),
    "gsm8k-inferencex": Preset(
        source="InferenceX 843c6254, utils/evals/gsm8k.yaml",
        template=None,
        target="{{answer}}",
        stop=("</s>", "<|im_end|>"),
        few_shots=5,
        temperature=0.0,
        scorers=("gsm8k-inferencex-strict-match", "gsm8k-inferencex-flexible-extract"),
    ),
}
"""By name. The two variants of gsm8k differ in prompt, stop strings and the match that counts."""
