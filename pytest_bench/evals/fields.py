"""The fields that a suite's `eval` section has beside those of every point, checked as far as a plan can check them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from pytest_bench.errors import UsageError
from pytest_bench.evals.definitions import metrics
from pytest_bench.evals.presets import PRESETS
from pytest_bench.evals.templates import compile_template
from pytest_bench.scoring import SCORINGS, Scoring, TextChoice, build_scoring
from pytest_bench.suite.deployment_schema import GenerationSection
from pytest_bench.suite.load_schema import TimeoutsSection
from pytest_bench.suite.section import Count, Seconds, Section, Seed, Share, Text, unique

_LIMITS = ("max_completion_tokens", "max_new_tokens")
"""Other names of the limit on output tokens that `extra_body` may contain."""

NonNegative = Annotated[int, Field(ge=0, le=2**53)]
Unit = Annotated[float, Field(ge=0, le=1)]


def _bare_scorer(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class ScorerSection(Section):
    """One way to score an answer. A bare name is a scorer with its own configuration."""

    name: Text
    """Name of the scorer."""
    text: TextChoice | None = None
    """Which text is scored: `content`; `content_or_reasoning`, the reasoning if the content is blank; `after_think`,
    what follows the last `</think>`. Left out: the scorer's own."""
    extractor: dict[str, Any] | None = None
    """Fields of the extractor to change, such as `{pattern: "Answer: (.*)"}`."""
    normaliser: dict[str, Any] | None = None
    """Fields of the normaliser to change."""
    comparison: dict[str, Any] | None = None
    """Fields of the comparison to change, such as `{tolerance: "0.01"}`."""

    @property
    def options(self) -> dict[str, Any]:
        """What the declaration changes in the scorer."""
        given = {
            "text": self.text,
            "extractor": self.extractor,
            "normaliser": self.normaliser,
            "comparison": self.comparison,
        }
        return {part: value for part, value in given.items() if value is not None}

    _scoring: Scoring = PrivateAttr()

    @property
    def scoring(self) -> Scoring:
        """What it declares."""
        return self._scoring

    @model_validator(mode="after")
    def _can_be_built(self, info: ValidationInfo) -> Self:
        """Build it from the scorings in the validation's context; without one, from those shipped."""
        try:
            self._scoring = build_scoring(self.name, self.options, among=info.context or SCORINGS)
        except UsageError as error:
            raise _refused(str(error)) from error
        return self


Scorer = Annotated[ScorerSection, BeforeValidator(_bare_scorer, json_schema_input_type=str | ScorerSection)]


class MessageSection(Section):
    """One message of a chat prompt."""

    role: Text
    content: str
    """A template, as in `template`."""


class AllowanceSection(Section):
    """A number of requests: `count`, or `share` of all of them."""

    count: NonNegative | None = None
    share: Unit | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.count is None) == (self.share is None):
            raise PydanticCustomError("allowance", "expected exactly one of 'count' and 'share'")
        return self


RetryReason = Literal["timeout", "reset", "429", "5xx"]
RetryReasons = Annotated[list[RetryReason], Field(min_length=1), AfterValidator(unique)]


class RetrySection(Section):
    """Which failed requests are sent again. A request that waits to be sent again keeps its place in flight."""

    attempts: Count
    """Most attempts of one request, the first one included."""
    on: RetryReasons
    """Failures after which a request is sent again: `timeout` (also of a connection), `reset` (a connection that was
    refused, reset or closed), `429`, `5xx`."""
    backoff_s: Seconds = 1.0
    """Wait before the second attempt; it doubles with each further one. If the server asks for a longer wait
    (`Retry-After`), it is obeyed."""
    max_wait_s: Seconds = 60.0
    """Longest wait before an attempt, also if the server asks for a longer one."""

    @model_validator(mode="after")
    def _can_wait(self) -> Self:
        if self.backoff_s > self.max_wait_s:
            raise PydanticCustomError("retry", "'backoff_s' is more than 'max_wait_s'")
        return self


