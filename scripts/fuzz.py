"""Fuzz our own parsers, which must answer any bytes with a value or an error of ours, and at once.

python scripts/fuzz.py TARGET [--seconds 60] [--engine atheris|mutations] [--seed 0] [--save DIR]

Targets: those of fuzz_targets.py. With atheris (pip install atheris) new inputs are found by
the code that they reach; without it, random mutations of the examples have to do. An input that breaks a parser is
written to DIR and ends the script with exit code 1; it belongs into tests/reliability/test_fuzz.py.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from fuzz_targets import TARGETS, Target


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to eight small edits: bits, bytes, numbers that programs stumble over, pieces moved or gone."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            value = rng.choice(
                [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1]
            )
            size = rng.choice([1, 2, 4, 8])
            out[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, rng.choice(["little", "big"]))
        elif kind == 2:
            del out[at : at + rng.randint(1, 16)]
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == 4:
            start = rng.randrange(len(out) + 1)
            out[at:at] = out[start : start + rng.randint(1, 32)]
        else:
            out[at : at + 1] = rng.choice(
                [b"-", b"e", b".", b",", b"=", b":", b"+", b"|", b'"', b"9", b"\0", b"inf", b"nan"]
            )
    return bytes(out)


def mutations(target: Target, seed: int, seconds: float = float("inf"), count: float = float("inf")) -> int:
    """Try mutations of the examples and of mutations; returns how many, raises Broken at the first that breaks."""
    rng, pool, tried = random.Random(seed), list(target.examples()), 0
    end = time.monotonic() + seconds
    while tried < count and time.monotonic() < end:
        data = pool[tried] if tried < len(pool) else mutated(rng.choice(pool), rng)
        try:
            whole = target.parse(data) is not None
        except Exception as error:
            raise Broken(data) from error
        if (
            whole and len(pool) < 500 and len(data) < 10_000
        ):  # what is still understood goes deeper than what is not
            pool.append(data)
        tried += 1
    return tried


class Broken(Exception):
    """The input that a parser broke on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--engine", choices=("atheris", "mutations"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, default=Path("findings"))
    asked = parser.parse_args()
    target = TARGETS[asked.target]
    try:
        import atheris
    except ImportError:
        atheris = None
    if asked.engine == "atheris" and atheris is None:
        sys.exit("atheris is not installed; run: pip install atheris")
    if atheris is None or asked.engine == "mutations":
        try:
            print(f"{asked.target}: {mutations(target, asked.seed, asked.seconds):,} mutations, nothing found")
        except Broken as found:
            asked.save.mkdir(parents=True, exist_ok=True)
            (asked.save / f"{asked.target}.bin").write_bytes(found.args[0])
            print(f"{asked.target}: {found.args[0]!r}: {type(found.__cause__).__name__}: {found.__cause__}")
            sys.exit(1)
        return
    corpus = asked.save / f"{asked.target}.corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["denoise_cli"]):
        for number, example in enumerate(target.examples()):
            (corpus / f"example{number}").write_bytes(example)
            target.parse(example)  # imports what the target needs
    options = [f"-max_total_time={asked.seconds}", f"-seed={asked.seed + 1}", "-timeout=10",
               "-rss_limit_mb=2048", f"-artifact_prefix={asked.save}/{asked.target}.", "-max_len=8192",
               "-print_final_stats=1", str(corpus)]  # fmt: skip

    def once(data: bytes) -> None:
        target.parse(data)

    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
