"""Make a corpus of valid and damaged files of every kind that the tool reads.

python scripts/make_corpus.py DIR [--files 1500] [--seed 0]

About half of the files are valid: pictures of 1 to 96 pixels a side, clips of 1 to 8,000 samples. The others are
damaged, lie in their headers or carry the wrong name. DIR/text.tsv says what is expected of each: "ok", "clear
error", or "either" where a decoder may well mend what was broken. A corpus is a function of its seed and of the
versions of the encoders.
"""

from __future__ import annotations

import argparse
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from denoise_cli.media import vips
from denoise_cli.media.containers import CONTAINERS

Rng = np.random.Generator
Maker = Callable[[Rng], bytes]


# --- Pictures -----------------------------------------------------------------------------------------------


def pixels(rng: Rng, bands: int, dtype: type = np.uint8, side: int = 96) -> np.ndarray:
    """A smooth picture with some noise, (H, W) or (H, W, bands), of 1 to `side` pixels a side."""
    height, width = (int(rng.choice([1, 2, 3, 17, *range(20, side)])) for _ in range(2))
    y, x = np.mgrid[:height, :width]
    waves = [
        0.5 + 0.4 * np.sin(x / (3 + band) + y / 7) + 0.05 * rng.standard_normal(x.shape) for band in range(bands)
    ]
    levels = np.clip(np.stack(waves, -1), 0, 1)
    levels = levels.astype(dtype) if dtype is np.float32 else (levels * np.iinfo(dtype).max).astype(dtype)
    return levels[..., 0] if bands == 1 else levels


def pillow(mode: str, format: str, bands: int = 3, **options: object) -> Maker:
    def make(rng: Rng) -> bytes:
        image = Image.fromarray(pixels(rng, bands))
        image = image.quantize(16) if mode == "P" else image.convert(mode)
        image.save(file := io.BytesIO(), format, **options)
        return file.getvalue()

    return make


def frames(format: str, count: int = 3, mode: str = "RGB", **options: object) -> Maker:
    def make(rng: Rng) -> bytes:
        first = pixels(rng, 3)
        pages = [Image.fromarray(np.roll(first, 2 * n, axis=1)).convert(mode) for n in range(count)]
        pages[0].save(file := io.BytesIO(), format, save_all=True, append_images=pages[1:], **options)
        return file.getvalue()

    return make


def libvips(suffix: str, bands: int = 3, dtype: type = np.uint8, colour: str = "", **options: object) -> Maker:
    def make(rng: Rng) -> bytes:
        levels = pixels(rng, bands, dtype)
        image = vips.from_array(levels if levels.ndim == 3 else levels[..., None])
        wide = {np.uint8: ("b-w", "srgb"), np.uint16: ("grey16", "rgb16"), np.float32: ("b-w", "scrgb")}[dtype]
        image = image.copy(interpretation=colour or wide[bands > 2])
        return image.write_to_buffer(suffix, **options)

    return make


def exif(rng: Rng) -> bytes:
    image = Image.fromarray(pixels(rng, 3))
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = int(rng.integers(1, 9)), "a picture"
    image.save(file := io.BytesIO(), "JPEG", exif=tags, dpi=(300, 300), quality=90)
    return file.getvalue()


def netpbm(kind: int, top: int = 255) -> Maker:
    def make(rng: Rng) -> bytes:
        bands = 3 if kind in (3, 6) else 1
        levels = pixels(rng, bands, np.uint8 if top < 256 else np.uint16)
        head = b"P%d\n# made\n%d %d\n" % (kind, levels.shape[1], levels.shape[0])
        if kind == 1:
            return head + b"\n".join(b" ".join(b"%d" % (v > 99) for v in row) for row in levels) + b"\n"
        if kind == 4:
            return head + np.packbits(levels > 99, axis=1).tobytes()
        head += b"%d\n" % top
        if kind < 4:
            return head + b"\n".join(b" ".join(b"%d" % v for v in row.flat) for row in levels) + b"\n"
        return head + levels.astype(">u2" if top > 255 else np.uint8).tobytes()

    return make


