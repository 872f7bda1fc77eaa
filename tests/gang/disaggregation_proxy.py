"""A proxy in front of a prefill and a decode server: `disaggregation_proxy.py PORT PREFILL DECODE`, as host:port.

Every POST is answered by the prefill server first, whose answer is discarded, and then by the decode server, whose
answer is passed on as it comes. All other requests go to the decode server. It writes a line to standard output for
each POST.
"""

import asyncio
import sys

PORT, PREFILL, DECODE = int(sys.argv[1]), *(word.rsplit(":", 1) for word in sys.argv[2:])


async def read_request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    lines = []
    for line in head[:-4].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if name.lower() != b"connection":
            lines.append(line)
    # Each request has a connection of its own, so that the end of an answer is the end of the connection.
    return b"\r\n".join([*lines, b"connection: close", b"", b""]) + await reader.readexactly(length)


async def ask(server, request, take):
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(request)
        while data := await reader.read(65536):
            await take(data)
    finally:
        writer.close()


async def discard(_data):
    pass


async def serve(reader, writer):
    async def pass_on(data):
        writer.write(data)
        await writer.drain()

    try:
        request = await read_request(reader)
        if request.startswith(b"POST"):
            await ask(PREFILL, request, discard)
            print("prefilled", flush=True)
        await ask(DECODE, request, pass_on)
    except (OSError, asyncio.IncompleteReadError):
        pass  # a client or a server has gone; the other side sees the end of the connection
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", PORT)
    await server.serve_forever()


asyncio.run(main())
