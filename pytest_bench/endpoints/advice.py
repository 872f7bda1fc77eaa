"""What to do about an endpoint that is not ready, by what it answered."""

from __future__ import annotations

from pytest_bench.endpoints.client import Cause, NoAnswer

_LONGER = "where it only needs longer, raise deployment.ready_timeout_s"

CHECK_ADDRESS = "check host, port and prefix"

_BY_CAUSE: dict[Cause, str] = {
    "refused": f"nothing listens there: start the server, or correct host and port; {_LONGER}",
    "unknown-host": "correct the host in the endpoint's URL; a name of a container or cluster is known only inside it",
    "name-service": "the name service does not answer: check this machine's network, or give an IP address",
    "unreachable": "check host and port, and that this machine can reach it: a firewall, a VPN, another network",
    "silent": f"something listens there and says nothing: look into the server's log; {_LONGER}",
    "reset": f"look into the server's log, and check that the URL should not begin with https://; {_LONGER}",
    "untrusted": "name a file of certificates to trust in SSL_CERT_FILE, or give the URL that the certificate is for",
    "tls": "does the server speak TLS on that port? If not, the URL begins with http://",
    "no-http": "no HTTP server listens there: correct the port; or does it speak TLS, and the URL begins with https://?",
    "endless": CHECK_ADDRESS,
    "other": f"{CHECK_ADDRESS}; {_LONGER}",
}


def about_silence(answer: NoAnswer) -> str:
    """What to do where there was no complete response."""
    return _BY_CAUSE[answer.cause]


def about_status(status: int) -> str:
    """What to do where the status says that the server is not ready."""
    match status:
        case 408 | 425 | 429:
            return f"the server is there and busy: let others finish, or lift its limits; {_LONGER}"
        case 502 | 504:
            return f"a proxy answers, and the server behind it does not: start that, or look into its log; {_LONGER}"
        case 503:
            return f"the server is there and says that it is not ready: look into its log; {_LONGER}"
    return "the server is there and fails: look into its log. Waiting longer seldom helps"


NO_MODEL = f"the server is there and has loaded no model: look into its log; {_LONGER}"
