from writer_process import generation, keys_of

from pytest_bench.checkpoints import open_checkpoint

SESSION = {"nonce": "n", "repeats": 1, "scoring": {"s": "1"}, "started_ns": 1}


class Log:
    """A checkpoint of one session, written through the real writer."""

    def __init__(self, path):
        self.path = path
        self.keys = keys_of(5, 2)

    def write(self, *lines, session=SESSION, **options):
        """Append lines `(kind, payload, key)` in a session of their own; returns the closed writer."""
        with open_checkpoint(self.path) as checkpoint:
            contents = checkpoint.contents
            writer = checkpoint.writer(**options)
            if contents.header is None:
                writer.append("header", {"log": "checkpoint", "point": "p", "generation": generation(2)})
            if session is not None:
                writer.append("session", session)
            for kind, payload, key in lines:
                writer.append(kind, payload, key)
            writer.close()
        return writer

    def results(self, *numbers):
        return [("result", {"answer": number}, self.keys[number]) for number in numbers]

    def errors(self, *numbers):
        return [("error", {"type": "timeout"}, self.keys[number]) for number in numbers]
