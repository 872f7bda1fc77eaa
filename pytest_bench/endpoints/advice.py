"""What to do about an endpoint that is not ready, by its last answer."""

from __future__ import annotations

from pytest_bench.endpoints.client import Cause, NoAnswer

_LONGER = "if it only needs more time, raise deployment.ready_timeout_s"

CHECK_ADDRESS = "check host, port and prefix"

_BY_CAUSE: dict[Cause, str] = {
    "refused": f"nothing listens there: start the server, or correct host and port; {_LONGER}",
    "unknown-host": "correct the host in the endpoint's URL; a name of a container or cluster is known only inside it",
    "name-service": "the name service does not answer: check this machine's network, or give an IP address",
    "unreachable": "check host and port, and that this machine can reach it: a firewall, a VPN, another network",
    "silent": f"something accepts connections there and does not answer: read the server's log; {_LONGER}",
    "reset": f"read the server's log, and check whether the URL should begin with https://; {_LONGER}",
    "untrusted": "name a file of certificates to trust in SSL_CERT_FILE, or give the URL that the certificate is for",
    "tls": "if the server does not speak TLS on that port, the URL begins with http://",
    "no-http": "the server there does not speak HTTP: correct the port; if it speaks TLS, the URL begins with https://",
    "endless": CHECK_ADDRESS,
    "other": f"{CHECK_ADDRESS}; {_LONGER}",
}


def about_silence(answer: NoAnswer) -> str:
    """Advice if there was no complete response."""
    return _BY_CAUSE[answer.cause]


def about_status(status: int) -> str:
    """Advice if the status says that the server is not ready."""
    match status:
        case 408 | 425 | 429:
            return f"the server is busy: let others finish, or raise its limits; {_LONGER}"
        case 502 | 504:
            return f"a proxy answers, and the server behind it does not: start it, or read its log; {_LONGER}"
        case 503:
            return f"the server says that it is not ready: read its log; {_LONGER}"
    return "the server fails: read its log. Waiting longer seldom helps"


NO_MODEL = (
    f"the server has loaded no model: read its log; {_LONGER}; if it loads models on request, set "
    "deployment.check_model: false (`pytest-bench measure … --no-check-model`)"
)
