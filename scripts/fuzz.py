"""Fuzz our own parsers, which must answer any bytes with a value or an error of ours, and at once.

python scripts/fuzz.py TARGET [--seconds 60] [--engine atheris|mutations] [--seed 0] [--save DIR]

Targets: card spec riff ogg mp3 pnm gif webp tiff model. With atheris (pip install atheris) new inputs are found by
the code that they reach; without it, random mutations of the examples have to do. An input that breaks a parser is
written to DIR and ends the script with exit code 1; it belongs into tests/reliability/test_fuzz.py.
"""

from __future__ import annotations

import argparse
import io
import random
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    parse: Callable[[bytes], object]  # raises only what is no fault of the parser's
    examples: Callable[[], list[bytes]]


class Counted(io.BytesIO):
    """A file that knows how much was asked of it: a parser may not believe a header and read on and on."""

    reads = asked = 0

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        self.reads += 1
        self.asked += max(0, size or 0)
        if self.reads > 2_000_000 or self.asked > 1 << 40:
            raise RuntimeError(f"{self.reads} reads of {self.asked} bytes")
        return super().read(size)


def ours(parse: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def guarded(data: bytes) -> object:
        from denoise_cli.errors import DenoiseError

        try:
            return parse(data)
        except DenoiseError as error:
            if not str(error).splitlines() or len(str(error)) > 20_000:
                raise RuntimeError("an error without words, or with far too many") from error
            return None

    return guarded


def _card(data: bytes) -> object:
    from denoise_cli.card import ModelCard

    card = ModelCard.from_json(data.decode("utf-8", "surrogateescape"))
    if ModelCard.from_json(card.to_json()) != card:
        raise RuntimeError("a card that changes when it is written and read")
    return card


def _cards() -> list[bytes]:
    from denoise_cli.card import ModelCard

    full = ModelCard("x", kind="audio", rate=16_000, multiple=256, halo=9, net={"widths": [1, 2]}, noise="gaussian")
    return [ModelCard("x").to_json().encode(), full.to_json().encode(), b'{"name": 1e309, "schema": 1}', b"[]"]


def _spec(data: bytes) -> object:
    from denoise_cli.corrupt import parse

    chain = parse(data.decode("utf-8", "replace"))
    if str(parse(str(chain))) != str(chain):
        raise RuntimeError(f"{chain} is read as {parse(str(chain))}")
    return chain


def _specs() -> list[bytes]:
    return [
        b"gaussian:std=25,mean=0",
        b"gaussian:std=0-55|camera+jpeg:quality=60-95,p=0.5",
        b"hum:frequency=50,std=0.05,harmonics=8+clicks:rate=5",
        b"salt-pepper:amount=1e-3",
        b"gaussian:snr=-5-20",
        b"uniform:width=0.5fs",
        b"masking:amount=0.25,size=1-3,value=0",
        b"poisson:peak=30",
    ]


def _riff(data: bytes) -> object:
    from denoise_cli.media import chunks

    return chunks.honest(Counted(data))  # type: ignore[arg-type]


def _riffs() -> list[bytes]:
    body = b"\1\2" * 50
    fmt = struct.pack("<IHHIIHH", 16, 1, 1, 48_000, 96_000, 2, 16)
    wav = b"RIFF" + struct.pack("<I", 136) + b"WAVEfmt " + fmt + b"data" + struct.pack("<I", 100) + body
    sizes = struct.pack("<QQQI", 160, 100, 50, 0)
    rf64 = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + sizes + wav[12:40] + b"\xff" * 4 + body
    aiff = b"FORM" + struct.pack(">I", 120) + b"AIFFSSND" + struct.pack(">I", 108) + bytes(8) + body
    caf = b"caff\0\1\0\0desc" + struct.pack(">Q", 32) + bytes(32) + b"data" + struct.pack(">q", -1) + body
    w64 = bytes.fromhex("726966662e91cf11a5d628db04c10000") + struct.pack("<Q", 200) + b"wave" + bytes(12) + \
        bytes.fromhex("64617461f3acd3118cd100c04f8edb8a") + struct.pack("<Q", 124) + body  # fmt: skip
    au = b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFF, 3, 48_000, 1) + body
    return [wav, wav[:40] + b"\xff" * 4 + body, rf64, aiff, caf, w64, au]


