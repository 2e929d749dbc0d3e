"""What `denoise run` costs beside the network: a folder of photographs against bare onnxruntime.

    python benchmarks/pipeline.py DATA [--model NAME] [--count 100] [--megapixels 2]

Photographs of about 2 megapixels are made from DATA/images/train/clic2025 (tiled and cropped), noise is
added, and they are written as JPEG and as PNG. Without --model each is looked at for its noise, as by the command.
"Bare" calls a session, of `image` or of that model, on tiles of the same shapes, already in memory, on as many
threads. Folder and bare runs take turns; the ratio of medians is printed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from denoise_cli import denoise, media, memory
from denoise_cli.media import files
from denoise_cli.models import Models, choose
from denoise_cli.session import Session
from denoise_cli.signal import Header


def photographs(data: Path, megapixels: float) -> list[np.ndarray]:
    """A dozen (H, W, 3) uint8 pictures in the shape 4 : 3."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(width * 3 / 4)
    made = []
    for index, path in enumerate(sorted((data / "images" / "train" / "clic2025").iterdir())[:12]):
        x = np.asarray(Image.open(path).convert("RGB"))
        x = np.tile(x, (-(-height // x.shape[0]), -(-width // x.shape[1]), 1))[:height, :width]
        noise = np.random.default_rng(index).normal(0, 15, x.shape)
        made.append((x + noise).clip(0, 255).round().astype(np.uint8))
    return made


def bare(session: Session, header: Header, count: int, threads: int) -> Callable[[], float]:
    """A call that infers the tiles of `count` pictures of this shape and returns the seconds it took."""
    rows, columns = denoise.plan(header, session.card.halo, session.card.multiple, denoise.TILE)
    multiple = session.card.multiple
    shapes = [
        tuple(-(-(cut.high - cut.low) // multiple) * multiple for cut in (row, column))
        for row in rows
        for column in columns
    ]
    print(f"tiles of a picture: {shapes}")
    tiles = [
        np.random.default_rng(0).random((1, session.card.channels, *shape), dtype=np.float32) for shape in shapes
    ]

    def call() -> float:
        todo, lock = iter(tiles * count), threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    tile = next(todo, None)
                if tile is None:
                    return
                session(tile)

        began = time.perf_counter()
        running = [threading.Thread(target=work) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        return time.perf_counter() - began

    return call


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--megapixels", type=float, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", type=int, default=5, help="the folder is done in so many turns")
    arguments = parser.parse_args()
    memory.keep_freed()  # as the command does
    models = Models(arguments.model, device="cpu")
    session = models.only or Session(choose("image", "auto", "cpu"), "cpu")
    pictures = photographs(arguments.data, arguments.megapixels)
    options = denoise.Options(threads=arguments.threads)
    part = max(1, arguments.count // arguments.parts)
    for name, suffix, keywords in (("JPEG", ".jpg", {"quality": 95}), ("PNG", ".png", {"compress_level": 1})):
        with tempfile.TemporaryDirectory() as folder:
            inputs = []
            for turn in range(arguments.parts):
                inputs.append(Path(folder, f"in{turn}"))
                inputs[-1].mkdir()
                for index in range(part):
                    picture = pictures[(turn * part + index) % len(pictures)]
                    Image.fromarray(picture).save(inputs[-1] / f"{index:03}{suffix}", **keywords)
            height, width = pictures[0].shape[:2]
            header = Header.picture((3, height, width))
            call = bare(session, header, part, arguments.threads)
            call()
            ratios, whole, alone = [], 0.0, 0.0
            for turn in inputs:
                jobs = files.find([str(turn)], str(Path(folder, "out", turn.name)), suffixes=media.SUFFIXES).jobs
                began = time.perf_counter()
                results = list(denoise.run(jobs, models.choice, options))
                took = time.perf_counter() - began
                assert len(results) == part, "every picture was done"
                assert all(result.error is None for result in results), results
                base = call()
                ratios.append(took / base)
                whole, alone = whole + took, alone + base
        megapixels = part * arguments.parts * height * width / 1e6
        print(
            f"{name}: {part * arguments.parts} pictures of {width} x {height}: {whole:.1f} s "
            f"({megapixels / whole:.2f} MP/s), bare {alone:.1f} s, "
            f"ratio {whole / alone:.3f} (median of turns {statistics.median(ratios):.3f}), by {models.latest}",
            flush=True,
        )


if __name__ == "__main__":
    main()
