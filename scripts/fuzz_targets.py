"""What scripts/fuzz.py fuzzes: our own parsers, each with examples that it understands."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
    chained = ogg.is_chained(file)
    ogg.renumber(file)
    return ogg.is_cut(file), chained


def _oggs() -> list[bytes]:
    page = b"OggS\0\2" + bytes(8) + b"\1\2\3\4" + bytes(8) + b"\2\5\3" + b"abcdefgh"
    return [page, page * 3, page[:-2]]


def _mp3(data: bytes) -> object:
    from denoise_cli.media import mp3

    return mp3.tag(Counted(data)), mp3.tells_its_length(Counted(data)), mp3.is_joined(Counted(data))


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
    from denoise_cli.media import tiff

    return list(tiff.directories(Counted(data))) and tiff.compression(Counted(data))


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


def _kept(data: bytes) -> object:
    from denoise_cli.media import ancillary

    sizes = []
    for format in ("wav", "aiff", "caf", "flac", "mp3"):
        for ratio in (1, 0.5):
            for piece in ancillary.find(Counted(data), format, ratio).pieces:
                piece.copy(io.BytesIO(data), target := io.BytesIO())
                sizes.append(len(target.getvalue()))
    return sizes or None


def _flacs() -> list[bytes]:
    blocks = [(0, bytes(34)), (4, b"x" * 20), (6, bytes(40)), (0x81, bytes(9))]
    flac = b"fLaC" + b"".join(bytes([kind]) + len(body).to_bytes(3, "big") + body for kind, body in blocks)
    wav = _riffs()[0]
    bext = b"bext" + struct.pack("<I", 350) + bytes(350)
    return [flac, wav + bext + b"LIST" + struct.pack("<I", 9) + b"INFOabcde\0", bytes(40) + b"TAG" + bytes(125)]


def _comments(data: bytes) -> object:
    from denoise_cli.media import ogg

    if (before := ogg.comments(Counted(data))) is None:
        return None
    file = io.BytesIO(data)
    ogg.recomment(file, packet := before + b"more" * 200)
    ogg.renumber(file)
    if ogg.comments(file) != packet:
        raise RuntimeError("comments that are not what was written")
    return packet


def _streams() -> list[bytes]:
    def page(number: int, *packets: bytes) -> bytes:
        sizes = bytes(len(packet) for packet in packets)
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, 7, number, 0, len(sizes))
        return head + sizes + b"".join(packets)

    opus = page(0, b"OpusHead" + bytes(11)) + page(1, b"OpusTags" + bytes(8)) + page(2, b"sound")
    vorbis = (
        page(0, b"\x01vorbis" + bytes(23)) + page(1, b"\x03vorbis" + bytes(9), b"\x05vorbis") + page(2, b"sound")
    )
    return [opus, vorbis]


def _png(data: bytes) -> object:
    from denoise_cli.media import heads

    heads.names(Counted(data))
    extra = heads.kept(Counted(data))
    mended = heads.with_chunks(data, extra)
    return None if mended is None else extra


def _jpeg(data: bytes) -> object:
    from denoise_cli.media import heads, probe

    return probe.unsupported(Counted(data), "jpeg") or heads.segments(Counted(data)) or None


def _jpegs() -> list[bytes]:
    index = b"MPF\0II*\0\x08\0\0\0\1\0\x02\xb0\7\0\x20\0\0\0\x1a\0\0\0\0\0\0\0" + bytes(32)
    views = b"\xff\xe2" + struct.pack(">H", 2 + len(index)) + index
    jfif = b"\xff\xe0\0\x10JFIF\0\1\1\1\0H\0H\0\0"
    exif = b"\xff\xe1\0\x10Exif\0\0II*\0\x08\0\0\0"
    return [b"\xff\xd8" + jfif + more + exif + b"\xff\xfe\0\5abc" + b"\xff\xda\0\x02" for more in (b"", views)]


def _on_disk(parse: Callable[[Path], object], suffix: str) -> Callable[[bytes], object]:
    """A parser of files as one of bytes, which lie in a file of that suffix meanwhile."""

    def parsed(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"x{suffix}"
            path.write_bytes(data)
            return parse(path)

    return parsed


def _stack(path: Path) -> object:
    from denoise_cli.media import arrays

    stack = arrays.read(path)
    if stack.pixels.ndim != 4 or stack.pixels.dtype != "uint8":
        raise RuntimeError(f"a stack of {stack.pixels.dtype} {stack.pixels.shape}")
    return stack


def _idx() -> list[bytes]:
    whole = struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 3, 4) + bytes(range(24))
    return [whole, gzip.compress(whole), whole[:-1], struct.pack(">BBBBI", 0, 0, 13, 1, 1) + bytes(4)]


def _npy(*arrays: Sequence[Sequence[float]], dtype: str = "u1") -> list[bytes]:
    import numpy as np

    found = []
    for array in arrays:
        held = io.BytesIO()
        np.save(held, np.array(array, dtype))
        found.append(held.getvalue())
    return found


def _npz() -> list[bytes]:
    import numpy as np

    held = [io.BytesIO() for _ in range(2)]
    np.savez(held[0], x_train=np.zeros((2, 3, 4), "u1"), y_train=np.zeros(2, "u1"))
    np.savez_compressed(held[1], data=np.zeros((5, 2)))
    return [one.getvalue() for one in held]


def _table(kind: Literal["table", "series"]) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        from denoise_cli.errors import DenoiseError
        from denoise_cli.media import table
        from denoise_cli.media.layout import Layout

        try:
            whole = table.read(path, Layout(kind))
        except DenoiseError as error:
            # It makes one line of whatever goes wrong; a fault of the parser's own is none of the file's.
            if isinstance(cause := error.__cause__, LookupError | TypeError | AttributeError | ArithmeticError):
                raise RuntimeError("not refused, but stumbled over") from cause
            raise
        if whole.data.shape[:2] != (whole.header.channels, whole.header.length):
            raise RuntimeError(f"{whole.data.shape} where the header says {whole.header}")
        return whole

    return read


def _tables() -> list[bytes]:
    named = b'time,temp [C],note\n00:00,1.5,"a, b"\n00:01,,c\n\n00:02,-3e2,\n'
    return [named, b"1;2\r\n3;nan\r\n\r\n", b"\xef\xbb\xbfa\tb\n1\t2\n", b"x\n1\n\n2\n", b"a,b\n1,2,3\n"]


def _checkpoint(path: Path) -> object:
    from denoise_cli.train import origin

    return origin.options(path)


def _checkpoints() -> list[bytes]:
    import numpy as np
    from safetensors.numpy import save

    about = json.dumps({"step": 3, "options": {"arch": "unet", "net": {"widths": [8, 16]}}})
    return [save({"net.w": np.zeros((2, 3), np.float32)}, {"denoise": about})]


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
    "kept": Target(ours(_kept), _flacs),
    "comments": Target(ours(_comments), _streams),
    "png": Target(ours(_png), _pictures("PNG")),
    "jpeg": Target(ours(_jpeg), _jpegs),
    "model": Target(ours(_model), _models),
    "idx": Target(ours(_on_disk(_stack, ".idx")), _idx),
    "npy": Target(ours(_on_disk(_stack, ".npy")), lambda: _npy([[[1, 2], [3, 4]]], [[[[1, 2, 3]]]])),
    "npz": Target(ours(_on_disk(_stack, ".npz")), _npz),
    "matrix": Target(ours(_on_disk(_table("table"), ".npy")), lambda: _npy([[1, 2], [3, 4]], [1, 2], dtype="f4")),
    "archive": Target(ours(_on_disk(_table("series"), ".npz")), _npz),
    "csv": Target(ours(_on_disk(_table("table"), ".csv")), _tables),
    "series": Target(ours(_on_disk(_table("series"), ".csv")), _tables),
    "checkpoint": Target(ours(_on_disk(_checkpoint, ".ckpt")), _checkpoints),
}  # fmt: skip
