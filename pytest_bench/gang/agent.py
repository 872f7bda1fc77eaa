"""The program that runs on every node of a gang: `python -m pytest_bench.gang.agent`, started by `launching`.

It reads a `messages.Request` from its standard input, meets the agents of the other nodes, prepares the images, starts
the containers of its rank, and answers questions about them. It ends, and removes its containers, when its input ends,
at SIGTERM, and when any rank fails. What became of it is in `status.json` of its own folder.
"""

from __future__ import annotations

import os
import platform
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path

import msgspec

from pytest_bench.cluster.addresses import own_address
from pytest_bench.cluster.endpoint import meet
from pytest_bench.cluster.place import ADDRESS, JOB, RANK, SIZE, Place, read_place, read_rank, read_secret
from pytest_bench.cluster.rendezvous import BarrierAborted, BarrierTimeout, Rendezvous, RendezvousError
from pytest_bench.containers.engine import connect
from pytest_bench.containers.group import Containers
from pytest_bench.containers.serving import Host, serve
from pytest_bench.errors import BenchError
from pytest_bench.gang import messages
from pytest_bench.gang.answers import answer
from pytest_bench.gang.images import prepare
from pytest_bench.gang.interrupting import Interrupter, Stop
from pytest_bench.gang.status import RankStatus, State, folder_of, write_status
from pytest_bench.redaction import hide, redact
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.deployment_nodes import with_addresses

_CHECK_S = 1.0
"""Interval between checks that the containers run."""
_LONGEST_REASON = 20_000
_FOREVER_S = 10.0**8


