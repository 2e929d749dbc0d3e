"""The command line inside this process: fast, for all that neither reads nor writes binary data on a pipe."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from denoise_cli.cli import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Call the command line; no call may show a traceback or, with no terminal, an escape sequence."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert "\x1b" not in out + err
        return Done(code, out, err)

    yield call
    signal.signal(signal.SIGTERM, before)
