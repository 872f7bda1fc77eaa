"""What the containers of a deployment leave in the evidence of a point: their part of the logs, and artifacts."""

from __future__ import annotations

import shutil

import msgspec

from pytest_bench.files import write_json
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.server_log import Recorder, RequestsOf
from pytest_bench.running.session import Reporter, SessionFacts
from pytest_bench.suite.plan import Point

ARTIFACTS = "artifacts"
"""Folder with the files."""
LIST = "artifacts.json"
VERSION = 1


class PointArtifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a container as it was when the point ended."""

    role: str
    """Of the container; empty if it is the only one."""
    source: str
    """Path in the container."""
    path: str | None
    """Path in the point's folder. None: it has not changed since an earlier point of the deployment ended."""
    size_bytes: int
    sha256: str


class ArtifactList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `artifacts.json`."""

    version: int = VERSION
    nonce: str
    artifacts: tuple[PointArtifact, ...]
    problems: tuple[str, ...]
    """What could not be copied, and patterns that matched nothing."""


class ServerSide:
    """Begins with the point; `finish` writes the files when its requests have ended."""

    def __init__(
        self,
        session: SessionFacts,
        point: Point,
        deployment: Deployment,
        reporter: Reporter,
        requests_of: RequestsOf | None = None,
    ) -> None:
        """`requests_of`: as `server_log.Recorder` has it. Raises `EvidenceError`."""
        self._deployment = deployment
        self._folder = session.folder(point)
        self._nonce = session.nonce
        self._point = point.id
        self._reporter = reporter
        if deployment.containers:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._log = Recorder(deployment, self._folder, session.results, session.nonce, requests_of)

    def finish(self, requests: int) -> None:
        """`requests`: how many were sent in this session."""
        for sentence in self._log.finish(requests):
            self._reporter.note(f"{self._point}: {sentence}")
        if any(plan.artifacts for plan in self._deployment.plan.containers):
            self._copy_artifacts()

    def _copy_artifacts(self) -> None:
        target = self._folder / ARTIFACTS
        if target.exists():  # of an earlier session of an eval
            shutil.rmtree(target)
        found: list[PointArtifact] = []
        problems: list[str] = []
        for role, container in (self._deployment.containers or {}).items():
            for artifact in container.copy_artifacts(target / role, problems):
                copy = target / role / artifact.source.lstrip("/")
                unchanged = container.seen.get(artifact.source) == artifact.sha256
                container.seen[artifact.source] = artifact.sha256
                if unchanged:
                    copy.unlink()
                found.append(
                    PointArtifact(
                        role=role,
                        source=artifact.source,
                        path=None if unchanged else copy.relative_to(self._folder).as_posix(),
                        size_bytes=artifact.size_bytes,
                        sha256=artifact.sha256,
                    )
                )
        write_json(
            self._folder / LIST,
            ArtifactList(nonce=self._nonce, artifacts=tuple(found), problems=tuple(problems)),
        )
