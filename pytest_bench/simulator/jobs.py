"""Videos that are delivered through a job to poll."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from pytest_bench.simulator import openai, videos
from pytest_bench.simulator.exchange import Slots
from pytest_bench.simulator.replies import Circumstances, make_video
from pytest_bench.simulator.script import Body

PREFIX = "/v1/videos/"


class Job:
    """The generation of one video. It holds a slot, although its request was answered at once."""

    def __init__(
        self, job_id: str, request: videos.VideoRequest, ask: Callable[[], Circumstances], slots: Slots
    ) -> None:
        self._id = job_id
        self._request = request
        self._ask = ask
        self._slots = slots
        self._status = "queued"
        self._video = b""

    def serve(self) -> None:
        """Start generating the video."""
        self._status = "in_progress"
        data, took_ns = make_video(self._request, self._ask())
        asyncio.get_running_loop().call_later(took_ns / 1e9, self._complete, data, took_ns)

    def answer(self) -> Body:
        """The state of the job, with the video when it is finished."""
        head = msgspec.json.encode({"id": self._id, "status": self._status})
        return Body(data=head[:-1] + b"," + self._video[1:] if self._video else head)

    def _complete(self, data: bytes, took_ns: int) -> None:
        self._status = "completed"
        self._video = videos.describe(self._request, data, took_ns)
        self._slots.free()


class Jobs:
    """All jobs, by the path at which they are polled."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._jobs: dict[str, Job] = {}

    def start(self, number: int, request: videos.VideoRequest, ask: Callable[[], Circumstances]) -> Body:
        """Accept a request; `ask` is called when it is served."""
        job_id = f"job-{number}"
        job = self._jobs[PREFIX + job_id] = Job(job_id, request, ask, self._slots)
        self._slots.enter(job)
        return job.answer()

    def answer(self, path: str) -> Body:
        job = self._jobs.get(path)
        if job is None:
            return openai.error(404, f"There is no job at {path}", "invalid_request_error")
        return job.answer()
