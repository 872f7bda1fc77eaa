"""Video generation as WAN2.2 servers offer it: `POST /v1/videos/generations`."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, final
from urllib.parse import quote

import msgspec

from pytest_bench.api import Decoded, Generation, Malformed, Prompt
from pytest_bench.api._wire import Answer, decode, error_of
from pytest_bench.errors import UsageError

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "negative_prompt": None,
        "size": "720x1280",
        "seconds": 5.0,
        "fps": 16,
        "num_inference_steps": 20,
        "guidance_scale": 4.0,
        "guidance_scale_2": 3.0,
        "seed": 42,
        "num_frames": 81,
        "boundary_ratio": 0.875,
        "latent_path": None,
        "output_format": "auto",
        "response_format": "video_path",
    }
)
"""What MLPerf's WAN2.2 benchmark sends besides the prompt; a null is left out of the request."""

_MEANINGS: Mapping[str, str] = {
    "prompt": "what the video shows",
    "negative_prompt": "what it must not show",
    "size": "height x width in pixels",
    "seconds": "length of the video",
    "fps": "frames per second",
    "num_inference_steps": "denoising steps",
    "guidance_scale": "guidance of the high-noise expert",
    "guidance_scale_2": "guidance of the low-noise expert",
    "seed": "seed of the noise",
    "num_frames": "frames in the video",
    "boundary_ratio": "where the low-noise expert takes over",
    "latent_path": "file with a fixed latent",
    "output_format": "container of the video",
    "response_format": "video_path, or video_bytes (base64)",
}


_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None


class _Timings(msgspec.Struct, gc=False):
    inference: _Seconds = None


class _Answer(Answer, gc=False):
    video_id: str | None = None
    video_path: str | None = None
    video_bytes: str | None = None
    id: str | int | None = None
    status: str | None = None
    inference_time_s: _Seconds = None
    timings: _Timings | None = None

    @property
    def time_s(self) -> float | None:
        """What the server says it spent on inference."""
        if self.inference_time_s is None and self.timings is not None:
            return self.timings.inference
        return self.inference_time_s

    @property
    def state(self) -> str:
        """State of the job, in lower case; empty if the answer is not one."""
        return (self.status or "").lower()

    def error_line(self) -> str | None:
        """The error that it reports, if any."""
        known = self.video_path is not None or self.video_bytes is not None
        return error_of(self, known=known)


_BODY = msgspec.json.Decoder(_Answer)
_WHAT = "body of a video answer"

RUNNING = frozenset({"queued", "pending", "processing", "running", "in_progress"})
"""States of a job that has no video yet."""

FAILED = frozenset({"failed", "error", "cancelled", "canceled", "expired"})
"""States of a job that will never have one."""


@final
class Videos:
    """A prompt in, one video out: its path, or its bytes."""

    name: ClassVar[str] = "videos"
    path: ClassVar[str] = "/v1/videos/generations"
    streaming: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            name: meaning if DEFAULTS.get(name) is None else f"{meaning}; left out: {DEFAULTS[name]}"
            for name, meaning in _MEANINGS.items()
        }
    )
    required: ClassVar[frozenset[str]] = frozenset({"prompt"})
    delta_key: ClassVar[bytes | None] = None
    polls: ClassVar[bool] = True
    video_seconds: ClassVar[float | None] = DEFAULTS["seconds"]

    @staticmethod
    def encode(row: Mapping[str, Any], generation: Generation) -> bytes:
        """Return the body for one row: defaults, then parameters, then the row. Raises `UsageError`.

        It does not name the model: WAN2.2 servers serve one, and refuse fields that they do not know.
        """
        prompt = row.get("prompt")
        if not isinstance(prompt, str):
            raise UsageError(f"column prompt holds {type(prompt).__name__}: a video's prompt is text")
        fields = {**DEFAULTS, **generation.parameters}
        fields |= {name: value for name, value in row.items() if name in _MEANINGS and value is not None}
        if fields["response_format"] not in ("video_path", "video_bytes"):
            raise UsageError(
                f"response_format is {fields['response_format']!r}: expected 'video_path' or 'video_bytes'"
            )
        return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})

    @staticmethod
    def prompt(row: Mapping[str, Any]) -> Prompt:
        """Return the text of a row."""
        text: str = row["prompt"]
        return text

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Raise `Malformed`: a video does not come as a stream."""
        raise Malformed(f"a stream of events where one video was asked for: it begins with {events[:80]!r}")

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:  # noqa: ARG004 # the bytes are more reliable than the header
        """Read one video: raw MP4, base64, or the path where the server keeps it. Raises `Malformed`.

        `content` is the path, or the sha256 of the bytes; the bytes are the attachment.
        """
        if _is_mp4(body):
            return Decoded(content=sha256(body).hexdigest(), attachment=body)
        answer = decode(_BODY, body, _WHAT)
        decoded = Decoded(server_time_s=answer.time_s, error=answer.error_line())
        if decoded.error is not None:
            return decoded
        if answer.state in FAILED:
            decoded.error = f"the job has the status {answer.state!r}"
        elif answer.video_bytes is not None:
            _attach(decoded, answer.video_bytes)
        elif answer.video_path is not None:
            decoded.content = answer.video_path
        else:
            raise Malformed(f"{_WHAT}: has neither video_path, video_bytes nor an error")
        return decoded

    @staticmethod
    def pending(body: bytes) -> str | None:
        """Return the path to ask again, relative to the endpoint, if `body` is an unfinished job; else None."""
        if _is_mp4(body):
            return None
        answer = decode(_BODY, body, _WHAT)
        if answer.state not in RUNNING or answer.error_line() is not None:
            return None
        if answer.id is None or answer.id == "":
            raise Malformed(f"{_WHAT}: the job is {answer.state}, but has no id to ask for")
        return f"/v1/videos/{quote(str(answer.id), safe='')}"


def _is_mp4(body: bytes) -> bool:
    return body[4:8] == b"ftyp"


def _attach(decoded: Decoded, encoded: str) -> None:
    try:
        video = binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"{_WHAT}: video_bytes is not base64: {error}") from error
    if video:
        decoded.content = sha256(video).hexdigest()
        decoded.attachment = video
