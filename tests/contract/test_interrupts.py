"""An interrupt may occur at any instruction, and pytest can still show it."""

import pytest

from pytest_bench.plugin.interrupts import SigtermAsInterrupt


@pytest.fixture
def interrupts():
    plugin = SigtermAsInterrupt()
    yield plugin
    plugin.pytest_unconfigure()


@pytest.fixture
def caught():
    def nowhere():
        raise KeyboardInterrupt

    # Of `co_linetable`, an entry of 0xFF says of eight instructions that they stand on no line.
    nowhere.__code__ = nowhere.__code__.replace(co_linetable=b"\xff" * 8)
    with pytest.raises(KeyboardInterrupt) as caught:
        nowhere()
    if caught.tb.tb_next.tb_lineno == -1:
        pytest.skip("the first releases of Python 3.11 number such a line -1, which pytest can show")
    assert caught.tb.tb_next.tb_lineno is None
    return caught


def test_an_interrupt_at_an_instruction_without_a_line_number_is_shown(caught, interrupts):
    interrupts.pytest_keyboard_interrupt(caught)
    assert "test_interrupts.py" in str(caught.getrepr())


def test_pytest_alone_cannot_show_it(caught):
    with pytest.raises(TypeError):
        caught.getrepr()
