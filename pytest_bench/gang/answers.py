"""Answers of an agent to questions about its containers."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_bench.containers.group import Containers, Member
from pytest_bench.errors import BenchError
from pytest_bench.gang.messages import Answer, Question


def answer(containers: Containers, question: Question) -> Answer:
    """Call what the question asks for. An error of the package is part of the answer."""
    try:
        return _answered(containers[question.role], question)
    except BenchError as error:
        return Answer(number=question.number, error=str(error))


def _answered(container: Member, question: Question) -> Answer:
    number = question.number
    match question.operation:
        case "how_it_ended":
            return Answer(number=number, text=container.how_it_ended())
        case "settle_log":
            size = container.settle_log()
            _publish(container.log.path)
            return Answer(number=number, size_bytes=size)
        case "story":
            story = container.story()
            _publish(container.log.path)
            return Answer(number=number, text=story)
        case "copy_artifacts":
            problems: list[str] = []
            found = container.copy_artifacts(Path(question.folder), problems)
            return Answer(number=number, artifacts=tuple(found), problems=tuple(problems))
        case "note_proof":
            container.proof = question.proof or container.proof
            return Answer(number=number)


def _publish(path: Path) -> None:
    """Write a file to the shared file system, where other nodes see it when they open it."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
