"""A training that a signal ended."""

import signal


class Interrupted(BaseException):
    """Training was ended by the signal `number`. It has a checkpoint at `step`, from which the same
    command resumes; None if it had not begun.

    It is not an Exception, as KeyboardInterrupt is not: no handler of errors may catch it.
    """

    def __init__(self, step: int | None, number: int | None = None) -> None:
        super().__init__(step)
        self.step = step
        # That of another worker is not known.
        self.number = signal.SIGTERM if number is None else number
