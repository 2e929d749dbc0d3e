"""Writes models/README.md from the cards inside models/*.onnx.

python scripts/make_model_cards.py [--check]

With --check nothing is written, and the exit code is 1 if the file is not what the cards say.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denoise_cli.card import ModelCard
from denoise_cli.session import Session

FOLDER = Path(__file__).resolve().parent.parent / "models"


def purpose(card: ModelCard) -> str:
    if card.kind == "audio":
        return f"Recordings of any rate and any number of channels, heard at {card.rate} Hz"
    told = "told the noise level" if card.noise_input else "blind"
    told = "blind or told the noise level" if card.noise_optional else told
    return f"{'Colour and gray' if card.channels == 3 else 'Gray'} pictures, {told}"


def unit(card: ModelCard) -> str:
    return "samples" if card.kind == "audio" else "pixels"


def architecture(arch: str, net: Mapping[str, Any]) -> str:
    if "of" in net:
        return f"{arch} of " + "; ".join(architecture(part["arch"], part["net"]) for part in net["of"])
    return f"{arch}, {listed(net)}"


def listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(values.items()) if value is not None)


def trainings(card: ModelCard) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Name, command and settings of each net of an average; of a single one without name and command."""
    return [
        (part["name"], part["command"], {key: part[key] for key in part if key not in ("name", "command")})
        for how in ("average_of", "weights_of")
        for part in card.training.get(how, ())
    ] or [("", "", card.training)]


def page(cards: list[tuple[Path, ModelCard]]) -> str:
    lines = ["# Models", "", "Made from the cards in the files by `scripts/make_model_cards.py`; do not edit.", ""]
    for path, card in cards:
        size, spec = path.stat().st_size / 1e6, card.noise.replace("|", r"\|")  # a bar would end the cell
        lines += [
            f"## {path.name}",
            "",
            f"{purpose(card)}; {size:.1f} MB; licence: {card.licence}.",
            "",
            "| | |",
            "|---|---|",
            f"| architecture | {architecture(card.arch, card.net)} |",
            f"| tiles | multiple of {card.multiple} {unit(card)}, halo {card.halo} |",
            *([] if card.level is None else [f"| hears recordings | near {card.level:g} dB of full scale |"]),
            f"| training noise | `{spec}` |",
            f"| training data | {card.data} |",
            *(f"| {f'training {name}'.strip()} | {listed(settings)} |" for name, _, settings in trainings(card)),
            f"| made with | {card.created_with} |",
            *(f"| {name} | {value} |" for name, value in sorted(card.metrics.items())),
            "",
            "```",
            *(command for _, command, _ in trainings(card) if command),
            card.command,
            "```",
            "",
        ]
    return "\n".join(lines)


def main() -> int:
    text = page([(path, Session(path, "cpu").card) for path in sorted(FOLDER.glob("*.onnx"))])
    target = FOLDER / "README.md"
    if "--check" in sys.argv[1:]:
        same = target.exists() and target.read_text() == text
        print(
            f"{target.name} is {'what the cards say' if same else 'out of date: run scripts/make_model_cards.py'}"
        )
        return 0 if same else 1
    target.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
