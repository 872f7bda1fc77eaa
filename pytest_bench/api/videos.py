"""Video generation as WAN2.2 servers offer it: `POST /v1/videos/generations`."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, ClassVar, final
from urllib.parse import quote

import msgspec

from pytest_bench.api import Decoded, Generation, Malformed, Prompt
from pytest_bench.api._openai import decode, error_text
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


class _Timings(msgspec.Struct, gc=False):
    inference: float | None = None


class _Answer(msgspec.Struct, gc=False):
    video_id: str | None = None
    video_path: str | None = None
    video_bytes: str | None = None
    id: str | None = None
    status: str | None = None
    inference_time_s: float | None = None
    timings: _Timings | None = None
    error: Any = None

    @property
    def time_s(self) -> float | None:
        """What the server says it spent on inference."""
        if self.inference_time_s is None and self.timings is not None:
            return self.timings.inference
        return self.inference_time_s


_BODY = msgspec.json.Decoder(_Answer)

RUNNING = frozenset({"queued", "pending", "processing", "running", "in_progress"})
"""States of a job that has no video yet."""


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
        """The request for one row: defaults, then parameters, then the row. Raises `UsageError`.

        No model is named: WAN2.2 servers serve one, and refuse fields they do not know.
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
        """The text of a row."""
        text: str = row["prompt"]
        return text

    @staticmethod
    def decode_stream(events: bytes) -> Decoded:
        """Raises `Malformed`: a video does not come as a stream."""
        raise Malformed(f"a stream of events where one video was asked for: it begins with {events[:80]!r}")

    @staticmethod
    def decode_body(body: bytes, content_type: str) -> Decoded:  # noqa: ARG004 # the bytes tell more than the header
        """Read one video: raw MP4, base64, or the path where the server keeps it. Raises `Malformed`.

        `content` is the path, or the sha256 of the bytes, which are the attachment.
        """
        if _is_mp4(body):
            return Decoded(content=sha256(body).hexdigest(), attachment=body)
        answer = decode(_BODY, body, "body of a video answer")
        decoded = Decoded(server_time_s=answer.time_s)
        if answer.error is not None or answer.status == "failed":
            decoded.error = error_text("the job failed" if answer.error is None else answer.error)
        elif answer.video_bytes is not None:
            _attach(decoded, answer.video_bytes)
        elif answer.video_path is not None:
            decoded.content = answer.video_path
        else:
            raise Malformed("body of a video answer: has neither video_path, video_bytes nor an error")
        return decoded

    @staticmethod
    def pending(body: bytes) -> str | None:
        """Where to ask again, below the endpoint, if `body` is a job that runs yet; None for any other answer."""
        if _is_mp4(body):
            return None
        answer = decode(_BODY, body, "body of a video answer")
        if answer.status not in RUNNING:
            return None
        if not answer.id:
            raise Malformed(f"body of a video answer: the job is {answer.status}, but has no id to ask for")
        return f"/v1/videos/{quote(answer.id, safe='')}"


def _is_mp4(body: bytes) -> bool:
    return body[4:8] == b"ftyp"


def _attach(decoded: Decoded, encoded: str) -> None:
    try:
        video = binascii.a2b_base64(encoded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"body of a video answer: video_bytes is no base64: {error}") from error
    if video:
        decoded.content = sha256(video).hexdigest()
        decoded.attachment = video
