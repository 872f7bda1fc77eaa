"""Where others' hooks cannot come between: registered after initial conftests, around everything that they do."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Protocol

import pytest

from pytest_bench.wording import printable

CONTROLLER = "inference-bench-controller"
OUTERMOST = "inference-bench-outermost"
ITEMS = "inference-bench-items"
UNOPENED = "inference-bench-unopened"

FAREWELL_KEY = "inference_bench_farewell"
"""Where `workerinput` holds what an xdist worker tells that nothing of it failed, by `send`."""


class _Controller(Protocol):
    def close(self, status: int) -> int: ...

    def turn_red(self, code: str, sentence: str) -> None: ...


class _Unopened(Protocol):
    def close(self, status: int) -> int: ...


class _Items(Protocol):
    def account(self, output: dict[str, object]) -> None: ...


class Outermost:
    """Hands over to what was registered for a session, where there is one."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, int | None, int | None]:
        """The exit status is never better than the verdict, nor the verdict than the exit status."""
        try:
            status = yield
        except BaseException as error:
            controller = _controller(config)
            if controller is None:
                raise
            sentence = f"pytest itself failed: {told(error)}"
            controller.turn_red("pytest-exit", sentence)
            if not isinstance(error, SystemExit):
                raise
            print(sentence, file=sys.stderr)  # whatever status it was to end with, 0 included
            return controller.close(1)
        farewell = getattr(config, "workerinput", {}).get(FAREWELL_KEY)
        if farewell is not None:
            farewell.send("well")
        unopened: _Unopened | None = config.pluginmanager.get_plugin(UNOPENED)
        responsible = _controller(config) or unopened
        # None, which a wrapper leaves that forgets to return, is status 0 to pytest.
        return status if responsible is None else responsible.close(status or 0) or status

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """An xdist worker's account goes to the controller; without it the worker counts as crashed.

        So it is given only where other hooks have ended well: around conftests, and inside xdist's own wrapper,
        which is registered later and sends it. What comes later still, the farewell covers.
        """
        yield
        output = getattr(session.config, "workeroutput", None)
        items: _Items | None = session.config.pluginmanager.get_plugin(ITEMS)
        if output is not None and items is not None:
            items.account(output)


def told(error: BaseException) -> str:
    """An exception in one line."""
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])


def _controller(config: pytest.Config) -> _Controller | None:
    controller: _Controller | None = config.pluginmanager.get_plugin(CONTROLLER)
    return controller
