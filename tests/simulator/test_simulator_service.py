"""What the server remembers from request to request: its cache and its slots."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from wire_client import encode, text, until


def cached_tokens(client, prompt):
    whole = msgspec.json.decode(client.chat(prompt, stream=False).body)
    return whole["usage"]["prompt_tokens_details"]["cached_tokens"]


def together(client, count, **headers):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda number: client.chat(f"prompt {number}", **headers), range(count)))


def test_nothing_is_cached_if_the_cache_is_off(simulate):
    plain = simulate()
    assert [cached_tokens(plain, "same") for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("after", [2, 3])
def test_the_cache_answers_from_the_nth_identical_request_on(simulate, truth_of, after):
    caching = simulate(cache_after=after)
    told = [cached_tokens(caching, "same") > 0 for _ in range(4)]
    assert told == [number + 1 >= after for number in range(4)]
    assert cached_tokens(caching, "other") == 0
    assert caching.metrics()["simulator_requests_cached_total"] == 5 - after
    assert [record.cached for record in truth_of(caching).records] == [*told, False]


def test_a_cached_answer_is_equal_and_faster(simulate, truth_of):
    caching = simulate(cache_after=2, cached_speedup=20.0, ttft_ms=400.0)
    assert len({text(caching.chat("same").body) for _ in range(6)}) == 1
    honest, *cached = (record.first_content_ns - record.start_ns for record in truth_of(caching).records)
    assert honest >= 400_000_000
    assert 20_000_000 <= min(cached) < honest


def test_emptying_the_cache_makes_the_next_request_the_first_again(simulate):
    caching = simulate(cache_after=2)
    assert [cached_tokens(caching, "same") for _ in range(2)] == [0, 1]
    assert caching.http.post("/reset_cache").json() == {"forgotten": 1}
    assert cached_tokens(caching, "same") == 0


def test_at_most_the_configured_number_is_served_at_once_and_the_rest_in_order(simulate, truth_of):
    queueing = simulate(max_concurrency=2, ttft_ms=20.0)
    together(queueing, 6)
    truth = truth_of(queueing)
    records = sorted(truth.records, key=lambda record: record.number)
    starts = [record.start_ns for record in records]
    assert starts == sorted(starts)
    for record in records:
        before = [other for other in records if other.start_ns < record.start_ns]
        assert sum(other.write_ns[-1] > record.start_ns for other in before) < 2
    assert truth.peak_in_flight > 2


def test_a_thousand_waiting_requests_that_are_answered_at_once_do_not_recurse(simulate):
    queueing = simulate(max_concurrency=1)
    asked = {"model": "simulated", "prompt": "x", "max_tokens": 1}
    connections = [queueing.connect() for _ in range(1201)]
    connections[0].sendall(encode("/v1/completions", asked, x_sim_ttft_ms=300))
    for connection in connections[1:]:
        connection.sendall(encode("/v1/completions", asked))
    for connection in connections:
        assert b"200 OK" in connection.recv(4096)
        connection.close()


def test_a_client_that_leaves_the_queue_is_not_served(simulate, truth_of):
    queueing = simulate(max_concurrency=1)
    asked = {"model": "simulated", "prompt": "x"}
    with queueing.connect() as first:
        first.sendall(encode("/v1/completions", asked, x_sim_ttft_ms=200))
        until(lambda: queueing.metrics()["simulator_requests_in_flight"] == 1)
        with queueing.connect() as second:
            second.sendall(encode("/v1/completions", asked))
            until(lambda: queueing.metrics()["simulator_requests_waiting"] == 1)
        until(lambda: queueing.metrics()["simulator_requests_waiting"] == 0)
        assert b"200 OK" in first.recv(4096)
    gone, served = truth_of(queueing).records
    assert (gone.aborted, gone.start_ns, gone.write_ns) == (True, None, [])
    assert not served.aborted


def test_performance_mode_gives_other_answers_than_calm(simulate):
    cheating = simulate(cheat=("different_output",), cheat_in_flight=2)
    calm = text(cheating.chat("same").body)
    with cheating.connect() as busy:
        busy.sendall(encode("/generate", {"text": "x"}, x_sim_fault="stall"))
        until(lambda: cheating.metrics()["simulator_requests_in_flight"] == 1)
        assert text(cheating.chat("same").body) != calm
    until(lambda: cheating.metrics()["simulator_requests_in_flight"] == 0)
    assert text(cheating.chat("same").body) == calm


def test_extra_ends_of_sequence_show_in_the_token_ids(simulate):
    cheating = simulate(cheat=("trailing_eos",))
    whole = msgspec.json.decode(cheating.chat(stream=False, body={"return_token_ids": True}).body)
    assert whole["choices"][0]["token_ids"][-4] != 2
    assert whole["choices"][0]["token_ids"][-3:] == [2, 2, 2]
