"""What the user sees of a training while it runs."""

import io

from rich.console import Console
from test_model_callbacks import REPORT

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
