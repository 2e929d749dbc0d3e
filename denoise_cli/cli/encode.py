"""``denoise encode`` and ``denoise decode``: pictures to latent arrays and back, for models with a bottleneck."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

from denoise_cli.cli import options as opt
from denoise_cli.cli import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

Needed = Annotated[str, typer.Option("-m", "--model", help="An .onnx file with a bottleneck.", show_default=False)]


def encode(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Pictures, folders, globs; or one array file, idx, .npz or .npy."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the latents go, .npy or .npz.")],
    model: Needed,
    device: opt.Device = "auto",
    on_exists: opt.NeverSkipped = None,
    quiet: opt.Quiet = False,
) -> None:
    """Write the latent arrays of pictures: (N, K) float32, or (N, K, h, w) of pictures with more than one cell.

    All pictures are of one size. Beside latents.npy stands latents.json with their names in order, their size and
    the model; latents.npz holds everything.
    """
    import numpy as np

    from denoise_cli import latents, shipped
    from denoise_cli.errors import DenoiseError, InputError, RefusedError
    from denoise_cli.halves import Halves
    from denoise_cli.media import arrays, files

    latents.check(output)
    also = [latents.beside(output)] if output.suffix.lower() == ".npy" else []
    files.keep_apart([output, *also], [arrays.split(Path(name))[0] for name in inputs])
    todo = _to_write([output, *also], on_exists, quiet)
    if not todo:
        return
    if also and len(todo) == 1:
        there = output if todo == also else also[0]
        raise RefusedError(f"{there} is there and {todo[0]} is not, so it may be anything; name another -o")
    files.check_writable([output])
    halves = Halves(shipped.locate(model), device)
    values: list[np.ndarray] = []
    names: list[str] = []
    shape: tuple[int, ...] | None = None  # of one picture
    failed = 0
    for name, read in _pictures(inputs):
        try:
            label, pixels = read()  # a picture's name; those of an array file have none
            if shape is not None and pixels.shape[1:] != shape:
                raise InputError(f"is {_size(pixels.shape[1:])}, and those before are {_size(shape)}")
            values += latents.encode(pixels, halves)
            shape = pixels.shape[1:]
            names += latents.numbered(len(pixels), len(names)) if label is None else [label]
        except DenoiseError as error:
            if error.exit_code != 1:
                raise
            failed += 1
            screen.say(str(error) if name in str(error) else f"{name}: {error}")
    if shape is None:
        if failed != 1:  # of one its own line has said it
            screen.say("nothing was encoded")
        raise typer.Exit(1)
    made_by = halves.card.name, halves.fingerprint
    found = latents.Latents(np.concatenate(values), names, shape[1], shape[2], shape[0], *made_by)
    latents.write(found, output)
    if not quiet:
        count, *rest = found.values.shape
        what = "x".join(map(str, rest)) if rest[1:] != [1, 1] else str(rest[0])
        numbers, before = int(np.prod(rest)), int(np.prod(shape))
        screen.say(
            f"{output}: {count} pictures, {what} numbers each instead of {before} ({before / numbers:.3g}:1)"
        )
    raise typer.Exit(1 if failed else 0)


def decode(
    source: Annotated[Path, typer.Argument(metavar="LATENTS", help="What encode wrote, .npy or .npz.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A folder for .png files; or .npy for all as one array.")
    ],
    model: Needed,
    device: opt.Device = "auto",
    on_exists: opt.NeverSkipped = None,
    quiet: opt.Quiet = False,
) -> None:
    """Turn latent arrays back into pictures, by the names they had.

    A bare .npy of (N, K) or (N, K, h, w), from any program, does too; then pictures are named 00000.png, ...
    """
    import numpy as np

    from denoise_cli import latents, shipped
    from denoise_cli.errors import UsageError
    from denoise_cli.halves import Halves
    from denoise_cli.media import arrays, files, guard
    from denoise_cli.media.files import Replacing

    if output.suffix.lower() not in ("", ".npy") and not output.is_dir():
        raise UsageError(f"-o {output}: name a folder, or an array file, .npy")
    files.keep_apart([output], [source])
    stacked = output.suffix.lower() == ".npy" and not output.is_dir()
    halves = Halves(shipped.locate(model), device)
    found = latents.read(source, halves.card)
    targets = [output] if stacked else latents.targets(found.names, output)
    if not stacked:
        guard.refuse_links(output, targets)
    todo = set(_to_write(targets, on_exists, quiet))
    if not todo:
        return
    files.check_writable(sorted(todo))
    decoded = ((y.clip(0, 1) * 255).round().astype(np.uint8) for y in latents.decode(found, halves))
    if stacked:
        with Replacing(output) as target:
            arrays.write(target.file, np.stack(list(decoded)))
            target.commit()
    else:
        from denoise_cli.media import pillow

        for path, y in zip(targets, decoded, strict=True):
            if path in todo:
                with Replacing(path) as target:
                    pillow.save(np.ascontiguousarray(y.transpose(1, 2, 0)), target.file, "png", (96, 96))
                    target.commit()
    if not quiet:
        screen.say(f"{output}: {len(found.values)} pictures of {found.width}x{found.height}")


def _to_write(targets: Sequence[Path], on_exists: opt.OnExists | None, quiet: bool) -> list[Path]:
    """Those targets that are to be written; raises RefusedError where one is there and nothing was said of it."""
    from denoise_cli.media.files import Job, settle

    jobs = [Job(None, target, Path(target.name)) for target in targets]
    todo, skipped = settle(jobs, on_exists.value if on_exists else None)
    if skipped and not quiet:
        screen.say(f"{len(skipped)} of {len(jobs)} outputs are there already")
    return [job.target for job in todo if job.target is not None]


def _pictures(inputs: Sequence[str]) -> Iterator[tuple[str, Callable[[], tuple[str | None, np.ndarray]]]]:
    """(name, function) of each file; the function reads it: what to call it, and (N, C, H, W) float32.

    Raises RefusedError for two that `decode` would have to write to one place.
    """
    from functools import partial

    from denoise_cli import latents
    from denoise_cli.errors import InputError, RefusedError, UsageError
    from denoise_cli.media import IMAGE_SUFFIXES, arrays, files

    stacks = [Path(name) for name in inputs if arrays.is_named(Path(name))]
    rest = [name for name in inputs if not arrays.is_named(Path(name))]
    if "-" in rest:
        raise UsageError("encode takes files, not -")
    found = files.find(rest, None, suffixes=IMAGE_SUFFIXES, tag="latents")
    for name, reason in found.missing:
        yield files.printable(name), partial(_missing, reason)
    for line in files.left_out(found):
        screen.say(line)
    if not stacks and not found.jobs and not found.missing:
        raise UsageError("no pictures to encode")
    try:
        latents.targets([latents.as_text(str(job.relative)) for job in found.jobs], Path())
    except InputError as error:
        raise RefusedError(f"{error} by decode; encode them one by one") from None
    for job in found.jobs if stacks else ():
        if str(job.relative.with_suffix("")).isdecimal():
            name = files.printable(job.relative)
            raise RefusedError(
                f"{name} could not be told from the numbered pictures of {stacks[0]}; encode it alone"
            )
    for path in stacks:
        yield files.printable(path), partial(_stack, path)
    for job in found.jobs:
        assert job.source is not None, "there is no stdin among them"
        yield files.printable(job.source), partial(_picture, job.source, str(job.relative))


def _missing(reason: str) -> Never:
    from denoise_cli.errors import InputError

    raise InputError(reason)


def _stack(path: Path) -> tuple[None, np.ndarray]:
    from denoise_cli.media import arrays

    return None, arrays.read(path).pixels.astype("float32") / 255


def _picture(path: Path, name: str) -> tuple[str, np.ndarray]:
    from denoise_cli.errors import InputError
    from denoise_cli.media import image

    signal = image.shown(image.read(path))  # latents know no orientation
    if signal.header.frames > 1:
        raise InputError(f"has {signal.header.frames} frames; encode takes still pictures")
    return name, signal.data[None]


def _size(shape: Sequence[int]) -> str:
    return f"{shape[2]}x{shape[1]} with {shape[0]} channels"
