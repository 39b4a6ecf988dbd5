"""SIGTERM as a request to stop: nested, and where it raises at once."""

import os
import signal

import pytest

from model.training.interrupts import Interrupts


def come():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def undone():
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_inner_sees_what_came_before_it():
    with Interrupts() as outer:
        with Interrupts() as inner:
            assert not inner.requested
        come()
        with Interrupts() as inner:
            assert inner.requested
        assert outer.requested
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a second one ends the process
    with Interrupts() as later:
        assert not later.requested


def test_the_outer_sees_what_came_in_the_inner():
    with Interrupts() as outer:
        with Interrupts() as inner:
            come()
            assert inner.requested
        assert outer.requested


def test_at_once_for_as_long_as_it_is_set():
    with pytest.raises(LookupError), Interrupts(at_once=LookupError()):
        come()
    with Interrupts(at_once=LookupError()) as interrupts:
        interrupts.at_once = None
        come()
        assert interrupts.requested
