"""A training that a signal ended."""


class Interrupted(Exception):
    """It has a checkpoint at `step`, and the same command goes on from there."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step
