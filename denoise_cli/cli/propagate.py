"""``denoise propagate``: what becomes of Gaussian noise in layers that are named, or in a real network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denoise_cli.cli import options as opt
from denoise_cli.cli import screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from denoise_cli.noise.layers import Step
    from denoise_cli.noise.study import Study

LAYERS_ONLY, NETWORK_ONLY = ("mu", "sigma", "samples"), ("std", "draws", "crop")
LARGEST = 2550.0  # of --std, 8-bit steps: ten times full scale


def propagate(
    context: typer.Context,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] PICTURE",
            help="A network and a clean picture; the model may be left out.",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option("--layers", metavar="SPEC", help="Layers instead of a network: conv(9*0.11),relu,maxpool(4)."),
    ] = None,
    mu: Annotated[float, typer.Option("--mu", help="--layers: mean of the input.")] = 0.0,
    sigma: Annotated[float, typer.Option("--sigma", help="--layers: standard deviation of the input.")] = 1.0,
    samples: Annotated[
        int, typer.Option("--samples", min=100, max=10_000_000, help="--layers: Monte Carlo draws.")
    ] = 1_000_000,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="--layers: draw the densities: .png or .jpg.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", help="A model for pictures: image, gray, ..., or an .onnx file.", show_default="image"
        ),
    ] = None,
    std: Annotated[float, typer.Option("--std", help="Network: noise on the picture, 8-bit steps.")] = 25.0,
    draws: Annotated[int, typer.Option("--draws", min=8, max=1024, help="Network: noisy pictures.")] = 32,
    crop: Annotated[
        int, typer.Option("--crop", min=1, max=1024, help="Network: side of the picture's centre to take, pixels.")
    ] = 256,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Network: write all of it as one .html file.")
    ] = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """How Gaussian noise passes through a network: the exact theory, or a real network measured.

    denoise propagate --layers "conv(9*0.11),relu,maxpool(4)" --mu 0 --sigma 1 --plot out.png: moments, atom and
    Kolmogorov-Smirnov distance between theory and draws after each layer. The layers are conv(WEIGHTS,bias=B),
    where 9*0.11 is nine weights, relu, leaky-relu(SLOPE), tanh, sigmoid and maxpool(N).

    denoise propagate model.onnx photo.png --std 25 --report out.html: the noise in every layer of a network over
    many draws, beside what moment propagation predicts, and what follows in words.
    """
    from denoise_cli.errors import UsageError
    from denoise_cli.media.files import check_writable, keep_apart

    check_writable([plot, report])
    if layers is not None:
        if inputs or model or report:
            raise UsageError("--layers takes no model, picture or --report: it is theory")
        _refuse(context, NETWORK_ONLY, "is for a network and a picture, not for --layers")
        _theory(layers, mu, sigma, samples, plot, seed, json, quiet)
        return
    if plot is not None:
        raise UsageError("--plot goes with --layers; of a network, --report draws everything")
    _refuse(context, LAYERS_ONLY, "goes with --layers; the noise on a picture is --std")
    given = inputs or []
    if not 1 <= len(given) <= (1 if model else 2):
        raise UsageError("give --layers SPEC, or a network and one clean picture: [MODEL] PICTURE")
    if not 0 < std <= LARGEST:
        raise UsageError(f"--std {std:g}: above 0 and at most {LARGEST:g}, in 8-bit steps")
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {report}: write .html")
    keep_apart([report], [Path(name) for name in (*given, model) if name])
    _network(model or (given[0] if len(given) == 2 else "image"), Path(given[-1]), std, draws, crop, report, seed,
             json, quiet)  # fmt: skip


def _refuse(context: typer.Context, names: Sequence[str], why: str) -> None:
    """Refuse options that would be given for nothing."""
    from denoise_cli.errors import UsageError

    for name in names:
        if opt.given(context, name):
            raise UsageError(f"--{name} {why}")


# --- Theory -----------------------------------------------------------------------------------------------


def _theory(
    spec: str, mu: float, sigma: float, samples: int, plot: Path | None, seed: int, json: bool, quiet: bool
) -> None:
    import numpy as np

    from denoise_cli import pictures
    from denoise_cli import report as reports
    from denoise_cli.noise import drawing, sampling
    from denoise_cli.noise import layers as library

    if plot is not None:
        pictures.check(plot)
    parsed = library.parse(spec)
    steps = library.propagate(parsed, mu, sigma)
    drawn = sampling.draw(parsed, mu, sigma, samples, np.random.default_rng(seed))
    distances = [sampling.ks_distance(x, step.law) for step, x in zip(steps, drawn, strict=True)]
    if plot is not None:
        pictures.save(drawing.page(steps, drawn), plot)
    if json:
        rows = [_row(step, distance) for step, distance in zip(steps, distances, strict=True)]
        about = {"layers": library.spell(parsed), "mu": mu, "sigma": sigma, "samples": samples, "seed": seed}
        screen.put(reports.as_json(reports.finite({**about, "rows": rows})))
        return
    if quiet:
        return
    heads = ["layer", "mean", "std", "skewness", "kurtosis", "P(X = atom)", "KS to draws", "theory"]
    screen.table(heads, [_cells(step, distance) for step, distance in zip(steps, distances, strict=True)])
    if not all(step.exact for step in steps):
        screen.say(
            "approximate: a convolution of what is not Gaussian has exact moments; from there on the Gaussian with "
            "these moments stands for it"
        )


def _row(step: Step, distance: float) -> dict[str, Any]:
    moments, atom = step.moments, step.law.atom
    return {
        "layer": step.name, "mean": moments.mean, "std": moments.std, "skewness": moments.skewness,
        "kurtosis": moments.kurtosis, "atom": atom and atom[0], "p_atom": atom[1] if atom else 0.0,
        "ks": distance, "exact": step.exact,
    }  # fmt: skip


def _cells(step: Step, distance: float) -> list[str]:
    row = _row(step, distance)
    atom = f"P(X = {row['atom']:.4g}) = {row['p_atom']:.4f}" if step.law.atom else "0"
    return [
        row["layer"], *(format(row[key], "z.4f") for key in ("mean", "std", "skewness", "kurtosis")),
        atom, f"{distance:.4f}", "exact" if step.exact else "approximate",
    ]  # fmt: skip


# --- A network --------------------------------------------------------------------------------------------


def _network(
    model: str, picture: Path, std: float, draws: int, crop: int, report: Path | None, seed: int, json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    from denoise_cli import report as reports
    from denoise_cli import shipped
    from denoise_cli.errors import UsageError
    from denoise_cli.media.files import Replacing
    from denoise_cli.model_file import ModelFile
    from denoise_cli.noise import page, verdict
    from denoise_cli.noise import study as library
    from denoise_cli.session import Session

    path = shipped.locate(model)
    card = Session(path, "cpu").card  # which checks the file, and tries it in a sandbox
    if card.kind != "image":
        raise UsageError(f"{path}: is for {card.kind} files; propagate looks into models for pictures")
    if card.precision != "float":
        raise UsageError(f"{path}: is in {card.precision}; propagate looks into the float form")
    clean, gray, notes = _centre(picture, card, crop)
    with screen.bar(100, " %", quiet=quiet or json) as bar:
        found = library.study(
            ModelFile.read(path).data, clean, std / 255, draws, seed=seed, gray=gray,
            progress=lambda fraction, note: bar.update(completed=100 * fraction, note=note),
        )  # fmt: skip
    if report is not None:
        with Replacing(report) as target:
            target.file.write(page.page(found, card.name, picture.name, notes).encode("utf-8", "backslashreplace"))
            target.commit()
    if json:
        answer = dict(verdict.words(found))
        about = {
            "model": card.name, "picture": str(picture), "std": std, "draws": draws, "seed": seed, "notes": notes,
            "psnr_before": found.psnr[0], "psnr_after": found.psnr[1], "answer": answer,
        }  # fmt: skip
        screen.put(reports.as_json(reports.finite({**about, "layers": _plain(found)})))
        return
    if quiet:
        return
    for note in notes:
        screen.say(note)
    screen.table(list(page.COLUMNS), [page.cells(row) for row in found.rows])
    for head, text in verdict.words(found):
        screen.put(f"\n{head}\n  {text}\n")


def _centre(path: Path, card: Any, crop: int) -> tuple[Any, bool, list[str]]:
    """The picture's centre as the model takes it, whether its channels are one and the same, and what was done."""
    from denoise_cli.errors import InputError, printable
    from denoise_cli.media import image

    signal = image.read(path)
    x = signal.data[:, : signal.header.length]  # of an animation, the first frame
    notes, gray = [], False
    if len(x) == 1 and card.channels == 3:
        x, gray = x.repeat(3, axis=0), True
        notes.append(
            "gray picture: the model gets it, and one noise, three times; prediction takes the three apart"
        )
    elif len(x) >= 3 and card.channels == 1:
        x = x[:3].mean(axis=0, keepdims=True)
        notes.append("the model is for one channel: the picture was made gray")
    if len(x) != card.channels:
        raise InputError(f"{printable(path)}: has {len(x)} channels, the model takes {card.channels}")
    sides = [min(size, crop) // card.multiple * card.multiple for size in x.shape[1:]]
    if not all(sides):
        raise InputError(f"{printable(path)}: the model needs {card.multiple} x {card.multiple} pixels or more")
    top, left = ((size - side) // 2 for size, side in zip(x.shape[1:], sides, strict=True))
    return x[:, top : top + sides[0], left : left + sides[1]], gray, notes


def _plain(found: Study) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [{key: value for key, value in asdict(row).items() if key != "histogram"} for row in found.rows]
