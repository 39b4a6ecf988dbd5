"""python -m funnel."""

from funnel.cli.main import program

program()
