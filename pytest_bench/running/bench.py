"""What a point is handed by its session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytest_bench.api import Api, import_api
from pytest_bench.datasets.rows import Dataset, load_dataset
from pytest_bench.errors import DatasetError
from pytest_bench.files import file_digest
from pytest_bench.load.supervisor import Progress
from pytest_bench.results.layout import point_path
from pytest_bench.running.inputs import as_sent
from pytest_bench.suite.plan import DatasetPlan, DeploymentPlan, Plan, Point
from pytest_bench.tokens.chat import ChatTemplate, load_chat_template
from pytest_bench.tokens.live import LiveLane
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import find
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.workload import PhaseSpec

OnProgress = Callable[[Point, PhaseSpec, Progress, int | None], None]
"""Told how far a phase of a point is, and how many output tokens the live lane has counted, where there is one."""

_PROMPTS_PROBED = 64


def load_api(deployment: DeploymentPlan) -> Api:
    """The API that a deployment speaks. Raises `UsageError` where its reference leads nowhere."""
    return import_api(deployment.api, deployment.api_reference)


@dataclass
class Bench:
    """The session as a point sees it: the plan, where evidence goes, and what points share."""

    plan: Plan
    nonce: str
    results: Path
    tokenizer_pool: TokenizerPool
    on_progress: OnProgress
    rerun: Callable[[Point], str]
    """The command that runs a point alone."""
    say: Callable[[str], None] | None = None
    """Tells whoever is watching a sentence; None where nobody is."""
    live_lane: LiveLane | None = None
    """What counts behind the running phase, where the suite asks for it."""
    _datasets: dict[tuple[str, str], Dataset] = field(default_factory=dict)

    def folder(self, point: Point) -> Path:
        """The point's evidence folder."""
        return self.results / point_path(point.id)

    def tokenizer(self, deployment: DeploymentPlan) -> Tokenizer | None:
        """The tokenizer of a deployment, loaded and proven; None if there is none. Raises `TokensError`."""
        tokens = deployment.tokens
        source = find(tokens.tokenizer, deployment.tokenizer_model, self.plan.folder(deployment.suite))
        if source is None:
            return None
        return self.tokenizer_pool.load(
            source,
            backend=tokens.backend,
            warmup_timeout_s=tokens.warmup_timeout_s,
            prompts=list(self._prompts(deployment, load_chat_template(source.folder))),
        )

    def _prompts(self, deployment: DeploymentPlan, template: ChatTemplate | None) -> Iterator[str]:
        """Some of what will be sent and counted: a back end is proven on it too."""
        api = load_api(deployment)
        for name, dataset in self.plan.datasets[deployment.suite].items():
            if dataset.synthetic is None:
                for row in self.dataset(deployment.suite, name).rows[:_PROMPTS_PROBED]:
                    sent = as_sent(api, row, template, deployment.parameters)
                    if isinstance(sent, str):
                        yield sent

    def dataset(self, suite: str, name: str) -> Dataset:
        """A dataset of a suite, loaded and checked once. Raises `DatasetError`."""
        key = (suite, name)
        if key not in self._datasets:
            deployment = self.plan.deployments[suite]
            dataset = self.plan.datasets[suite][name]
            api = load_api(deployment)
            self._datasets[key] = load_dataset(
                dataset,
                columns=api.columns,
                required=api.required,
                # Only prompts that are made up need it.
                tokenizer=None if dataset.synthetic is None else self.tokenizer(deployment),
            )
            _require_as_planned(dataset)
        return self._datasets[key]


def _require_as_planned(dataset: DatasetPlan) -> None:
    """Raises `DatasetError` where the file of `dataset` is not the one whose digest stands in the plan."""
    source = dataset.path or (dataset.synthetic or {}).get("trace")
    if dataset.contents is None or source is None:
        return
    if file_digest(Path(source)) != dataset.contents:
        raise DatasetError(
            f"{source}: has changed since this session was planned, and other data make another point: run it again"
        )
