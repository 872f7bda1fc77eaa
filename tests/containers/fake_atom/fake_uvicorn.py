"""Serves any request, and logs accesses as uvicorn does. `app` is the number of accesses before the first one."""

import http.server
import sys


def run(app, *, host, port, access_log=True, log_level="info"):
    loud = access_log and log_level in ("trace", "debug", "info")

    def access(path):
        if loud:
            print(f'INFO:     127.0.0.1:1 - "GET {path} HTTP/1.1" 200 OK', file=sys.stderr, flush=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            access(self.path)
            self.send_response(200)
            self.end_headers()

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            print("WARNING: unknown field", file=sys.stderr, flush=True)
            self.do_GET()

        def log_message(self, *_):
            pass

    for number in range(app):
        access(f"/generate?{number}")
    http.server.HTTPServer((host, port), Handler).serve_forever()