PICTURES: dict[str, list[Maker]] = {
    "png": [
        pillow("1", "PNG"), pillow("L", "PNG"), pillow("LA", "PNG"), pillow("P", "PNG"), pillow("RGB", "PNG"),
        pillow("RGBA", "PNG", 4), pillow("P", "PNG", transparency=3), libvips(".png", 1, np.uint16),
        libvips(".png", 3, np.uint16), libvips(".png", 4, np.uint16), libvips(".png", 3, interlace=True),
        libvips(".png", 1, bitdepth=2), libvips(".png", 1, bitdepth=4),
    ],
    "jpg": [
        pillow("L", "JPEG"), pillow("RGB", "JPEG", quality=95, subsampling=0), pillow("RGB", "JPEG", quality=20),
        pillow("CMYK", "JPEG", quality=90), pillow("RGB", "JPEG", progressive=True), exif,
        libvips(".jpg", 3, restart_interval=4),
    ],
    "tif": [
        pillow("RGB", "TIFF", compression="raw"), pillow("RGB", "TIFF", compression="tiff_lzw"),
        pillow("RGB", "TIFF", compression="tiff_adobe_deflate"), pillow("RGB", "TIFF", compression="packbits"),
        pillow("1", "TIFF", compression="group4"), pillow("L", "TIFF"), pillow("P", "TIFF"),
        pillow("CMYK", "TIFF"), pillow("RGB", "TIFF", compression="jpeg"), pillow("RGBA", "TIFF", 4),
        libvips(".tif", 1, np.float32), libvips(".tif", 3, np.float32), libvips(".tif", 3, np.uint16),
        libvips(".tif", 3, bigtiff=True), libvips(".tif", 3, tile=True), libvips(".tif", 4, np.uint16),
        frames("TIFF"), libvips(".tif", 5, colour="multiband"),
    ],
    "webp": [
        pillow("RGB", "WEBP", quality=80), pillow("RGB", "WEBP", lossless=True), pillow("RGBA", "WEBP", 4),
        frames("WEBP", duration=70), frames("WEBP", lossless=True, mode="RGBA"),
    ],
    "gif": [pillow("L", "GIF"), pillow("P", "GIF"), frames("GIF", duration=50, loop=0), frames("GIF", 9)],
    "avif": [
        pillow("RGB", "AVIF", quality=70), pillow("RGBA", "AVIF", 4), libvips(".avif", 3, lossless=True, effort=0),
        libvips(".avif", 3, np.uint16, bitdepth=10, effort=0),
    ],
    "bmp": [pillow("1", "BMP"), pillow("L", "BMP"), pillow("P", "BMP"), pillow("RGB", "BMP")],
    "ppm": [*(netpbm(kind) for kind in (1, 2, 3, 4, 5, 6)), netpbm(5, 65535), netpbm(6, 65535)],
    "tga": [
        pillow("L", "TGA"), pillow("RGB", "TGA"), pillow("RGBA", "TGA", 4),
        pillow("RGB", "TGA", compression="tga_rle"),
    ],
}  # fmt: skip


# --- Recordings ---------------------------------------------------------------------------------------------


def clip(format: str, subtype: str) -> Maker:
    container = CONTAINERS[format]
    rates = [rate for rate in (8000, 16000, 22050, 44100, 48000, 96000) if rate in container.rates]
    most = 1 if "ADPCM" in subtype or subtype == "GSM610" else container.channels

    def make(rng: Rng) -> bytes:
        rate = 8000 if subtype == "GSM610" else int(rng.choice(rates))
        channels = int(rng.choice([n for n in (1, 1, 2, 6) if n <= most]))
        length = int(rng.choice([1, 2, 10, 1000, *rng.integers(500, 8000, 5)]))
        tone = 0.3 * np.sin(np.arange(length)[:, None] * rng.uniform(0.01, 0.3, channels))
        sound = tone + 0.05 * rng.standard_normal(tone.shape)
        soundfile.write(file := io.BytesIO(), sound, rate, subtype, format=container.major)
        return file.getvalue()

    return make


RECORDINGS = {
    name: [clip(name, subtype) for subtype in each.subtypes if soundfile.check_format(each.major, subtype)]
    for name, each in CONTAINERS.items()
}
SUFFIXES = {"caf": "caf", "aiff": "aiff"} | {name: each.suffixes[0][1:] for name, each in CONTAINERS.items()}


# --- Damage -------------------------------------------------------------------------------------------------


def truncated(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.uniform(0, 1) ** 0.5 * len(data))]


def flipped(data: bytes, rng: Rng) -> bytes:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    first = 0 if rng.random() < 0.5 else min(len(bits) - 1, 512 * 8)  # half of the time the header stays whole
    bits[rng.integers(first, len(bits), int(2 ** rng.uniform(0, 6)))] ^= 1
    return np.packbits(bits).tobytes()


def zeroed(data: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(0, len(data)))
    size = int(rng.integers(1, max(2, len(data) // 4)))
    return data[:start] + bytes(len(data[start : start + size])) + data[start + size :]


def shuffled(data: bytes, rng: Rng) -> bytes:
    a, b = sorted(int(n) for n in rng.integers(0, len(data), 2))
    return data[:a] + data[b:] + data[a:b]


def doubled(data: bytes, rng: Rng) -> bytes:
    return data + data


def trailed(data: bytes, rng: Rng) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 5000)))


def headed(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(1, 64))]


def noise_behind_the_head(data: bytes, rng: Rng) -> bytes:
    keep = int(rng.integers(16, 128))
    return data[:keep] + rng.bytes(max(0, len(data) - keep))


def lying(data: bytes, rng: Rng) -> bytes:
    """A number in the first 64 bytes becomes one of those that programs stumble over."""
    value = int(rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x01000000]))
    at, order = int(rng.integers(4, 60)), "<>"[int(rng.integers(2))]
    packed = struct.pack(order + ("I" if value > 0xFFFF else "H"), value)
    return data[:at] + packed + data[at + len(packed) :]


