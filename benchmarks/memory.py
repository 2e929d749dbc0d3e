"""Peak memory of `denoise run`, each a whole process: a 100-megapixel PNG, 2,000 small pictures, large photographs.

python benchmarks/memory.py DATA [--model NAME] [--megapixels 100] [--count 2000] [--only large|many|photographs]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def peak(command: list[str]) -> tuple[float, float]:
    """Run a command; its peak resident memory in MB and its wall seconds."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return usage.ru_maxrss / 1024, time.perf_counter() - began


def load(data: Path) -> np.ndarray:
    return np.asarray(Image.open(sorted((data / "images/train/clic2025").iterdir())[0]).convert("RGB"))


def make_large(data: Path, path: Path, side: int) -> None:
    photo = load(data)
    tiled = np.tile(photo, (-(-side // photo.shape[0]), -(-side // photo.shape[1]), 1))[:side, :side]
    Image.fromarray(tiled).save(path, compress_level=1)


def make_many(data: Path, folder: Path, count: int) -> None:
    photo = load(data)
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        top, left = (int(rng.integers(size - 160)) for size in photo.shape[:2])
        height, width = (int(rng.integers(32, 160)) for _ in range(2))
        Image.fromarray(photo[top : top + height, left : left + width]).save(folder / f"{index:05}.png")


def make_photographs(data: Path, folder: Path, count: int = 6) -> None:
    """JPEG of 4,000 x 3,000 pixels, as cameras and telephones make them."""
    photo = load(data)
    folder.mkdir()
    whole = np.tile(photo, (-(-3000 // photo.shape[0]), -(-4000 // photo.shape[1]), 1))[:3000, :4000]
    for index in range(count):
        Image.fromarray(np.roll(whole, 100 * index, axis=1)).save(folder / f"{index}.jpg", quality=90)


def elsewhere(make, *arguments: object) -> None:
    """Call in another process: a child's peak starts at what its parent holds when it is forked."""
    process = multiprocessing.get_context("spawn").Process(target=make, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0, "the pictures could not be made"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--only", choices=("large", "many", "photographs"))
    arguments = parser.parse_args()
    run = [str(Path(sys.executable).with_name("denoise")), "run", "-q"]
    run += ["-m", arguments.model] if arguments.model else []
    side = round((arguments.megapixels * 1e6) ** 0.5)

    def wanted(part: str) -> bool:
        return arguments.only in (None, part)

    with tempfile.TemporaryDirectory() as folder:
        if wanted("large"):
            large = Path(folder, "large.png")
            elsewhere(make_large, arguments.data, large, side)
            memory, seconds = peak([*run, str(large), "-o", str(Path(folder, "out.png"))])
            print(f"one PNG of {side} x {side}: peak {memory:.0f} MB, {seconds:.0f} s", flush=True)
            large.unlink()
        if wanted("many"):
            many = Path(folder, "many")
            elsewhere(make_many, arguments.data, many, arguments.count)
            memory, seconds = peak([*run, str(many)])
            print(f"{arguments.count} pictures of 32 to 160 pixels a side: peak {memory:.0f} MB, {seconds:.0f} s")
        if wanted("photographs"):
            photographs = Path(folder, "photographs")
            elsewhere(make_photographs, arguments.data, photographs)
            memory, seconds = peak([*run, str(photographs)])
            print(f"6 JPEG of 4000 x 3000: peak {memory:.0f} MB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
