"""A server on loopback that answers as a test scripts it."""

import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict = field(default_factory=dict)


def as_json(value, status=200):
    return Reply(status, json.dumps(value).encode())


def models(*names):
    return as_json({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def page(status=200):
    return Reply(status, b"<!doctype html><title>Welcome</title>", "text/html; charset=utf-8")


class ScriptedServer:
    """Answers each `METHOD /path` with its replies in turn, the last one for ever; all else with 404."""

    def __init__(self, routes, *, family=socket.AF_INET, host="127.0.0.1", fallback=None):
        self.requests = []
        self.on_request = lambda: None
        self.routes = {
            name: replies if isinstance(replies, list) else [replies] for name, replies in routes.items()
        }
        self.fallback = fallback or as_json({"detail": "Not Found"}, 404)
        script = self

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "scripted/1", ""

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                name = f"{self.command} {self.path}"
                script.requests.append((name, dict(self.headers), body))
                script.on_request()
                replies = script.routes.get(name, [script.fallback])
                reply = replies.pop(0) if len(replies) > 1 else replies[0]
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(reply.body)))
                if reply.content_type:
                    self.send_header("Content-Type", reply.content_type)
                for key, value in reply.headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = answer  # noqa: N815 # the names http.server looks for

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            address_family = family

            def handle_error(self, *_):
                """Clients that hang up, or do not trust the server, are part of the tests."""

        self.server = Server((host, 0), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.port = self.server.server_address[1]
        self.url = f"http://{shown}:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def asked(self):
        return [name for name, _, _ in self.requests]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
