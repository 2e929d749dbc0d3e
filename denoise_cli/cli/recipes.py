"""``denoise train --recipe`` and ``--init``: where options come from that the command line does not name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from denoise_cli.cli import options as opt
from denoise_cli.cli import screen

STAGE = "denoise.stage"  # where the context keeps which stage of a recipe is being trained, but for the last


def option(context: typer.Context, name: str | None) -> str | None:
    """Take the defaults of a command from a recipe, that of its last stage; ``help`` lists them all."""
    from denoise_cli import recipes

    if name == "help":
        screen.table(["recipe", "what"], [[name, recipe.about] for name, recipe in recipes.RECIPES.items()])
        raise typer.Exit
    if name is not None:
        context.default_map = dict(recipes.stages(name)[-1])
    return name


def start(init: Path | None, output: Path, resume: bool) -> Path | None:
    """The file that ``--init`` means, which may be a shipped model's name.

    It is looked at, and so is the checkpoint that ``--resume`` goes on from: what is neither is refused before
    torch is loaded, which takes seconds.
    """
    from denoise_cli import shipped
    from denoise_cli.train.paths import Paths

    try:
        from denoise_cli.train import origin
    except ImportError:  # said by whoever trains
        return init
    if resume and (checkpoint := Paths(output).checkpoint).exists():
        origin.options(checkpoint)
    if init is None:
        return None
    path = init if init.is_file() or init.suffix else shipped.locate(str(init))
    origin.options(path)
    return path


def outputs(context: typer.Context, output: Path, name: str | None) -> Iterator[Path]:
    """The model of the last stage, and then those of the ones before, the first one first.

    Or the average, and then those of every recipe that it is made of or begins with.
    """
    yield output
    yield from _earlier(context, output, name)
    for part, path in _parts(context, output, name).items():
        yield from outputs(context, path, part)


def _earlier(context: typer.Context, output: Path, name: str | None) -> list[Path]:
    """The models of a recipe's own stages before the last one."""
    from denoise_cli import recipes

    count = len(recipes.stages(name)) if name is not None and STAGE not in context.meta else 1
    return [output.with_suffix(f".{number}.onnx") for number in range(1, count)]


def _parts(context: typer.Context, output: Path, name: str | None) -> dict[str, Path]:
    """The recipes that a recipe is the average of or begins with, and where their models go; empty for most."""
    from denoise_cli import recipes

    of = recipes.find(name).made_of if name is not None and STAGE not in context.meta else ()
    return {part: output.with_suffix(f".{part}.onnx") for part in of}


def _is_average(context: typer.Context, name: str | None) -> bool:
    from denoise_cli import recipes

    return name is not None and STAGE not in context.meta and bool(recipes.find(name).average_of)


def _trained(context: typer.Context, train: Callable[..., None], values: Mapping[str, Any]) -> list[Path]:
    """Train the models that a recipe is made of, under --resume those that are missing; returns where they are."""
    from denoise_cli import recipes

    parts = _parts(context, values["output"], values["recipe"])
    if parts:
        _clear(context, values)
    for part, path in parts.items():
        if not (values["resume"] and path.exists()):
            options = {**_defaults(context, values["recipe"]), **_unsaid(context, recipes.stages(part)[-1])}
            train(**{**values, **options, "recipe": part, "output": path})
    return list(parts.values())


def _defaults(context: typer.Context, name: str) -> dict[str, Any]:
    """The command's own values of what a recipe names: the recipes that it is made of are not to inherit these."""
    from denoise_cli import recipes

    named = _unsaid(context, recipes.stages(name)[-1])
    return {option.name: option.default for option in context.command.params if option.name in named}


def _unsaid(context: typer.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a stage that the command line does not overrule. The kind has been read with the last stage's."""
    return {key: value for key, value in options.items() if key != "kind" and not opt.given(context, key)}


def title(context: typer.Context, name: str | None) -> str:
    """What the card says of the recipe."""
    return (name or "") + (f", stage {context.meta[STAGE]}" if STAGE in context.meta else "")


def beginning(context: typer.Context, train: Callable[..., None], values: Mapping[str, Any]) -> Path | None:
    """Train the model that a recipe begins with, and return its file; None where it begins with none."""
    return next(iter(_trained(context, train, values)), None)


def earlier_stages(context: typer.Context, train: Callable[..., None], values: Mapping[str, Any]) -> Path | None:
    """Train all but the last stage of a recipe: model.1.onnx, ...; returns the checkpoint for the last one.

    A stage whose model is there is not done again under --resume; one that is half done goes on.
    """
    from denoise_cli import recipes
    from denoise_cli.train.paths import Paths

    output, init = values["output"], values["init"]
    if values["recipe"] is None or STAGE in context.meta:
        return init
    if not _parts(context, output, values["recipe"]):  # else that has been done
        _clear(context, values)
    stages = recipes.stages(values["recipe"])[:-1]
    paths = _earlier(context, output, values["recipe"])
    for number, (path, stage) in enumerate(zip(paths, stages, strict=True), 1):
        if not (values["resume"] and path.exists()):
            context.meta[STAGE] = number
            train(**{**values, **_unsaid(context, stage), "output": path, "init": init})
            del context.meta[STAGE]
        init = path if stage.get("keep") else Paths(path).checkpoint  # which has what was learnt alone
    return init


def check_outputs(context: typer.Context, values: Mapping[str, Any], *, sheet: bool) -> None:
    """Raise what `check_output` does for every file that a training by a recipe writes, before any is."""
    from denoise_cli.errors import UsageError
    from denoise_cli.train.paths import check_name, check_output

    check_name(values["output"])
    resume, overwrite = values["resume"], values["overwrite"]
    if values["init"] is not None and _parts(context, values["output"], values["recipe"]):
        raise UsageError(f"--init: {values['recipe']} is made of models that have a beginning of their own")

    def check(output: Path, name: str | None) -> None:
        _, *others = outputs(context, output, name)
        check_output(output, resume, overwrite, sheet=sheet, parts=others if _is_average(context, name) else None)
        for path in _earlier(context, output, name):
            check_output(path, resume, overwrite, sheet=sheet)
        for part, path in _parts(context, output, name).items():
            check(path, part)

    check(values["output"], values["recipe"])


def _clear(context: typer.Context, values: Mapping[str, Any]) -> None:
    """Under --overwrite, take away what --resume would take for finished, should this end before it is replaced."""
    from denoise_cli.train.paths import Paths

    if values["overwrite"]:
        _, *others = outputs(context, values["output"], values["recipe"])
        for path in others:
            path.unlink(missing_ok=True)
            Paths(path).checkpoint.unlink(missing_ok=True)


def averages(context: typer.Context, train: Callable[..., None], values: Mapping[str, Any]) -> bool:
    """Train every model that a recipe is the average of, and write the average; False where it is of none."""
    from denoise_cli.cli.average import write

    if not _is_average(context, values["recipe"]):
        return False
    write(_trained(context, train, values), values["output"], quiet=values["quiet"])
    return True
