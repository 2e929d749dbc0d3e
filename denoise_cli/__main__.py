"""Entry point of ``denoise`` and of ``python -m denoise_cli``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    if sys.argv[1:] in (["-V"], ["--version"]):  # asked often, by scripts: before anything is imported
        from denoise_cli import __version__

        try:
            sys.stdout.write(f"denoise {__version__}\n")
            sys.stdout.flush()
        except BrokenPipeError:  # nobody wants to know any more; what is still buffered goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        return
    from denoise_cli.cli import main as command_line

    sys.exit(command_line())


if __name__ == "__main__":
    main()
