"""Recording formats: one dict from the name to what it looks like, what it can hold and how it is written.

Nothing here imports a codec, so that the command line may ask for suffixes at no cost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from denoise_cli.errors import OutputError, UsageError, choice

RATES = range(1_000, 384_001)  # samples a second; beyond them a header is damaged or a resampler allocates by ratio
MAX_CHANNELS = 64
LIMIT_32 = 0xFFFF_0000 - (1 << 20)  # bytes of samples where sizes have 32 bits: room for the header and the tags

BITS = {  # of one sample as it comes out of the decoder; what is not here decodes to 16
    **{"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32},
    **{"ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32, "DWVW_24": 24},
    **{"FLOAT": math.inf, "DOUBLE": math.inf},
    **{"VORBIS": math.inf, "OPUS": math.inf, "MPEG_LAYER_I": math.inf, "MPEG_LAYER_II": math.inf},
    **{"MPEG_LAYER_III": math.inf},
}
FLOATING = ("FLOAT", "DOUBLE")
WIDTHS = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}  # bytes of a sample; else 1 at most
LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
PCM = ("PCM_16", "PCM_24", "PCM_32")
LINEAR = ("PCM_S8", "PCM_U8", *PCM, *FLOATING)
DEPTHS = ("8", "16", "24", "32", "float")


@dataclass(frozen=True)
class AudioOptions:
    """How a recording is written; None keeps what the input has."""

    sample_rate: int | None = None  # samples a second
    bit_depth: int | str | None = None  # 8, 16, 24, 32 or "float"
    clip: Literal["clamp", "rescale"] = "clamp"  # what exceeds full scale is cut, or the whole file lowered

    def __post_init__(self) -> None:
        if self.sample_rate is not None and self.sample_rate not in RATES:
            raise UsageError(f"sample rate {self.sample_rate}: choose from {RATES[0]} to {RATES[-1]} Hz")
        if self.bit_depth is not None and str(self.bit_depth) not in DEPTHS:
            raise UsageError(choice("bit depth", self.bit_depth, DEPTHS))
        if self.clip not in ("clamp", "rescale"):
            raise UsageError(choice("clip", self.clip, ("clamp", "rescale")))


@dataclass(frozen=True)
class Container:
    suffixes: tuple[str, ...]
    magic: re.Pattern[bytes]  # matches the first bytes of the file
    major: str  # libsndfile's name
    subtypes: tuple[str, ...]  # that we write; linear ones from coarse to fine, then those that are only kept
    channels: int = MAX_CHANNELS
    rates: Collection[int] = RATES
    limited: bool = False  # its sizes have 32 bits
    tags: bool = True
    quality: dict[str, Any] = field(default_factory=dict)  # of a lossy codec, as soundfile takes it


_WAV = ("PCM_U8", *PCM, *FLOATING, "ULAW", "ALAW")

CONTAINERS = {
    "wav": Container(
        (".wav", ".wave"), re.compile(rb"RIF[FX]....WAVE", re.S), "WAV",
        (*_WAV, "IMA_ADPCM", "MS_ADPCM", "GSM610"), limited=True,
    ),
    "rf64": Container((".rf64",), re.compile(rb"RF64....WAVE", re.S), "RF64", _WAV),
    "w64": Container(
        (".w64",), re.compile(rb"riff\x2e\x91\xcf\x11"), "W64",
        (*_WAV, "IMA_ADPCM", "MS_ADPCM", "GSM610"), tags=False,
    ),
    "flac": Container((".flac",), re.compile(rb"fLaC"), "FLAC", ("PCM_S8", "PCM_16", "PCM_24"), channels=8),
    # Qualities are meant to be heard in no second generation: about 210 kbit/s for two channels of Opus at 48 kHz,
    # 265 of Vorbis, and LAME's V0, which is about 245.
    "opus": Container(
        (".opus",), re.compile(rb"OggS.{24,280}OpusHead", re.S), "OGG", ("OPUS",),
        rates=(8_000, 12_000, 16_000, 24_000, 48_000), quality={"compression_level": 0.6},
    ),
    "ogg": Container(
        (".ogg", ".oga"), re.compile(rb"OggS"), "OGG", ("VORBIS",),
        rates=range(RATES[0], 192_001),  # libvorbis crashes above 200 kHz
        quality={"compression_level": 0.2},
    ),
    "mp3": Container(
        (".mp3",), re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "MP3", ("MPEG_LAYER_III",), channels=2,
        rates=(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        quality={"compression_level": 0.0, "bitrate_mode": "VARIABLE"},
    ),
    "aiff": Container(
        (".aiff", ".aif", ".aifc"), re.compile(rb"FORM....AIF[FC]", re.S), "AIFF",
        ("PCM_S8", *PCM, *FLOATING, "PCM_U8", "ULAW", "ALAW", "IMA_ADPCM"), limited=True,
    ),
    # libsndfile writes ALAC of more than 16 bits wrongly, and by way of a file of its own; it becomes PCM.
    "caf": Container((".caf",), re.compile(rb"caff"), "CAF", ("PCM_S8", *PCM, *FLOATING, "ULAW", "ALAW")),
    "au": Container(
        (".au", ".snd"), re.compile(rb"\.snd|dns\."), "AU", ("PCM_S8", *PCM, *FLOATING, "ULAW", "ALAW"),
        limited=True, tags=False,
    ),
}  # fmt: skip

AUDIO_SUFFIXES = frozenset(suffix for container in CONTAINERS.values() for suffix in container.suffixes)


@dataclass(frozen=True)
class Stored:
    """What there is to hold, and how the input held it."""

    format: str
    major: str  # libsndfile's name of the format: "WAVEX" for one kind of WAV
    subtype: str
    endian: str  # "FILE" where it is the format's usual one
    channels: int
    rate: int
    length: int | None  # frames; None: unknown until the end


@dataclass(frozen=True)
class Plan:
    """How an output is stored."""

    format: str
    major: str
    subtype: str
    rate: int
    frame: int  # bytes, or somewhat more
    limit: int | None  # bytes of samples that fit
    downgrade: bool = False  # an RF64, because it may become long; it turns into a WAV where it ends below 4 GiB


def format_of(path: Path) -> str | None:
    """Return the format that a name asks for, or None: ``x.WAV`` -> ``"wav"``."""
    suffix = path.suffix.lower()
    return next((name for name, container in CONTAINERS.items() if suffix in container.suffixes), None)


def detect(start: bytes) -> str | None:
    """Return the format of a file by its first bytes, whatever its name says."""
    return next((name for name, container in CONTAINERS.items() if container.magic.match(start)), None)


def named(major: str, subtype: str) -> str | None:
    """Return our name of what libsndfile has opened."""
    major = "WAV" if major == "WAVEX" else major
    fitting = (name for name, each in CONTAINERS.items() if each.major == major)
    return next((name for name in fitting if major != "OGG" or subtype in CONTAINERS[name].subtypes), None)


def step_of(subtype: str) -> float:
    """Distance of two neighbouring levels, full scale being 1; 0 where they are not equally spaced."""
    return 2 / 2 ** BITS.get(subtype, 16) if subtype.startswith(("PCM", "ALAC")) else 0.0


def plan(name: str, stored: Stored, options: AudioOptions) -> Plan:
    """Choose how the format ``name`` holds all there is, before any work.

    A WAV of more than 4 GiB, or one whose length is not known, is written as RF64.

    Raises
    ------
    OutputError
        Naming what the format cannot hold, and those that can.
    """
    if name not in CONTAINERS:
        raise OutputError(choice("recording format", name, CONTAINERS))
    container, same = CONTAINERS[name], name == stored.format
    length = stored.length
    if options.sample_rate and length is not None:
        length = length * options.sample_rate // stored.rate + 1
    stored = replace(stored, rate=options.sample_rate or stored.rate, length=length)
    if lost := [what for what, held in _needs(stored, container) if not held]:
        able = [other for other, each in CONTAINERS.items() if all(held for _, held in _needs(stored, each))]
        raise OutputError(f"{name} cannot hold {', '.join(lost)}; {', '.join(able)} can{_hint(name, stored)}")
    subtype = _subtype(name, stored, options.bit_depth)
    frame = stored.channels * WIDTHS.get(subtype, 1)
    major = stored.major if same else container.major
    chosen = Plan(name, major, subtype, stored.rate, frame, LIMIT_32 if container.limited else None)
    if not container.limited or (length is not None and length * frame <= LIMIT_32):
        return chosen
    if name == "wav" and subtype in CONTAINERS["rf64"].subtypes:
        return replace(chosen, major="RF64", limit=None, downgrade=True)
    if length is not None:
        raise OutputError(too_long(chosen))
    return chosen


def too_long(plan: Plan) -> str:
    return f"{plan.format} cannot hold more than 4 GiB of {plan.subtype}; wav, w64 and caf can, of PCM"


def _subtype(name: str, stored: Stored, bit_depth: int | str | None) -> str:
    """Return the input's subtype where the format has it, else the nearest that loses nothing, or the finest."""
    subtypes = CONTAINERS[name].subtypes
    if bit_depth is not None:
        wanted = math.inf if bit_depth == "float" else int(bit_depth)
        exact = [each for each in subtypes if (step_of(each) or each in FLOATING) and BITS[each] == wanted]
        if not exact:
            depths = ["float" if each in FLOATING else str(BITS[each]) for each in subtypes if each in LINEAR]
            has = f"it has {', '.join(dict.fromkeys(depths))}" if depths else "it has none"
            raise OutputError(f"{name} has no bit depth {bit_depth}; {has}")
        return stored.subtype if stored.subtype in exact else exact[0]
    if stored.subtype in subtypes:
        return stored.subtype
    wanted = 16 if stored.subtype in LOSSY else BITS.get(stored.subtype, 16)
    enough = (each for each in subtypes if BITS.get(each, 0) >= wanted)
    return next(enough, max(subtypes, key=lambda each: BITS.get(each, 0)))


def _needs(stored: Stored, container: Container) -> Iterator[tuple[str, bool]]:
    yield f"{stored.channels} channels", stored.channels <= container.channels
    yield f"{stored.rate} samples a second", stored.rate in container.rates


def _hint(name: str, stored: Stored) -> str:
    rates = CONTAINERS[name].rates
    if stored.rate in rates:
        return ""
    choices = f"{min(rates)} to {max(rates)}" if isinstance(rates, range) else ", ".join(map(str, rates))
    return f"; or resample to {choices} Hz"