class GateSection(Section):
    """How good a score must be: one of `threshold`, `lower_bound` and `non_inferior`."""

    metric: Text
    """The score, as `metric,filter`: `exact_match,strict-match`."""
    threshold: Unit | None = None
    """The score is at least this."""
    lower_bound: Unit | None = None
    """The one-sided lower confidence bound of the score is at least this."""
    non_inferior: Unit | None = None
    """The lower confidence bound of score minus baseline, item by item, is at least minus this margin."""
    baseline: Text | None = None
    """`non_inferior`: results folder of an earlier session that ran the same items, relative to the suite's file."""
    baseline_point: Text | None = None
    """`non_inferior`: id of the point in it. Left out: the point of the same id."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95

    @property
    def kind(self) -> Literal["threshold", "lower_bound", "non_inferior"]:
        if self.threshold is not None:
            return "threshold"
        return "lower_bound" if self.lower_bound is not None else "non_inferior"

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [
            name for name in ("threshold", "lower_bound", "non_inferior") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise PydanticCustomError(
                "gate", "expected exactly one of 'threshold', 'lower_bound' and 'non_inferior'"
            )
        if (self.non_inferior is None) != (self.baseline is None):
            raise PydanticCustomError("gate", "'non_inferior' and 'baseline' need each other")
        if self.baseline_point is not None and self.baseline is None:
            raise PydanticCustomError("gate", "'baseline_point' needs a 'baseline'")
        if self.threshold is not None and "confidence" in self.model_fields_set:
            raise PydanticCustomError("gate", "'confidence' does not apply to a 'threshold'")
        return self


class EvalFields(Section):
    """A task and how its answers are scored."""

    preset: Literal["gsm8k", "gsm8k-inferencex"] | None = None
    """Take prompt, target, stop strings, temperature, number of examples and scorers from this tool's task, unless they
    are given here."""
    task: Text | None = None
    """Name of the task in result files. Left out: the preset's, or the eval's own name."""
    template: str | None = None
    """Prompt as a Jinja template of the row's columns, evaluated in a sandbox. Few-shot examples are put before it."""
    messages: Annotated[list[MessageSection], Field(min_length=1)] | None = None
    """Instead of `template`: the messages of a chat."""
    target: str | None = None
    """Template of the right answer."""
    id_column: Text | None = None
    """Column with a unique id of each item. Left out: its position."""
    choices_column: Text | None = None
    """Multiple choice: column with the list of choices."""
    answer_column: Text | None = None
    """Multiple choice: column with the index of the right choice, from 0."""
    shuffle_seed: Seed | None = None
    """Shuffle the choices of each item by sha256(seed, id); templates then see `choices`, `answer_index` and
    `answer_letter`."""
    few_shot_delimiter: str = "\n\n"
    target_delimiter: str = " "
    """Between an example and its answer."""
    generation: GenerationSection = GenerationSection()
    """Parameters of every request. They replace the deployment's, which are meant for load. A limit on output tokens is
    required."""
    repeats: Count = 1
    """Requests for each item."""
    scorers: Annotated[list[Scorer], Field(min_length=1)] | None = None
    """Ways to score the answers; each gives a score `metric,filter`."""
    unscored: AllowanceSection | None = None
    """Unscored requests that count as wrong answers. Left out: a single one makes the point an error."""
    item_time_limit_s: Seconds | None = None
    """Longest time of one answer, less than `timeouts.request_s`. It is cut off then, and what has arrived of a stream
    is scored: a limit is not an error. The limit on tokens is `generation.max_tokens`."""
    retry: RetrySection | None = None
    """Left out: no request is sent again."""
    fail_on_error: AllowanceSection | None = None
    """Stop issuing requests once more than so many have failed. Left out: all are issued."""
    sync: Literal["group", "each"] = "group"
    """When the checkpoint is synced to the disk: after 64 lines or 50 ms, or after each line."""
    gates: list[GateSection] = Field(default_factory=list)
    """How good the scores must be."""
    confidence: Share = 0.95
    """Confidence of the intervals shown with scores."""
    intervals: Literal["t", "bootstrap"] = "t"
    """Method of intervals where Wilson's does not apply: scores that are not right or wrong, and repeats."""
    pass_at: Annotated[list[Count], AfterValidator(unique)] = Field(default_factory=list)
    """Report pass@k for these k, which need as many repeats."""
    texts: Literal["keep"] = "keep"
    """Answers are always kept: without them an eval cannot be resumed, scored again or verified."""

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, value: Any) -> Any:
        """Fill in what the preset fixes."""
        name = value.get("preset") if isinstance(value, Mapping) else None
        preset = PRESETS.get(name) if isinstance(name, str) else None
        if preset is None:
            return value
        filled: dict[str, Any] = {"task": "gsm8k", "target": preset.target, "scorers": list(preset.scorers)}
        if preset.template is not None and "messages" not in value:
            filled["template"] = preset.template
        filled |= value
        if isinstance(value.get("generation", {}), Mapping):
            fixed = {"temperature": preset.temperature, "stop": list(preset.stop)}
            filled["generation"] = fixed | dict(value.get("generation", {}))
        shots = value.get("few_shots")
        if isinstance(shots, Mapping) and "count" not in shots:
            filled["few_shots"] = {**shots, "count": preset.few_shots}
        return filled

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        for name in ("target", "scorers"):
            if getattr(self, name) is None:
                raise PydanticCustomError(
                    "task", "expected '{name}', or a 'preset' that has one", {"name": name}
                )
        if (self.template is None) == (self.messages is None):
            raise PydanticCustomError("task", "expected exactly one of 'template' and 'messages'")
        templates = {"template": self.template, "target": self.target}
        templates |= {f"messages[{at}]": message.content for at, message in enumerate(self.messages or ())}
        for name, source in templates.items():
            if source is not None:
                try:
                    compile_template(source, name)
                except UsageError as error:
                    raise _refused(str(error)) from error
        if self.shuffle_seed is not None and not (self.choices_column and self.answer_column):
            raise PydanticCustomError("task", "'shuffle_seed' needs 'choices_column' and 'answer_column'")
        return self

    @model_validator(mode="after")
    def _can_be_generated(self) -> Self:
        generation = self.generation
        if generation.max_tokens is None and not any(name in generation.extra_body for name in _LIMITS):
            raise PydanticCustomError(
                "generation", "expected 'generation' with 'max_tokens': servers' own limits cut answers off"
            )
        limits = ["max_tokens"] if generation.max_tokens is not None else []
        limits += [name for name in _LIMITS if name in generation.extra_body]
        if len(limits) > 1:
            raise PydanticCustomError(
                "generation",
                "'generation' limits output tokens twice, as {limits}; expected one of them",
                {"limits": " and ".join(limits)},
            )
        if generation.extra_body.get("echo"):
            raise PydanticCustomError(
                "generation", "'extra_body.echo' makes every answer begin with its prompt; leave it out"
            )
        if generation.ignore_eos or generation.extra_body.get("ignore_eos"):
            raise PydanticCustomError(
                "generation", "'ignore_eos' makes every answer run on to 'max_tokens'; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _limit_comes_first(self) -> Self:
        timeouts, limit_s = getattr(self, "timeouts", None), self.item_time_limit_s
        if limit_s is not None and isinstance(timeouts, TimeoutsSection) and limit_s >= timeouts.request_s:
            raise PydanticCustomError(
                "limit",
                "'item_time_limit_s' is {limit}, and a request fails after 'timeouts.request_s', {timeout}; expected "
                "a limit below it",
                {"limit": f"{limit_s:g}", "timeout": f"{timeouts.request_s:g}"},
            )
        return self

    @property
    def scores(self) -> list[str]:
        """The scores that the eval reports, as `metric,filter`."""
        return [scorer.scoring.key for scorer in self.scorers or ()]

    @model_validator(mode="after")
    def _can_be_scored(self) -> Self:
        keys = self.scores
        for key in keys:
            if keys.count(key) > 1:
                raise PydanticCustomError(
                    "scorers", "two scorers report '{key}'; expected one of them", {"key": key}
                )
        for gate in self.gates:
            if gate.metric not in keys:
                raise PydanticCustomError(
                    "gates",
                    "a gate is on '{metric}', which no scorer reports; expected one of {keys}",
                    {"metric": gate.metric, "keys": ", ".join(keys)},
                )
        for k in self.pass_at:
            if k > self.repeats:
                raise PydanticCustomError(
                    "pass_at",
                    "pass@{k} needs {k} repeats; there are {repeats}",
                    {"k": k, "repeats": self.repeats},
                )
        return self


def metrics_of(section: Section) -> Collection[str]:
    """The metrics of an eval that bounds may name."""
    return metrics(section.scores if isinstance(section, EvalFields) else ())


def _refused(why: str) -> PydanticCustomError:
    # Braces in the text would be taken for fields of pydantic's own message.
    return PydanticCustomError("eval", "{why}", {"why": why})
