"""A server that logs as much as one ATOM deployment did in one run."""

import argparse
import os
import sys

import uvicorn

from atom.log import logger

PRODUCER, OTHER, ROUTER, ACCESS = 57_941, 14_437, 2_676, 2_649
WARNINGS, ERRORS, PLAIN = 320, 51, 3_000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--server-port", type=int, default=8000)
    args = parser.parse_args()
    for number in range(PRODUCER):
        logger.info("producer: sent block %d to the consumer", number)
    for number in range(OTHER):
        logger.info("step %d", number)
    if os.environ.get("ATOMESH_LOG_LEVEL", "info") == "info":
        for number in range(ROUTER):
            print(f"2026-11-30T12:00:00Z  INFO atomesh::router: routed {number}", file=sys.stderr)
    for number in range(WARNINGS):
        logger.warning("slow transfer %d", number)
    for number in range(ERRORS):
        logger.error("lost block %d", number)
    for number in range(PLAIN):
        print(f"loaded shard {number}", file=sys.stderr)
    app = ACCESS
    uvicorn.run(app, host=args.host, port=args.server_port)


if __name__ == "__main__":
    main()
