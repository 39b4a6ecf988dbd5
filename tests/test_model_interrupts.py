"""SIGTERM and SIGHUP as a request to stop: nested, and where they raise at once."""

import os
import signal

import pytest

from model.training.interrupts import STOPS, Interrupts


def come(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def handlers():
    return [signal.getsignal(number) for number in STOPS]


@pytest.fixture(autouse=True)
def undone():
    before = handlers()
    yield
    assert handlers() == before


def test_the_inner_sees_what_came_before_it():
    with Interrupts() as outer:
        with Interrupts() as inner:
            assert not inner.requested
        come()
        with Interrupts() as inner:
            assert inner.requested
        assert outer.requested
        assert handlers() == [signal.SIG_DFL] * 2  # a second one ends the process
    with Interrupts() as later:
        assert not later.requested


def test_the_outer_sees_what_came_in_the_inner():
    with Interrupts() as outer:
        with Interrupts() as inner:
            come()
            assert inner.requested
        assert outer.requested


def test_at_once_for_as_long_as_it_is_set():
    with pytest.raises(LookupError, match="15"), Interrupts(at_once=LookupError):
        come()
    with Interrupts(at_once=LookupError) as interrupts:
        interrupts.at_once = None
        come()
        assert interrupts.requested


def test_the_signal_that_came_is_known():
    with Interrupts() as outer, Interrupts() as inner:
        assert inner.number is None
        come(signal.SIGHUP)
        assert inner.number == outer.number == signal.SIGHUP


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with Interrupts() as interrupts:
            come(signal.SIGHUP)
            assert not interrupts.requested
            come()
            assert interrupts.requested
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
