"""Every error this package raises on purpose, and the exit code each one means.

    DenoiseError
    ├── UsageError        2    options that contradict each other, names that do not exist
    │   └── RefusedError  2    an output that would overwrite or collide
    ├── InputError        1    one input that cannot be read, or holds what we refuse
    ├── OutputError       1    one output that cannot be written
    │   └── NoSpaceError  1    the disk is full: ends the run, for every further file would fail alike
    ├── TrainingError     1    the loss is not finite, the data are too small, ...
    └── UnavailableError  3    model, device or backend that is not to be had
        ├── ModelError    3    a model file we refuse
        └── BackendError  3    a package or device that is missing; carries the command that mends it
            └── OutOfMemory 3  the device has no room for a batch; a smaller one may fit

Only ``cli/`` turns these into exits. A message is one line, names the bad value, and lists the choices.
"""

import os


class DenoiseError(Exception):
    exit_code = 1


class UsageError(DenoiseError):
    exit_code = 2


class RefusedError(UsageError):
    pass


class InputError(DenoiseError):
    pass


class OutputError(DenoiseError):
    pass


class NoSpaceError(OutputError):
    pass


class TrainingError(DenoiseError):
    pass


class UnavailableError(DenoiseError):
    exit_code = 3


class ModelError(UnavailableError):
    pass


class BackendError(UnavailableError):
    pass


class OutOfMemory(BackendError):
    pass


def printable(text: str | os.PathLike[str]) -> str:
    """`text` on one line: control characters and undecodable bytes escaped, so that no name can fake output."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fspath(text))


def first_line(error: Exception, most: int = 200) -> str:
    """What an error says, in one line of so many characters; its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return printable(lines[0][:most]) if lines else type(error).__name__


def choice(what: str, value: object, choices) -> str:
    """One line that names the bad value and the choices: ``unknown noise "gausian"; choose from ...``."""
    import difflib

    known = list(map(str, choices))
    near = difflib.get_close_matches(str(value), known, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f'unknown {what} "{value}"; choose from {", ".join(known)}{meant}'
