"""Entry point of ``denoise`` and of ``python -m denoise_cli``."""

from __future__ import annotations

import sys


def main() -> None:
    if sys.argv[1:] in (["-V"], ["--version"]):  # asked often, by scripts: before anything is imported
        from denoise_cli import __version__

        sys.stdout.write(f"denoise {__version__}\n")
        return
    from denoise_cli.cli import main as command_line

    sys.exit(command_line())


if __name__ == "__main__":
    main()
