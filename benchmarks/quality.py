"""PSNR and SSIM of the shipped models on the denoising papers' test sets, as `run` chooses them or of one of them.

    python benchmarks/quality.py DATA [--model gray] [--precision auto] [--only cbsd68] [--first N] [--ensemble 8]
    python benchmarks/quality.py DATA --model image --told

--told tells the model the level of the noise, as --std does; without, it has to find it.

--stamp writes the printed figures into the model's card (needs the onnx package).

DATA/images/test holds set12, bsd68 and cbsd68. "8-bit" input is clipped and rounded after the noise, which
is what every file holds; "float" is the papers' input. Outputs are rounded to 8 bits. Noise: seed 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from denoise_cli import denoise, evaluate
from denoise_cli.card import METADATA_KEY, ModelCard
from denoise_cli.corrupt import parse
from denoise_cli.media.files import Replacing
from denoise_cli.models import Models
from denoise_cli.signal import Signal

# Published, float input, sigma 15 / 25 / 50. Gray: tables of DPIR and DnCNN; colour: of DPIR and FFDNet.
PUBLISHED = {
    ("set12", "BM3D"): (32.37, 29.97, 26.72),
    ("set12", "FFDNet (sigma given)"): (32.75, 30.43, 27.32),
    ("bsd68", "BM3D"): (31.08, 28.57, 25.60),
    ("bsd68", "FFDNet (sigma given)"): (31.63, 29.19, 26.29),
    ("cbsd68", "CBM3D"): (33.52, 30.71, 27.38),
    ("cbsd68", "FFDNet (sigma given)"): (33.87, 31.21, 27.96),
}
LEVELS = (15, 25, 50)
SETS = ("set12", "bsd68", "cbsd68")  # the last in colour


def by(models: Models, options: denoise.Options, served: Counter[str], noisy: Signal) -> np.ndarray:
    """Denoise, and count which model served."""
    y = denoise.signal(noisy, models.choice, options)
    served[models.latest] += 1
    return y


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="default: as `denoise run` chooses, by the picture and its noise")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--first", type=int, default=None, help="only so many pictures of each set")
    parser.add_argument("--only", choices=SETS)
    parser.add_argument("--ensemble", type=int, default=1)
    parser.add_argument("--told", action="store_true")
    parser.add_argument("--stamp", action="store_true")
    arguments = parser.parse_args()
    if arguments.stamp and (arguments.ensemble != 1 or arguments.model is None):
        parser.error("a card tells what a model does alone: --stamp goes with --model and without --ensemble")
    told = "told" if arguments.told else "blind"
    models = Models(arguments.model, arguments.precision, "cpu")
    who = models.only.path.name if models.only else "as chosen"
    print(f"{who}: PSNR in dB (SSIM) at sigma {' / '.join(map(str, LEVELS))}")
    figures: dict[str, str] = {}
    served: Counter[str] = Counter()
    for name in SETS[:2] if models.only and models.only.card.channels == 1 else SETS:
        if arguments.only not in (None, name):
            continue
        matched = evaluate.pairs(None, arguments.data / "images" / "test" / name)[: arguments.first]
        for (listed, method), scores in PUBLISHED.items():
            if listed == name:
                print(f"{name:8} {method + ', published, float':38} " + " / ".join(f"{s:.2f}" for s in scores))
        for label, clip in (("8-bit", True), ("float", False)):
            began, cells = time.perf_counter(), []
            for level in LEVELS:
                noise = parse(f"gaussian:std={level}")
                options = denoise.Options(ensemble=arguments.ensemble, std=level if arguments.told else None)
                denoised = partial(by, models, options, served)
                scored = evaluate.evaluate(matched, denoised, noise, clip=clip)
                mean = evaluate.means([item.row for item in scored if isinstance(item, evaluate.Scored)])
                cells.append(f"{mean['psnr']:.2f} ({mean['ssim']:.4f})")
            about = f"{label} input" + (", told" if arguments.told else "")
            figures[f"{name} PSNR at sigma 15 / 25 / 50, {about}"] = " / ".join(c.split()[0] for c in cells)
            seconds = time.perf_counter() - began
            line = f"{name:8} {f'here, {told}, {label}':38} " + " / ".join(cells)
            print(f"{line}   [{len(matched)} files, {seconds:.0f} s]", flush=True)
    if models.only is None:
        print("models that served: " + ", ".join(f"{name} {count}" for name, count in sorted(served.items())))
    elif arguments.stamp:
        stamp(models.only.path, figures)


def stamp(path: Path, figures: dict[str, str]) -> None:
    """Put the figures into the card of a model file, beside those it has."""
    import onnx

    model = onnx.load(path)
    (entry,) = (prop for prop in model.metadata_props if prop.key == METADATA_KEY)
    card = ModelCard.from_json(entry.value)
    entry.value = dataclasses.replace(card, metrics={**card.metrics, **figures}).to_json()
    with Replacing(path) as target:
        target.file.write(model.SerializeToString())
        target.commit()


if __name__ == "__main__":
    main()
