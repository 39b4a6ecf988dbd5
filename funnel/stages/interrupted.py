"""A training that a signal ended."""


class Interrupted(BaseException):
    """Training was ended by a signal. It has a checkpoint at `step`, from which the same command
    resumes; None if it had not begun.

    It is not an Exception, as KeyboardInterrupt is not: no handler of errors may catch it.
    """

    def __init__(self, step: int | None) -> None:
        super().__init__(step)
        self.step = step
