"""The first signal ends the platform in order; another one cuts the drain short and no more."""

import os
import signal

import pytest

from cluster.stop_signals import StopRequested, stop_signals


def test_the_first_signal_breaks_in() -> None:
    with stop_signals() as stop:
        with pytest.raises(StopRequested):
            os.kill(os.getpid(), signal.SIGTERM)

        assert stop.event.is_set()


def test_a_second_signal_is_ignored_outside_the_drain() -> None:
    with stop_signals() as stop:
        stop.event.set()
        os.kill(os.getpid(), signal.SIGINT)

        assert stop.event.is_set()


def test_a_second_signal_ends_the_drain_and_nothing_else() -> None:
    with stop_signals() as stop:
        stop.event.set()
        steps = []
        with stop.skippable():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("drained")
        steps.append("next")

        assert steps == ["next"]


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals():
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before
