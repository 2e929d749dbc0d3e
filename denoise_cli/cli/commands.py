"""The commands by name; each is imported when somebody wants it, for a list of them needs none."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main


class Command(NamedTuple):
    about: str  # in the list of commands, where a line has room for 60 characters
    function: str  # in the module of this package that has its name, unless `module` says another
    module: str = ""
    hidden: bool = False  # a second spelling


RUN, QUANTISE = "Clean files, whole folders or a pipe.", "Turn a model into int8 or fp16, for speed."
COMMANDS = {
    "run": Command(RUN, "run"),
    "denoise": Command(RUN, "run", hidden=True),
    "corrupt": Command("Add noise to clean files.", "corrupt"),
    "train": Command("Train a model on clean files of yours.", "train"),
    "average": Command("Join trained models into one that gives their mean.", "average"),
    "eval": Command("Measure quality and speed; find anomalies.", "evaluate"),
    "propagate": Command("Show what noise becomes in the layers of a network.", "propagate"),
    "encode": Command("Turn pictures into latent arrays.", "encode"),
    "decode": Command("Turn latent arrays back into pictures.", "decode", "encode"),
    "quantise": Command(QUANTISE, "quantise"),
    "quantize": Command(QUANTISE, "quantise", hidden=True),
}


class _Loaded(Mapping[str, Any]):
    """Name -> what Typer makes of the command."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            command = COMMANDS[name]
            module = importlib.import_module(f"denoise_cli.cli.{command.module or command.function}")
            one = typer.Typer(add_completion=False, rich_markup_mode=None)
            one.command(name)(getattr(module, command.function))
            self._made[name] = typer.main.get_command(one)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Group(typer.core.TyperGroup):
    """All of `COMMANDS`."""

    def __init__(self, **attributes: Any):
        super().__init__(**{**attributes, "commands": {}})
        self.commands = _Loaded()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, c.about) for name, c in COMMANDS.items() if not c.hidden])
