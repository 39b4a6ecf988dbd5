"""What the user sees of a training while it runs."""

import io
import re

from rich.console import Console
from test_model_callbacks import REPORT

from funnel import console
from funnel.stages.training_bar import describe, training_bar


def test_a_report_in_a_line():
    assert (
        describe(REPORT) == "1,000 rows/s · loss ctr 0.5000 · rate 0.001 · input 25 % · 0:09 left"
    )


def test_the_bar_on_a_terminal():
    screen = Console(file=io.StringIO(), force_terminal=True, width=160)
    with training_bar(screen) as show:
        show(REPORT)
    shown = screen.file.getvalue()
    assert "4/10" in shown
    assert describe(REPORT) in shown


def test_away_from_a_terminal_nothing_is_shown():
    screen = Console(file=io.StringIO(), force_terminal=False, width=160)
    with training_bar(screen) as show:
        show(REPORT)
    assert screen.file.getvalue().strip() == ""


def test_on_a_narrow_terminal_rate_and_time_left_stay():
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with training_bar(screen) as show:
        show(REPORT)
    lines = re.sub("\x1b\\[[0-9?;]*[a-zA-Z]", "", screen.file.getvalue()).split("\r")
    assert any("4/10 1,000 rows/s · 0:09 left 0:00:00" in line for line in lines)
    assert max(map(len, lines)) <= 81  # a newline ends some


def test_in_a_file_a_line_comes_now_and_then(monkeypatch):
    monkeypatch.setattr(console, "EVERY", 0.0)
    screen = Console(file=io.StringIO(), force_terminal=False, width=160)
    with training_bar(screen) as show:
        show(REPORT)
    assert screen.file.getvalue() == f"· training: step 4 of 10 · {describe(REPORT)}\n"
