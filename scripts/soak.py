"""Many small files in one run, one in a hundred damaged: does memory stay flat, and are the counts right?

python scripts/soak.py [--files 20000] [--bad 0.01] [--model image] [--folder DIR]

Prints the median of the command's resident memory in each quarter of the run and the counts of its report; exits
with 1 where the last quarter takes over 5 % more than the second, or a count is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE = 24  # pixels
TOLERANCE = 1.05


def fill(folder: Path, files: int, bad: float) -> int:
    """Make the files, in folders of 500; returns how many are damaged."""
    from PIL import Image

    rng, damaged = np.random.default_rng(0), 0
    every = round(1 / bad) if bad else files + 1
    for number in range(files):
        path = folder / f"{number // 500:03}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path, compress_level=1)
        if number % every == every - 1:
            path.write_bytes(path.read_bytes()[:300])
            damaged += 1
    return damaged


def resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def watch(process: subprocess.Popen[bytes], output: Path, total: int) -> list[tuple[float, int]]:
    """(share of the outputs that are there, resident bytes), again and again until the process ends."""
    seen: list[tuple[float, int]] = []
    while process.poll() is None:
        began = time.monotonic()
        done = sum(len(names) for _, _, names in os.walk(output))
        try:
            seen.append((done / total, resident(process.pid)))
        except (OSError, IndexError):  # it has just ended
            break
        time.sleep(0.1 + 10 * (time.monotonic() - began))  # looking on takes a tenth of one core at most
    return seen


def quarters(seen: list[tuple[float, int]]) -> list[float]:
    """Median megabytes in each quarter of the work."""
    parts = [[size for share, size in seen if low / 4 <= share < (low + 1) / 4] for low in range(4)]
    return [float(np.median(part)) / 1e6 if part else float("nan") for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--bad", type=float, default=0.01, help="share of damaged files")
    parser.add_argument("--model", default="image")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        work = Path(name)
        damaged = fill(work / "in", asked.files, asked.bad)
        report = work / "report.json"
        command = [sys.executable, "-m", "denoise_cli", "run", work / "in", "-o", work / "out", "-m", asked.model]
        with (work / "stderr").open("wb") as lines:
            process = subprocess.Popen([*map(str, command), "--report", str(report)], stderr=lines)
            seen = watch(process, work / "out", asked.files - damaged)
        told = json.loads(report.read_text())
        written = sum(len(names) for _, _, names in os.walk(work / "out"))
        said = len((work / "stderr").read_text().splitlines())
    memory = quarters(seen)
    print("memory by quarter: " + ", ".join(f"{size:.1f}" for size in memory) + " MB")
    print(
        f"{told['files']} files, {told['failed']} failed, {written} written, {said} lines,"
        f" exit code {process.returncode}"
    )
    counts = (asked.files, damaged, asked.files - damaged, damaged + 1, 1 if damaged else 0)
    right = (told["files"], told["failed"], written, said, process.returncode) == counts
    flat = memory[3] <= TOLERANCE * memory[1]
    print("counts are exact" if right else f"COUNTS ARE WRONG: wanted {counts}")
    print("memory is flat" if flat else "MEMORY GROWS")
    sys.exit(0 if right and flat else 1)


if __name__ == "__main__":
    main()
