"""Files that people have and that we do not read, told by their first bytes, so that a refusal names them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

from denoise_cli.media import chunks, mp3

SIGNATURES = {  # of whole files, at their first byte
    "HEIC": rb".{4}ftyp(hei[cxms]|hev[cx])",
    "a Canon raw file": rb".{4}ftypcrx ",
    "an Olympus raw file": rb"IIR[OS]|MMOR",
    "a Panasonic raw file": rb"IIU\0",
    "a Fujifilm raw file": rb"FUJIFILMCCD-RAW",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "OpenEXR": rb"\x76\x2f\x31\x01",
    "Radiance HDR": rb"#\?(RADIANCE|RGBE)",
    "QOI": rb"qoif",
    "a Photoshop file": rb"8BPS",
    "FITS": rb"SIMPLE  = ",
    "DICOM": rb".{128}DICM",
    "SVG": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg",
    "PDF": rb"%PDF-",
    "MP4, M4A or QuickTime": rb".{4}ftyp",
    "Windows Media": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "Matroska or WebM": rb"\x1a\x45\xdf\xa3",
    "AMR": rb"#!AMR",
    "AAC": rb"\xff[\xf0\xf1\xf8\xf9]",
    "Monkey's Audio": rb"MAC ",
    "WavPack": rb"wvpk",
    "Musepack": rb"MPCK|MP\+",
    "AVI": rb"RIFF.{4}AVI ",
    "DSD": rb"DSD |FRM8",
    "a ZIP archive": rb"PK\x03\x04",
    "gzip": rb"\x1f\x8b",
}
IN_OGG = {"FLAC": rb"\x7fFLAC", "Speex": rb"Speex   ", "video": rb"\x80theora|fishead\0|\x01video"}  # first packets
IN_WAV = {  # the tag of "fmt " (RFC 2361)
    0x50: "MPEG layer II", 0x55: "MP3", 0xFF: "AAC", 0x160: "Windows Media", 0x161: "Windows Media",
    0x1610: "AAC", 0x2000: "AC-3", 0x2001: "DTS", 0x270: "ATRAC3",
}  # fmt: skip
HEAD = 512  # bytes by which a format is told
MPEG = (0x50, 0x55)  # which libsndfile reads


def refusal(start: bytes, what: str, known: Iterable[str]) -> str:
    """What is said of a file that begins so: ``HEIC is not read; convert it to one of png, jpeg``."""
    for name, signature in SIGNATURES.items():
        if re.match(signature, start, re.S):
            return f"{name} is not read; convert it to one of {', '.join(known)}"
    return f"not {what} in a format that we read; they are {', '.join(known)}"


def in_ogg(start: bytes) -> str | None:
    """Why the stream in an Ogg file is refused, by its first page."""
    packet = start[27 + start[26] :] if len(start) > 27 else b""
    found = next((name for name, signature in IN_OGG.items() if re.match(signature, packet, re.S)), None)
    return found and f"{found} in Ogg is not read, only Vorbis and Opus; convert it to FLAC or WAV"


def in_wav(file: BinaryIO) -> str | None:
    """Why what is coded in a WAV is refused: another codec, or an MP3 of which libsndfile would read a part."""
    file.seek(0)
    layout = chunks.LAYOUTS.get(file.read(4))
    if layout is None or layout.samples != b"data" or layout.whole:
        return None
    at = next((at for name, at, _ in chunks.walk(file, layout) if name == b"fmt "), None)
    file.seek(at or 0)
    tag = int.from_bytes(file.read(2), "little" if layout.chunk.format[0] == "<" else "big") if at else 0
    samples = chunks.find(file) if tag in MPEG else None
    if tag not in IN_WAV or (samples is not None and mp3.tells_its_length(file, samples.start)):
        return None
    return f"{IN_WAV[tag]} in a WAV is not read; convert it to FLAC or plain WAV"