class Agent:
    """One rank of a gang."""

    def __init__(self, request: messages.Request, lines: FileIO, environ: Mapping[str, str]) -> None:
        """`lines` is the rest of the input."""
        self._request = request
        self._lines = lines
        # Those of launchers other than Slurm may be set for another step of the job.
        ignored = {RANK[0], SIZE[0], JOB}
        self._environ = {name: value for name, value in environ.items() if name not in ignored}
        self.rank, self._size = read_rank(self._environ)
        self._host = platform.node()
        self._address = ""
        self._folder = folder_of(Path(request.folder), self.rank)
        self._rendezvous: Rendezvous | None = None
        self._interrupter = Interrupter(self._on_stop)
        self._meeting: queue.SimpleQueue[messages.Meeting] = queue.SimpleQueue()
        self._questions: queue.SimpleQueue[messages.Question | None] = queue.SimpleQueue()
        self._output: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._serves = False
        self._phase = "starting"
        self._failure: RankStatus | None = None

    def run(self) -> None:
        """Run until something ends it, and leave a status file that says what."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_status(Path(self._request.folder), self._status("running"))
        for thread in (self._read, self._write):
            threading.Thread(target=thread, name=thread.__name__, daemon=True).start()
        try:
            self._run()
            how = self._status("ended")
        except Stop as stop:
            how = self._stopped(stop)
        except (BarrierAborted, BarrierTimeout) as error:
            how = self._stopped(self._interrupter.stop or _stop_of(error))
        except Exception as error:  # noqa: BLE001 # whatever ends the agent is in its status file
            self._note_failure(error)
            if not isinstance(error, BenchError):
                traceback.print_exc()
            how = self._status("failed", str(error))
        self._interrupter.end()
        write_status(Path(self._request.folder), self._failure or how)

    def doing(self, text: str) -> None:
        """Say what this rank does from here on."""
        self._phase = text
        if self._rendezvous is not None:
            with self._interrupter.refused():
                self._rendezvous.phase(text)
        self._waits(text)

    def barrier(
        self, name: str, *, timeout_s: float, payload: str | None = None, identity: str | None = None
    ) -> str | None:
        """As `Rendezvous.barrier`. What ends this rank from outside ends the rendezvous, and so the barrier."""
        if self._rendezvous is None:
            raise RendezvousError(f"{name}: the ranks have not met")
        # An error of this rank is noted before the rendezvous, which it ends, could interrupt this rank because of it.
        with self._interrupter.refused(), self._reporting_failure():
            return self._rendezvous.barrier(name, timeout_s=timeout_s, payload=payload, identity=identity)

    def _run(self) -> None:
        request, limits = self._request, self._request.nodes
        with ExitStack() as stack, self._reporting_failure():
            secret = read_secret(self._environ)
            hide([secret.hex()])
            self._address = own_address(self._environ)
            with self._interrupter.allowed():
                place = self._place()
                rendezvous = stack.enter_context(meet(place, secret, join_s=limits.join_timeout_s))
            self._rendezvous = rendezvous
            threading.Thread(target=self._follow, args=(rendezvous,), daemon=True).start()
            if self.rank == 0:
                self._send(messages.Listening(address=place.address))
            self.doing("meeting the other nodes")
            plans = self._plans()
            with self._interrupter.allowed():
                with connect(self._environ) as client:
                    images = prepare(client, plans, self, limits, self._environ)
                self.doing("starting containers")
                serving = serve(
                    [plan for plan in plans if plan.rank == self.rank],
                    suite=request.suite,
                    nonce=request.nonce,
                    folder=self._folder,
                    environ=self._environ,
                    timeout_s=request.ready_timeout_s,
                    on_wait=self._waits,
                    host=Host(
                        address=self._address,
                        owner=request.owner,
                        images=images,
                        on_error=self._note_failure,
                    ),
                )
                with serving as containers:
                    self.doing("waiting until the containers of every node serve")
                    self.barrier("serving", timeout_s=request.ready_timeout_s)
                    self.doing("serving")
                    with self._interrupter.refused():
                        self._serve(containers)

    def _place(self) -> Place:
        """Rank, size and the address of rank 0. Rank 0 chooses the address; the others get it from the session."""
        environ = {**self._environ}
        if self.rank == 0:
            environ.setdefault(ADDRESS, self._address)
            return read_place(environ)
        self.doing("waiting for rank 0")
        timeout_s = self._request.nodes.join_timeout_s
        try:
            return read_place({**environ, ADDRESS: self._meeting.get(timeout=timeout_s).address})
        except queue.Empty:
            raise RendezvousError(f"rank 0 did not listen within {timeout_s:g} s") from None

    def _plans(self) -> list[ContainerPlan]:
        """The containers of all ranks, with the addresses of the ranks filled in."""
        addresses = []
        for rank in range(self._size):
            own = self._address if rank == self.rank else None
            found = self.barrier(f"address:{rank}", timeout_s=self._request.nodes.join_timeout_s, payload=own)
            if found is None:
                raise RendezvousError(f"rank {rank} has published no address")
            addresses.append(found)
        plans = self._request.containers
        return [with_addresses(plan, {each.role: addresses[each.rank] for each in plans}) for plan in plans]

    def _serve(self, containers: Containers) -> None:
        """Answer questions until the session ends, or something else ends this rank."""
        self._serves = True
        found = {role: (each.name, each.url) for role, each in containers.items()}
        self._send(messages.Serving(rank=self.rank, host=self._host, containers=found))
        while True:
            try:
                question = self._questions.get(timeout=_CHECK_S)
            except queue.Empty:
                containers.require_running()
                continue
            self._interrupter.check()
            if question is None:
                break
            reply = answer(containers, question)
            if reply.error is not None:
                containers.require_running()  # the end of a container is this rank's failure, not an answer
            self._send(reply)
        self._interrupter.end()
        self.doing("stopping containers")

    @contextmanager
    def _reporting_failure(self) -> Iterator[None]:
        """Tell the other ranks of an error of this one."""
        try:
            yield
        except (BarrierAborted, BarrierTimeout):
            raise
        except Exception as error:  # whatever ends the agent is in its status file
            self._note_failure(error)
            raise

    def _note_failure(self, error: BaseException) -> None:
        """Note the first failure of this rank, and tell the other ranks."""
        self._interrupter.end()
        if self._failure is None and not isinstance(error, BarrierAborted | BarrierTimeout):
            text = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
            self._failure = self._status("failed", redact(text))
            self._send(messages.Ending(rank=self.rank))
            if self._rendezvous is not None:
                self._rendezvous.abort(redact(text))

    def _stopped(self, stop: Stop) -> RankStatus:
        return self._status("stopped", stop.reason, stop.because_of)

    def _status(self, state: State, reason: str = "", because_of: int | None = None) -> RankStatus:
        return RankStatus(
            nonce=self._request.nonce,
            rank=self.rank,
            host=self._host,
            address=self._address,
            state=state,
            phase=self._phase,
            reason=reason[:_LONGEST_REASON],
            because_of=because_of,
            at_ns=time.time_ns(),
        )

    def _read(self) -> None:
        """Thread: take what the session says, and end this rank when it says nothing more."""
        decode = msgspec.json.Decoder(messages.ToAgent).decode
        for line in iter(self._lines.readline, b""):
            message = decode(line)
            if isinstance(message, messages.Meeting):
                self._meeting.put(message)
            elif message.rank == self.rank:
                self._questions.put(message)
        if self._serves:
            self._questions.put(None)
        else:
            self._interrupter.request(Stop("the session ended"))

    def _write(self) -> None:
        """Thread: write to the session. In the main thread, a message could be interrupted."""
        while True:
            data = self._output.get()
            try:
                while data:
                    data = data[os.write(sys.stdout.fileno(), data) :]
            except OSError:
                return  # the session has ended; so does the input

    def _follow(self, rendezvous: Rendezvous) -> None:
        """Thread: end this rank when the rendezvous fails."""
        rendezvous.wait_for_failure(_FOREVER_S)
        try:
            rendezvous.check()
        except (BarrierAborted, BarrierTimeout) as error:
            self._interrupter.request(_stop_of(error))

    def _on_stop(self, stop: Stop) -> None:
        """End the waiting of the main thread, and the other ranks."""
        self._questions.put(None)
        self._send(messages.Ending(rank=self.rank))
        if self._rendezvous is not None:
            self._rendezvous.abort(stop.reason)  # without effect if it has failed already

    def _waits(self, text: str) -> None:
        self._send(messages.Doing(rank=self.rank, host=self._host, text=text))

    def _send(self, message: messages.FromAgent) -> None:
        self._output.put(messages.pieces(self._request.token, self.rank, message))


def _stop_of(error: BarrierAborted | BarrierTimeout) -> Stop:
    if isinstance(error, BarrierTimeout):
        return Stop(str(error))
    failure = error.failure
    reason = f"rank {failure.rank} ({failure.host}) failed while {failure.phase}: {failure.reason}"
    return Stop(reason, failure.rank)


def main() -> None:
    # Without a buffer, whose lock the reading thread would hold when the interpreter ends.
    lines = FileIO(0, closefd=False)
    first = lines.readline()
    if not first:
        sys.exit("the session ended before it asked for anything")
    Agent(msgspec.json.decode(first, type=messages.Request), lines, os.environ).run()


if __name__ == "__main__":
    main()
