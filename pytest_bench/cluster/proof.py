"""Challenge and response: both sides of a connection prove that they know the job's secret, and never send it."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from pytest_bench.cluster.frames import PROTOCOL_VERSION, Challenge, Hello, Welcome

SECRET_BYTES = 32


def challenge(job: str, host: str) -> Challenge:
    return Challenge(version=PROTOCOL_VERSION, job=job, host=host, nonce=secrets.token_hex(16))


def hello(secret: bytes, asked: Challenge, rank: int, size: int, host: str) -> Hello:
    nonce = secrets.token_hex(16)
    proof = _proof(secret, "hello", asked, rank, size, host, nonce)
    return Hello(rank=rank, size=size, host=host, nonce=nonce, proof=proof)


def is_proven(secret: bytes, asked: Challenge, answer: Hello) -> bool:
    """Whether the sender of `answer` knows the secret."""
    wanted = _proof(secret, "hello", asked, answer.rank, answer.size, answer.host, answer.nonce)
    return hmac.compare_digest(wanted, answer.proof)


def welcome(secret: bytes, asked: Challenge, answer: Hello) -> Welcome:
    """Rank 0's own proof, over the nonce of the other side."""
    return Welcome(
        proof=_proof(secret, "welcome", asked, answer.rank, answer.size, answer.host, answer.nonce)
    )


def is_welcome(secret: bytes, asked: Challenge, answer: Hello, received: Welcome) -> bool:
    """Whether the server knows the secret."""
    return hmac.compare_digest(welcome(secret, asked, answer).proof, received.proof)


def _proof(secret: bytes, side: str, asked: Challenge, rank: int, size: int, host: str, nonce: str) -> str:
    # Each part with its length, so that no two lists of parts are the same bytes.
    parts = (side, str(asked.version), asked.job, asked.nonce, str(rank), str(size), host, nonce)
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.new(secret, message, hashlib.sha256).hexdigest()
