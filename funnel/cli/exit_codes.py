"""The exit codes of the command line."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What each means is in docs/command-line.md, too. A code of 128 + n is the shells' convention
    for a program that signal n ended.
    """

    OK = 0
    FAULT = 1
    USER_ERROR = 2
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    ExitCode.OK: "the command did what was asked",
    ExitCode.FAULT: "a fault of funnel or of its surroundings; --debug shows the traceback",
    ExitCode.USER_ERROR: "an error that the user can fix: arguments, configuration or data",
    ExitCode.HUNG_UP: "SIGHUP, as when a terminal closes; a training has written a checkpoint",
    ExitCode.INTERRUPTED: "Ctrl-C (SIGINT)",
    ExitCode.TERMINATED: "SIGTERM; a training has written a checkpoint",
}
