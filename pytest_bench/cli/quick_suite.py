"""The suite that a call of `pytest-bench measure` equals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pytest_bench.bounds import Bound

_DATASET = "prompts"
_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./:-]*[A-Za-z0-9_./-])?")


@dataclass(frozen=True, kw_only=True)
class QuickSuite:
    """The values of a call, validated."""

    name: str
    """Name of the suite."""
    api: str
    model: str
    endpoint: str
    requests: int
    """Number of measured requests of each point."""
    concurrency: tuple[int, ...] = ()
    """Closed loop: one point for each. With `rate`: most requests in flight, one point for each combination."""
    rate: tuple[float, ...] = ()
    """Open loop: one point for each, in requests per second."""
    burstiness: float = 1.0
    warmup: int
    """Number of requests before each point."""
    input_tokens: int
    output_tokens: int
    dataset: Path | None = None
    """A file of prompts; None generates them."""
    dataset_format: str | None = None
    seed: int
    tokenizer: str | None = None
    """An absolute path, or a hub id."""
    api_key_env: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    check_model: bool = True
    temperature: float = 0.0
    ignore_eos: bool = True
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    bounds: tuple[Bound, ...] = ()

    def text(self) -> str:
        """The suite as YAML."""
        return yaml.dump(
            _escaped(self._document()),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=2**31,
        )

    def _document(self) -> dict[str, Any]:
        return {
            "suite": self.name,
            "deployment": _given(
                api=self.api,
                model=self.model,
                endpoint=self.endpoint,
                api_key=self.api_key_env and {"from_env": self.api_key_env},
                headers=dict(self.headers),
                check_model=None if self.check_model else False,
                tokens=self.tokenizer and {"tokenizer": self.tokenizer},
                generation=_given(
                    max_tokens=self.output_tokens,
                    temperature=_plain_number(self.temperature),
                    ignore_eos=self.ignore_eos or None,
                    extra_body=dict(self.extra_body),
                ),
            ),
            "datasets": {_DATASET: self._prompts()},
            "perf": {"rate": self._open_loop()} if self.rate else {"concurrency": self._closed_loop()},
        }

    def _closed_loop(self) -> dict[str, Any]:
        return self._point({"pattern": "concurrency"}, concurrency=list(self.concurrency))

    def _open_loop(self) -> dict[str, Any]:
        rates = [_plain_number(rate) for rate in self.rate]
        return self._point(self._arrivals(), **_given(rate=rates, max_concurrency=list(self.concurrency)))

    def _prompts(self) -> dict[str, Any]:
        if self.dataset is not None:
            return _given(path=str(self.dataset), format=self.dataset_format)
        points = max(1, len(self.concurrency)) * max(1, len(self.rate))
        return {
            "synthetic": {
                "rows": points * (self.requests + self.warmup),
                "input_tokens": self.input_tokens,
                "output_tokens": self.output_tokens,
                "seed": self.seed,
            }
        }

    def _arrivals(self) -> dict[str, Any]:
        if self.burstiness == 1.0:
            return {"pattern": "poisson"}
        return {"pattern": "gamma", "burstiness": _plain_number(self.burstiness)}

    def _point(self, load: Mapping[str, Any], **sweep: list[Any]) -> dict[str, Any]:
        return _given(
            dataset=_DATASET,
            load={**load, "requests": self.requests},
            sweep=sweep,
            order={"seed": self.seed} if self.dataset else None,
            arrival_seed=self.seed if "rate" in sweep else None,
            warmup={"requests": self.warmup} if self.warmup else None,
            bounds={bound.metric: bound.text for bound in self.bounds},
        )


def _given(**values: Any) -> dict[str, Any]:
    """`values` without None and empty collections."""
    return {name: value for name, value in values.items() if value not in (None, (), [], {}, "")}


def _plain_number(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _escaped(value: Any) -> Any:
    """`value` with every `${` in its texts escaped, because suites expand references to variables."""
    match value:
        case str():
            return value.replace("${", "$${")
        case dict():
            return {name: _escaped(item) for name, item in value.items()}
        case list():
            return [_escaped(item) for item in value]
    return value


class _Dumper(yaml.SafeDumper):
    """Writes texts so that suites, whose scalars differ from YAML 1.1's, read them as texts. No aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 # PyYAML's interface
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if _PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _mapping(dumper: yaml.SafeDumper, mapping: dict[str, Any]) -> yaml.Node:
    """On one line, unless it contains another mapping."""
    nested = any(isinstance(value, dict) for value in mapping.values())
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping.items(), flow_style=not nested)


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(list, _list)
