"""A training that a signal ended."""


class Interrupted(BaseException):
    """It has a checkpoint at `step`, and the same command goes on from there; None where it had not
    begun.

    No Exception, as KeyboardInterrupt is none: it may be raised anywhere, and nobody on the way is
    to take it for a fault of their own.
    """

    def __init__(self, step: int | None) -> None:
        super().__init__(step)
        self.step = step