def _ogg(data: bytes) -> object:
    from denoise_cli.media import ogg

    file = Counted(data)
    ogg.renumber(file)
    return ogg.is_cut(file)


def _oggs() -> list[bytes]:
    page = b"OggS\0\2" + bytes(8) + b"\1\2\3\4" + bytes(8) + b"\2\5\3" + b"abcdefgh"
    return [page, page * 3, page[:-2]]


def _mp3(data: bytes) -> object:
    from denoise_cli.media import mp3

    return mp3.tag(Counted(data)), mp3.tells_its_length(Counted(data))


def _pnm(data: bytes) -> object:
    from denoise_cli.media import pillow

    try:
        opened = pillow.Opened(Counted(data), "ppm")
        return opened.array() if opened.width * opened.height < 1 << 20 else None
    except (ValueError, SyntaxError, EOFError, OSError):  # what image.py turns into an error of its file
        return None


def _gif(data: bytes) -> object:
    from denoise_cli.media import probe

    return probe.unsupported(Counted(data), "gif")


def _webp(data: bytes) -> object:
    from denoise_cli.media import probe

    return probe.is_lossless(Counted(data), "webp"), probe.is_lossless(Counted(data), "avif")


def _tiff(data: bytes) -> object:
    from denoise_cli.media import probe

    return probe.tiff_compression(Counted(data))


def _pictures(format: str, **options: object) -> Callable[[], list[bytes]]:
    def make() -> list[bytes]:
        from PIL import Image

        pages = [Image.new("RGB", (5, 4), (n, 9, 200)) for n in range(3)]
        found = []
        for several in (False, True):
            more = {"save_all": True, "append_images": pages[1:]} if several and format != "PPM" else {}
            pages[0].save(file := io.BytesIO(), format, **more, **options)
            found.append(file.getvalue())
        return found

    return make


def _model(data: bytes) -> object:
    from denoise_cli.model_file import ModelFile

    return ModelFile.parse(data, Path("model"))


def _models() -> list[bytes]:
    from denoise_cli.card import METADATA_KEY, ModelCard
    from denoise_cli.protobuf import written

    entry = written(1, METADATA_KEY.encode()) + written(2, ModelCard("x").to_json().encode())
    node = written(1, b"x") + written(2, b"y") + written(4, b"Identity")
    graph = written(1, node) + written(2, b"g") + written(11, written(1, b"x")) + written(12, written(1, b"y"))
    opset = written(8, b"\x10\x11")
    return [b"\x08\x08" + written(7, graph) + opset + written(14, entry), written(7, graph), b""]


TARGETS = {
    "card": Target(ours(_card), _cards),
    "spec": Target(ours(_spec), _specs),
    "riff": Target(ours(_riff), _riffs),
    "ogg": Target(ours(_ogg), _oggs),
    "mp3": Target(ours(_mp3), lambda: [b"ID3\4\0\0\0\0\0\x0fTIT2\0\0\0\5\0\0\3abcd\xff\xfb\x90\0" + b"Xing" * 9]),
    "pnm": Target(
        ours(_pnm), lambda: [b"P6 2 2 255\n" + bytes(12), b"P5\n# x\n2 2\n65535\n" + bytes(8), b"P1 2 1 0 1"]
    ),
    "gif": Target(ours(_gif), _pictures("GIF")),
    "webp": Target(ours(_webp), _pictures("WEBP", lossless=True)),
    "tiff": Target(ours(_tiff), _pictures("TIFF")),
    "model": Target(ours(_model), _models),
}  # fmt: skip


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
