import base64
from hashlib import sha256

import pytest
from wire_client import until

PATH = "/v1/videos/generations"
PROMPT = {"prompt": "a cat"}


def ask(client, body=PROMPT, **headers):
    headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    answer = client.http.post(PATH, json=body, headers=headers)
    assert answer.status_code == 200
    return answer


def test_a_video_is_answered_with_its_path_and_the_time_it_took(client):
    answer = ask(client, x_sim_video_ms=20).json()
    assert answer["video_path"] == f"/videos/{answer['video_id']}.mp4"
    assert answer["inference_time_s"] == pytest.approx(0.02)


def test_a_video_is_returned_as_bytes_if_requested(client):
    answer = ask(client, {**PROMPT, "response_format": "video_bytes"}, x_sim_video_bytes=500).json()
    video = base64.b64decode(answer["video_bytes"])
    assert (len(video), video[4:8]) == (500, b"ftyp")
    assert sha256(video).hexdigest().startswith(answer["video_id"])


def test_a_server_may_answer_with_the_file_itself(client):
    answer = ask(client, x_sim_video_reply="raw")
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content[4:8] == b"ftyp"


def test_the_same_request_gets_the_same_video_and_another_seed_another(client):
    ids = [ask(client, {**PROMPT, "seed": seed}).json()["video_id"] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_a_cheating_server_returns_another_video(client):
    assert ask(client, x_sim_cheat="different_output").json()["video_id"] != ask(client).json()["video_id"]


def test_a_job_is_polled_until_its_video_is_there(client):
    job = ask(client, x_sim_video_reply="job", x_sim_video_ms=30).json()
    assert job["status"] == "in_progress"
    path = f"/v1/videos/{job['id']}"
    until(lambda: client.http.get(path).json()["status"] == "completed")
    assert client.http.get(path).json()["video_path"] == ask(client).json()["video_path"]


def test_a_job_waits_for_its_slot(simulate):
    queueing = simulate(max_concurrency=1, video_reply="job")
    first = ask(queueing, x_sim_video_ms=100).json()
    second = ask(queueing).json()
    assert (first["status"], second["status"]) == ("in_progress", "queued")
    until(lambda: queueing.http.get(f"/v1/videos/{second['id']}").json()["status"] == "completed")


def test_a_cached_video_takes_less_time(simulate, truth_of):
    caching = simulate(video_ms=400.0, cache_after=2, cached_speedup=10.0)
    for _ in range(6):
        ask(caching)
    honest, *cached = (
        record.first_byte_ns - record.last_request_byte_ns for record in truth_of(caching).records
    )
    assert honest >= 400_000_000
    assert 40_000_000 <= min(cached) < honest


def test_a_fault_applies_to_the_answer_about_a_job(client):
    answer = client.http.post(
        PATH, json=PROMPT, headers={"x-sim-video-reply": "job", "x-sim-fault": "stream_error"}
    )
    assert "error" in answer.json()
