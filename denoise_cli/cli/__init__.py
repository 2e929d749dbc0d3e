"""The command line: parse, call one library function, render, exit code. The only place that exits.

Importing this loads Typer and nothing heavier. A command is imported when it is called, and imports what it needs
in its body.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from denoise_cli import __version__
from denoise_cli.cli import screen, streams
from denoise_cli.cli.commands import Group
from denoise_cli.errors import DenoiseError

app = typer.Typer(
    name="denoise",
    cls=Group,
    help="Clean pictures, recordings and tables with denoising autoencoders; make noise, train models, measure.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help starts in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"denoise {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


# What Typer raises for a wrong option; it brings its own copy of Click, so it is found by its relation.
_WrongUsage: type[Exception] = typer.BadParameter.__mro__[2]


def main(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (see errors.py; 130 / 143 interrupted, 141 closed pipe)."""
    with streams.held():
        code = _main(args)
        streams.leave_if_late(code)
        return code


def _main(args: list[str] | None) -> int:
    try:
        code = app(args=args, prog_name="denoise", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        if code == 130:  # Typer's answer to Ctrl-C, without a word
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except DenoiseError as error:
        screen.say(str(error))
        return error.exit_code
    except _WrongUsage as error:
        message = error.format_message()  # type: ignore[attr-defined]
        context = getattr(error, "ctx", None)
        if context is not None and message == context.get_help():  # no arguments at all: the help is the answer
            sys.stderr.write(f"{message}\n")
        else:
            command = context.command_path if context is not None else "denoise"
            screen.say(f"{message.splitlines()[0]}  (see {command} --help)")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        screen.say("interrupted")
        return 130
    except streams.Terminated:
        screen.say("terminated")
        return 143
    except (BrokenPipeError, SystemExit) as error:
        # Click turns a closed pipe into an exit code of its own.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        streams.to_nowhere()  # whoever read us has gone
        return 141
    except OSError as error:  # files are looked after elsewhere: this is stdout
        if os.environ.get("DENOISE_DEBUG"):
            raise
        streams.to_nowhere()
        screen.say(f"{(error.strerror or str(error)).lower()}: {error.filename or 'standard output'}")
        return 1
    except Exception as error:  # a fault of ours: one line for the user, the whole story where it is asked for
        if os.environ.get("DENOISE_DEBUG"):
            raise
        lines = str(error).strip().splitlines()
        detail = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        screen.say(f"internal error, {detail}  (DENOISE_DEBUG=1 shows where)")
        return 1
