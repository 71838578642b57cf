"""Stopping long work after its current step."""

import os
import signal

import pytest

from genner.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_told_and_the_second_stops(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    interrupt = Interrupt()
    before = signal.getsignal(number)
    with interrupt.listening():
        os.kill(os.getpid(), number)
        assert interrupt.wanted
        assert "stopping after this step" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    with interrupt.listening():
        assert not interrupt.wanted
