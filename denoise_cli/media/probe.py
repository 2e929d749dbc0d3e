"""What the decoders do not tell, read from the bytes of the file itself; every answer is a guess that may be wrong
in a damaged file and only ever decides how the output is compressed, or that a file is refused.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from denoise_cli.media import heads, mpf, tiff

HEAD = 1 << 16  # bytes; enough for the boxes and chunks that come before the pixels


def unsupported(file: BinaryIO, format: str) -> str | None:
    """Say why libvips would silently read only a part of a file, such as its first frame."""
    start = heads.read_at(file, 0, 16)
    if format == "png" and b"acTL" in heads.names(file):
        return "animated PNG is not supported; convert it to WebP or GIF"
    twin = format == "jpeg" and not mpf.listed(file) and heads.has_twin(file)
    if twin or (format == "png" and heads.is_followed(file)):
        return "several pictures in one file, of which only the first could be read: split them"
    if format == "jpeg" and mpf.has_views(file):
        return "several views in one file (MPO), of which only the first could be read: split them"
    if format == "tiff" and (start[8:10] == b"CR" or tiff.is_preview(file)):
        return "a raw file of a camera, of which only the preview could be read; develop it to TIFF first"
    if format == "tiff" and tiff.is_cut(file):
        return "truncated: the file ends before its last page does"
    if format == "avif" and start[8:12] == b"avis":
        return "AVIF sequences are not supported; convert the file to WebP or GIF"
    if format == "gif" and not _reaches_trailer(file):
        return "truncated: the file ends before its last frame does"
    return None


def _reaches_trailer(file: BinaryIO) -> bool:
    """Walk over the blocks of a GIF; whether it is more than cut off is for the decoder to say."""
    screen = heads.read_at(file, 0, 13)
    if len(screen) < 13:
        return False
    file.seek(_gif_palette(screen[10]), os.SEEK_CUR)
    while kind := file.read(1):
        if kind == b",":  # an image: 9 bytes, the last of them flags; a palette; one byte of the code's
            image = file.read(9).ljust(9, b"\0")
            file.seek(_gif_palette(image[8]) + 1, os.SEEK_CUR)
        elif kind == b"!":  # an extension and its label
            file.seek(1, os.SEEK_CUR)
        else:  # the trailer, or nothing that we know
            return True
        while (size := file.read(1)) not in (b"", b"\0"):
            file.seek(size[0], os.SEEK_CUR)
    return False


def _gif_palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def chroma(file: BinaryIO) -> str:
    """How a JPEG holds its colours: "4:2:0" where one sample stands for two rows of pixels, else "4:4:4".

    libvips calls everything "4:2:0" that is not 4:4:4, and cannot write 4:2:2 and its likes.
    """
    for _, _, frame in heads.found(file, *heads.FRAMES):
        factors = frame[11::3]  # behind marker, size, bits, height, width, count and an id; then every third byte
        across, down = ({factor >> shift & 15 for factor in factors} for shift in (4, 0))
        return "4:2:0" if len(across) > 1 and len(down) > 1 else "4:4:4"
    return "4:4:4"


def is_lossless(file: BinaryIO, format: str) -> bool:
    if format == "webp":
        return all(b"VP8 " not in kinds for kinds in _webp_frames(file))
    if format == "avif":
        # Only the identity matrix (RGB coded as it is) can be lossless in an encoder that starts from RGB.
        start = heads.read_at(file, 0, HEAD)
        box = start.find(b"colrnclx")
        return box >= 0 and start[box + 12 : box + 14] == b"\x00\x00"
    return format != "jpeg"


def _webp_frames(file: BinaryIO) -> Iterator[bytes]:
    """Yield the start of each RIFF chunk that holds pixels; in an animation the codec stands inside ``ANMF``."""
    position = 12
    while True:
        file.seek(position)
        chunk = file.read(64)
        if len(chunk) < 8:
            return
        kind, size = struct.unpack("<4sI", chunk[:8])
        if kind == b"ANMF":
            # 8 bytes of chunk head and 16 of frame head; then the frame's own chunk, or its alpha chunk before it.
            inner, inner_size = struct.unpack("<4sI", chunk[24:32].ljust(8, b"\0"))
            if inner == b"ALPH":
                file.seek(position + 24 + 8 + inner_size + inner_size % 2)
                inner = file.read(4)
            yield inner
        elif kind in (b"VP8 ", b"VP8L"):
            yield kind
        position += 8 + size + size % 2
