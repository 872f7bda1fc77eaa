"""A point whose deployment runs on two nodes, from start to end."""

import pytest
from gang_folder import GangFolder


@pytest.fixture(scope="module")
def green(image_everywhere, tmp_path_factory):
    return GangFolder(tmp_path_factory.mktemp("green"), image_everywhere).run()


def test_a_point_of_a_deployment_on_two_nodes_passes(green):
    assert green.status == 0, green.output
    assert (green.verdict["status"], green.outcome) == ("pass", "pass")


def test_roles_run_on_the_engines_of_their_ranks(green):
    engines = {
        role: green.container(rank, role)["engine"]["hostname"]
        for rank, role in ((0, "proxy"), (0, "prefill"), (1, "decode"))
    }
    assert engines == {"proxy": "n0", "prefill": "n0", "decode": "n1"}


def test_requests_reach_the_decode_server_through_proxy_and_prefill_by_the_addresses_of_their_nodes(green):
    assert green.container(0, "proxy")["command"] == ["8000", "10.77.0.1:8001", "10.77.0.2:8000"]
    assert green.container(0, "proxy")["url"] == "http://10.77.0.1:8000"
    log = (green.deployment / "rank-0/proxy/container.log").read_text()
    assert log.splitlines().count("prefilled") >= 6


def test_every_rank_verifies_its_containers_from_inside(green):
    (verified,) = green.container(1, "decode")["verified"]
    assert verified["command_line"][-2:] == ["--max-concurrency", "8"]
    assert green.container(0, "prefill")["environment"] == ["DECODE", "KEY"]


def test_every_rank_reports_that_it_ended_as_asked(green):
    for rank in (0, 1):
        status = green.status_of(rank)
        assert (status["state"], status["rank"], status["host"]) == ("ended", rank, f"n{rank}")
        assert status["address"] == f"10.77.0.{rank + 1}"


def test_logs_and_artifacts_of_all_nodes_are_evidence_of_the_point(green):
    point = green.results / "points/disaggregated/perf/point"
    assert {path.name for path in point.glob("server_log.*.json")} == {
        "server_log.proxy.json",
        "server_log.prefill.json",
        "server_log.decode.json",
    }
    assert (point / "artifacts/decode/etc/group").read_text().startswith("root:")
    assert green.container(1, "decode")["ended"]["exit_code"] is not None


def test_no_container_is_left(green, left):
    assert left() == []


def test_the_secret_is_in_no_file_and_no_output(green):
    texts = [path.read_bytes() for path in green.results.rglob("*") if path.is_file()]
    assert not any(b"RENDEZVOUS_SECRET" in text or b"sk-secret" in text for text in texts)
