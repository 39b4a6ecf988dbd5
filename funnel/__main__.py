"""python -m funnel."""

from funnel.cli import program

program()
