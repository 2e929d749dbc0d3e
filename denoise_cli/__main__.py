"""Entry point of ``denoise`` and of ``python -m denoise_cli``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    if sys.argv[1:] in (["-V"], ["--version"]) and sys.stdout is not None:
        _version()  # asked often, by scripts: before anything is imported
        return
    if sys.platform == "win32":
        sys.exit("denoise: needs Linux or macOS; on Windows it runs in WSL")
    _answer_signals()
    from denoise_cli.cli import main as command_line

    sys.exit(command_line())


def _version() -> None:
    from denoise_cli import __version__

    try:
        sys.stdout.write(f"denoise {__version__}\n")
        sys.stdout.flush()
    except OSError as error:  # what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # nobody wants to know any more
            sys.exit(141)
        sys.exit(f"denoise: {(error.strerror or str(error)).lower()}: standard output")


def _answer_signals() -> None:
    """While all is being imported, a signal ends us at once and without a traceback."""
    import signal

    def leave(number: int, frame: object) -> None:
        os.write(2, b"denoise: interrupted\n" if number == signal.SIGINT else b"denoise: terminated\n")
        os._exit(128 + number)

    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) == usual:
            signal.signal(number, leave)


if __name__ == "__main__":
    main()
