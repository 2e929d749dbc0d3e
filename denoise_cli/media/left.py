"""What an output does not take along of its source, by name, so that nobody loses it unawares.

A file of the same format takes all; another one takes what libsndfile or libvips carry over: ten tags of a
recording, EXIF, ICC profile, XMP and IPTC of a picture where the format has room for them.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import BinaryIO

from denoise_cli.media import ancillary, mp3, ogg

IN_TAGS = {b"LIST" + b"INFO", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"info"}  # chunks that libsndfile reads as tags
BLOCKS = {ancillary.APPLICATION: "application data", ancillary.CUESHEET: "cue sheet", ancillary.PICTURE: "cover"}
FRAMES = {b"APIC": "cover", b"USLT": "lyrics", b"CHAP": "chapters", b"TXXX": "user-defined text"}  # of ID3v2
ENCODERS = ("encoder", "software", "encoded-by", "encoder_options")  # true of the old file only
EMBEDDED = {
    "exif-data": "EXIF", "icc-profile-data": "ICC profile", "xmp-data": "XMP", "iptc-data": "IPTC",
    "gif-comment": "comment",
}  # fmt: skip
BARE = ("bmp", "gif", "ppm", "tga")  # pictures without room for any of these, or for how they are to be turned
TIMED = ("gif", "webp")


def of_recording(
    file: BinaryIO, tags: Mapping[str, str], format: str, to: str, *, ratio: float, tagged: bool
) -> list[str]:
    """Names of what stays behind where a recording is written as `to`, at `ratio` times its rate.

    `tags` are those that libsndfile reads, `tagged` says whether it writes them too.
    """
    if ancillary.family(format) == ancillary.family(to):
        if ratio == 1:
            return []
        kept = {piece.start for piece in ancillary.find(file, format, ratio).pieces}
        return _unique(name for start, name in _pieces(file, format, tags) if start not in kept)
    names = [] if tagged else list(tags)
    names += [name for _, name in _pieces(file, format, tags)]
    if format in ("ogg", "opus"):
        names += _comments(ogg.comments(file) or b"", tags)
    if format == "mp3":
        tag = mp3.tag(file)
        names += [name for frame, name in FRAMES.items() if frame in tag]
    return _unique(names)


def of_picture(fields: Collection[str], format: str, to: str, frames: int) -> list[str]:
    """Names of what stays behind where a picture with these fields of libvips is written as `to`."""
    names = []
    if to in BARE and to != format:
        names += [name for field, name in EMBEDDED.items() if field in fields]
    if to != "png" and any(field.startswith("png-comment-") for field in fields):
        names.append("text")
    if frames > 1 and to not in TIMED and "delay" in fields:
        names.append("delays")
    return names


def _pieces(file: BinaryIO, format: str, tags: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Where each chunk or block of the source begins, and what it is called."""
    for piece in ancillary.find(file, format, 1.0).pieces:
        file.seek(piece.start)
        if format == "mp3":
            if not (piece.size == ancillary.ID3V1 and file.read(3) == b"TAG"):  # which libsndfile reads
                yield piece.start, "APEv2"
        elif format == "flac" and piece.head[0] == ancillary.COMMENT:
            for name in _comments(file.read(piece.size), tags):
                yield piece.start, name
        elif format == "flac":
            yield piece.start, BLOCKS[piece.head[0]]
        else:
            kind = piece.head[:4]
            typed = kind + file.read(4) if kind == b"LIST" else kind
            if typed not in IN_TAGS:
                yield piece.start, " ".join((kind.decode().strip(), typed[4:].decode("ascii", "replace"))).strip()


def _comments(packet: bytes, tags: Mapping[str, str]) -> list[str]:
    """Names of the comments (Vorbis I, 5) that are none of the tags, in lower case; as far as they are whole."""
    at = packet.find(b"OpusTags") + 8 if packet.startswith(b"OpusTags") else 7 * packet.startswith(b"\x03vorbis")
    carried, names = set(tags.values()), []
    try:
        at += 4 + struct.unpack_from("<I", packet, at)[0]
        (count,) = struct.unpack_from("<I", packet, at)
        at += 4
        for _ in range(count):
            (size,) = struct.unpack_from("<I", packet, at)
            name, _, text = packet[at + 4 : at + 4 + size].decode("utf-8", "replace").partition("=")
            at += 4 + size
            if text and text not in carried and name.lower() not in ENCODERS:
                names.append("cover" if name.lower() == "metadata_block_picture" else name.lower())
    except struct.error:
        pass
    return names


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
