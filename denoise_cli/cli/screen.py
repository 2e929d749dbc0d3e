"""What the user sees: messages and bars on stderr, results on stdout, nothing else anywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from denoise_cli.errors import UsageError, printable


def say(message: str) -> None:
    """One line, or a help text of ours, on stderr."""
    lines = [printable(line) for line in message.splitlines()]
    try:
        sys.stderr.write("\n".join([f"denoise: {lines[0]}", *lines[1:]]) + "\n" if lines else "")
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError:  # a log on a full disk is no reason to stop the work
        pass


def put(text: str) -> None:
    """Results, on stdout."""
    if sys.stdout is None:
        raise UsageError("stdout is closed; nowhere to print the results")
    sys.stdout.write(text)


def binary_to_terminal() -> None:
    """Refuse to write a file's bytes to a terminal."""
    if sys.stdout is None:
        raise UsageError("stdout is closed; name a file with -o")
    if sys.stdout.isatty():
        raise UsageError("will not write binary data to a terminal; redirect it (> file) or name one with -o")


def no_terminal_input() -> None:
    """Refuse to wait for a picture to be typed."""
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("stdin is closed; nothing to read for -")
    if sys.stdin.isatty():
        raise UsageError("stdin is a terminal; pipe a file into it: cat noisy.png | denoise run - > clean.png")


class Bar:
    """A progress bar where stderr is a terminal, silence where it is not."""

    def __init__(self, progress: Any = None, task: Any = None):
        self._progress, self._task = progress, task

    @property
    def drawn(self) -> bool:
        return self._progress is not None

    def update(self, **fields: Any) -> None:
        if self._progress is not None:
            self._progress.update(self._task, **fields)

    def say(self, message: str) -> None:
        """A line above the bar."""
        if self._progress is None:
            say(message)
        else:
            self._progress.console.print(
                f"denoise: {printable(message)}", markup=False, highlight=False, soft_wrap=True
            )


@contextmanager
def bar(total: float | None, unit: str, *, quiet: bool = False) -> Iterator[Bar]:
    """A bar that counts to `total`, in `unit`, such as "/12 files"; its right end shows the field `note`."""
    if quiet or not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(bar_width=30), TextColumn(f"{{task.completed:.0f}}{unit}"), TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress, progress.add_task("", total=total, note=""))


def table(headings: list[str], rows: Iterable[list[str]], *, title: str | None = None) -> None:
    """A table on stdout: drawn on a terminal, tab-separated in a pipe. The first column is text."""
    if sys.stdout is None or not sys.stdout.isatty():
        for row in [headings, *rows]:
            put("\t".join(map(printable, row)) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, header_style="bold")
    for index, heading in enumerate(headings):
        drawn.add_column(heading, justify="right" if index else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(drawn)


def clock(seconds: float) -> str:
    """``1:02:03``: hours, minutes, seconds."""
    minutes, seconds = divmod(round(min(seconds, 359_999)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
