"""WAN2.2 video generation as a server reads and writes it."""

from __future__ import annotations

import base64
from hashlib import sha256, shake_128
from typing import Literal

import msgspec

from pytest_bench.simulator.behaviour import Behaviour
from pytest_bench.simulator.script import Body

_FTYP = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"


class VideoRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request for one video: the fields of WAN2.2, and the model if the client names one."""

    prompt: str
    model: str | None = None
    negative_prompt: str | None = None
    size: str = "720x1280"
    seconds: float = 5.0
    fps: int = 16
    num_inference_steps: int = 20
    guidance_scale: float = 4.0
    guidance_scale_2: float = 3.0
    seed: int = 42
    num_frames: int = 81
    boundary_ratio: float = 0.875
    latent_path: str | None = None
    output_format: str = "auto"
    response_format: Literal["video_path", "video_bytes"] = "video_path"


def video(request: VideoRequest, behaviour: Behaviour, *, salt: str) -> bytes:
    """Return bytes that begin like an MP4 file and depend on the request and on `salt`."""
    seed = msgspec.json.encode(request) + salt.encode()
    return _FTYP + shake_128(seed).digest(max(0, behaviour.video_bytes - len(_FTYP)))


def answer(request: VideoRequest, data: bytes, behaviour: Behaviour, *, took_ns: int) -> Body:
    """Return a finished video, delivered as the request or the behaviour says."""
    if behaviour.video_reply == "raw":
        return Body(data=data, content_type="video/mp4", due_ns=took_ns, tokens=1)
    return Body(data=describe(request, data, took_ns), due_ns=took_ns, tokens=1)


def describe(request: VideoRequest, data: bytes, took_ns: int) -> bytes:
    """Return a finished video as JSON: its path or its bytes."""
    video_id = sha256(data).hexdigest()[:16]
    delivered: dict[str, object] = {"video_id": video_id}
    if request.response_format == "video_bytes":
        delivered["video_bytes"] = base64.b64encode(data).decode()
    else:
        delivered["video_path"] = f"/videos/{video_id}.mp4"
    delivered["inference_time_s"] = took_ns / 1e9
    return msgspec.json.encode(delivered)
