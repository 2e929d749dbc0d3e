"""Writes docs/cli.md from the commands' own help.

python scripts/make_cli_reference.py [--check]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from denoise_cli.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "cli.md"


def help_of(*command: str) -> str:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "denoise_cli", *command, "--help"], env=environment, capture_output=True, check=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.decode().splitlines())


def page() -> str:
    parts = ["# Command line", "", "Made from `--help` by `scripts/make_cli_reference.py`; do not edit."]
    for command in ((), *((name,) for name, command in COMMANDS.items() if not command.hidden)):
        parts += ["", f"## {' '.join(('denoise', *command))}", "", "```", help_of(*command), "```"]
    return "\n".join(parts) + "\n"


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        same = TARGET.exists() and TARGET.read_text() == text
        print("up to date" if same else "docs/cli.md is out of date: run scripts/make_cli_reference.py")
        return 0 if same else 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