DAMAGES = [truncated, truncated, flipped, flipped, zeroed, shuffled, doubled, trailed, headed,
           noise_behind_the_head, lying, lying]  # fmt: skip


def png(width: int, height: int, depth: int = 8, colour: int = 2, body: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def wav(rate: int, channels: int, bits: int, data: bytes, *, kind: int = 1, claim: int | None = None) -> bytes:
    size, frame = len(data) if claim is None else claim, channels * bits // 8
    head = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    whole = min(36 + size, 0xFFFFFFFF)
    return b"RIFF" + struct.pack("<I", whole) + b"WAVEfmt " + head + b"data" + struct.pack("<I", size) + data


def special() -> Iterator[tuple[str, bytes, str]]:
    """(name, content, expected) of what has to be made by hand."""
    quiet = bytes(2000)
    for suffix in ("png", "jpg", "tif", "webp", "gif", "avif", "bmp", "ppm", "tga", "wav", "flac", "ogg", "mp3"):
        yield f"empty.{suffix}", b"", "clear error"
        yield f"text.{suffix}", b"This is not a picture, nor a recording, but a line of text.\n" * 20, "clear error"
        yield f"zeros.{suffix}", bytes(4096), "clear error"
    for size in ((1 << 31) - 1, 1 << 20, 65_536, 30_000):
        yield f"claims-{size}.png", png(size, size), "clear error"
        yield f"claims-{size}.ppm", b"P6 %d %d 255\n" % (size, size) + quiet, "clear error"
        head = struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, size, size, 1, 24, *[0] * 6)
        yield f"claims-{size}.bmp", b"BM" + head, "clear error"
        side = struct.pack("<HH", size & 0xFFFF, size & 0xFFFF)
        yield f"claims-{size}.gif", b"GIF89a" + side + b"\0\0\0," + bytes(4) + side + b"\0\2\0;", "either"
    yield "no-width.png", png(0, 5), "clear error"
    for value, name in ((np.nan, "nan"), (np.inf, "inf"), (-np.inf, "minus-inf"), (1e30, "huge")):
        sound = np.zeros(4000, "<f4")
        sound[1234] = value
        yield f"{name}.wav", wav(48_000, 1, 32, sound.tobytes(), kind=3), "clear error"
        picture = vips.from_array(np.where(np.arange(600).reshape(20, 30, 1) == 99, value, 0.5).astype(np.float32))
        yield f"{name}.tif", picture.write_to_buffer(".tif"), "clear error"
    for claim in (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 5_000, 1_000):
        yield f"claims-{claim}.wav", wav(48_000, 1, 16, quiet, claim=claim), "either"
    for rate in (0, 1, 999, 384_001, 0x7FFFFFFF, 0xFFFFFFFF):
        yield f"rate-{rate}.wav", wav(rate, 1, 16, quiet), "clear error"
    for channels in (0, 65, 1024, 65_535):
        yield f"channels-{channels}.wav", wav(48_000, channels, 16, quiet), "clear error"
    yield "channels-64.wav", wav(48_000, 64, 16, bytes(128 * 50)), "ok"
    yield "no-samples.wav", wav(48_000, 1, 16, b""), "clear error"
    for name in ("silence", "full-scale"):
        yield f"{name}.wav", wav(48_000, 1, 16, (b"\0\0" if name == "silence" else b"\xff\x7f") * 9000), "ok"
    for name in ("black", "white"):
        yield f"{name}.png", png(40, 30, body=(b"\0" + (b"\0" if name == "black" else b"\xff") * 120) * 30), "ok"


# --- All together -------------------------------------------------------------------------------------------


def make(folder: Path, files: int, seed: int) -> dict[str, str]:
    """Write the corpus; returns the expected behaviour of every path."""
    rng = np.random.default_rng(seed)
    makers = [(kind, kind, maker) for kind, several in PICTURES.items() for maker in several]
    makers += [(name, SUFFIXES[name], maker) for name, several in RECORDINGS.items() for maker in several]
    expected: dict[str, str] = {}

    def put(path: str, content: bytes, what: str) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
        expected[path] = what

    for name, content, what in special():
        put(f"special/{name}", content, what)
    number = 0
    while len(expected) < files:
        kind, suffix, maker = makers[number // 2 % len(makers)]
        content, number = maker(rng), number + 1
        if number % 2:
            put(f"{kind}/{number:05}.{suffix}", content, "ok")
        elif rng.random() < 0.06:
            put(f"renamed/{number:05}.{makers[int(rng.integers(len(makers)))][1]}", content, "either")
        else:
            damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
            put(f"{kind}/{number:05}-{damage.__name__}.{suffix}", damage(content, rng), "either")
    lines = [f"{path}\t{what}\n" for path, what in sorted(expected.items())]
    (folder / "text.tsv").write_text("path\texpected\n" + "".join(lines))
    return expected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    expected = make(arguments.folder, arguments.files, arguments.seed)
    print(f"{len(expected)} files, {sum(what == 'ok' for what in expected.values())} of them valid")


if __name__ == "__main__":
    main()
