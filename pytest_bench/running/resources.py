"""Datasets and tokenizers that a plan names, loaded when first used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_bench.api import import_api
from pytest_bench.datasets.rows import Dataset, load_dataset
from pytest_bench.errors import DatasetError
from pytest_bench.files import file_digest
from pytest_bench.running.inputs import as_sent
from pytest_bench.suite.plan import DatasetPlan, DeploymentPlan, Plan
from pytest_bench.tokens.chat import ChatTemplate, load_chat_template
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import find
from pytest_bench.tokens.tokenizer import Tokenizer

_SAMPLE_PROMPTS = 64
"""Number of prompts of each dataset on which a tokenizer's back end is verified."""


class Resources:
    """Loads datasets and tokenizers. Each is loaded once and shared by all points."""

    def __init__(self, plan: Plan, pool: TokenizerPool) -> None:
        self._plan = plan
        self._pool = pool
        self._datasets: dict[tuple[str, str], Dataset] = {}
        self._tables: dict[tuple[str, str], Dataset] = {}

    def dataset(self, suite: str, name: str) -> Dataset:
        """A dataset of a suite, validated for the API of its deployment.

        Raises `DatasetError` if it cannot be read, or if its file has changed since the plan was made.
        """
        key = (suite, name)
        if key not in self._datasets:
            deployment = self._plan.deployments[suite]
            dataset = self._plan.datasets[suite][name]
            api = import_api(deployment.api, deployment.api_reference)
            self._datasets[key] = load_dataset(
                dataset,
                columns=api.columns,
                required=api.required,
                # Only synthetic prompts need it.
                tokenizer=None if dataset.synthetic is None else self.tokenizer(deployment),
            )
            _require_as_planned(dataset)
        return self._datasets[key]

    def table(self, suite: str, name: str) -> Dataset:
        """A dataset of a suite with all of its columns, for evals, whose templates read them.

        Raises `DatasetError` as `dataset` does, and for a synthetic dataset, which holds no questions.
        """
        key = (suite, name)
        if key not in self._tables:
            dataset = self._plan.datasets[suite][name]
            if dataset.synthetic is not None:
                raise DatasetError(
                    f"{dataset.origin}: dataset {name!r} is synthetic; an eval needs a file with questions and answers"
                )
            self._tables[key] = load_dataset(dataset, columns=None, required=frozenset(), tokenizer=None)
            _require_as_planned(dataset)
        return self._tables[key]

    def tokenizer(self, deployment: DeploymentPlan) -> Tokenizer | None:
        """The tokenizer of a deployment, loaded and verified; None if it has none.

        `deployment` may name another tokenizer than the plan does. Raises `TokensError` if it cannot be loaded.
        """
        tokens = deployment.tokens
        source = find(tokens.tokenizer, deployment.tokenizer_model, self._plan.folder(deployment.suite))
        if source is None:
            return None
        return self._pool.load(
            source,
            backend=tokens.backend,
            warmup_timeout_s=tokens.warmup_timeout_s,
            prompts=list(self._sample_prompts(deployment, load_chat_template(source.folder))),
        )

    def _sample_prompts(self, deployment: DeploymentPlan, template: ChatTemplate | None) -> Iterator[str]:
        """Prompts from the suite's dataset files, for verifying a back end on what it will count."""
        api = import_api(deployment.api, deployment.api_reference)
        sent = {
            point.dataset
            for point in self._plan.points
            if point.suite == deployment.suite and point.kind != "eval"
        }
        for name, dataset in self._plan.datasets[deployment.suite].items():
            if dataset.synthetic is None and name in sent:
                for row in self.dataset(deployment.suite, name).rows[:_SAMPLE_PROMPTS]:
                    prompt = as_sent(api, row, template, deployment.parameters)
                    if isinstance(prompt, str):
                        yield prompt


def _require_as_planned(dataset: DatasetPlan) -> None:
    """Raises `DatasetError` if the file of `dataset` does not have the digest that the plan states."""
    source = dataset.path or (dataset.synthetic or {}).get("trace")
    if dataset.contents is None or source is None:
        return
    if file_digest(Path(source)) != dataset.contents:
        raise DatasetError(
            f"{source}: has changed since this session was planned; other data make a different point. "
            "Next: run the session again"
        )
