"""Recordings: a file as blocks of frames, and frames back into a file of the same make.

    file --libsndfile, block by block--> AudioSource.blocks() --> ... --> AudioSink.write() --> commit()
      |                                                                     | resample, limit or spool,
      +---------------- tags: past the blocks, untouched -------------+     | dither, round

Blocks are float32: PCM of up to 24 bits and 32-bit float come back to the bit. PCM of 32 bits and 64-bit float lose
what lies below 2^-24 of a sample.

What libsndfile 1.2 does with the rest was measured. MP3, Vorbis and Opus keep the number of their frames and are
not delayed, not by one. ADPCM and GSM come in blocks of frames, so that an output whose length is no multiple of
its block ends in silence, of 2040 frames at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from denoise_cli.errors import InputError, printable
from denoise_cli.media import containers, foreign, mp3, ogg, sndfile
from denoise_cli.media.audio_sink import BLOCK, AudioSink
from denoise_cli.media.beside import Target, open_input
from denoise_cli.media.chunks import Head, honest
from denoise_cli.media.containers import CONTAINERS, AudioOptions, Stored
from denoise_cli.media.limits import Limits
from denoise_cli.media.samples import FLOAT_LIMIT
from denoise_cli.signal import Header, Signal, gather

__all__ = ["BLOCK", "AudioOptions", "AudioSink", "AudioSource", "open_audio", "read"]


class AudioSource:
    """An open recording; a ``Source``."""

    def __init__(self, file: BinaryIO, name: str, limits: Limits):
        self.name = name
        self.file = file
        start = _start(file)
        head, endless = Head(), False
        if start == "mp3":
            endless = not mp3.tells_its_length(file)
            if mp3.is_joined(file):
                raise InputError("goes on behind the length that it tells: MP3 files that were joined; split them")
        elif start in ("ogg", "opus"):
            if ogg.is_cut(file):
                raise InputError("cut short: the file ends inside a page")
            if ogg.is_chained(file):
                raise InputError(
                    "several recordings in one file, of which only the first could be read: split them"
                )
        else:
            head = honest(file)
        self._reader = reader = sndfile.Reader(sndfile.Port(file, head, endless=endless), noisy=start == "mp3")
        # More than 4 GiB behind the header of a WAV are shown to libsndfile as RF64; it is a WAV all the same.
        format = start if start == "wav" else containers.named(reader.major, reader.subtype)
        if format is None:
            raise InputError(f"{reader.subtype} in {reader.major} is not one of {', '.join(CONTAINERS)}")
        if reader.channels > limits.channels:
            raise InputError(f"{reader.channels} channels; the limit is {limits.channels}")
        if reader.rate not in containers.RATES:
            low, high = containers.RATES[0], containers.RATES[-1]
            raise InputError(f"{reader.rate} samples a second; from {low:,} to {high:,} are supported")
        if reader.frames == 0:
            raise InputError("holds no samples")
        self._limits = limits
        self.subtype = reader.subtype
        self.length = None if endless or reader.frames >= sndfile.UNKNOWN else reader.frames  # known after the end
        self.stored = Stored(
            format=format,
            major="WAV" if start == "wav" and reader.major == "RF64" else reader.major,
            subtype=reader.subtype,
            endian=reader.endian,
            channels=reader.channels,
            rate=reader.rate,
            length=self.length,
        )
        # Who wrote it was not us; and libsndfile takes none that is empty.
        self.tags = {name: text for name, text in reader.tags.items() if name != "software" and text}
        self.header = Header(
            kind="audio",
            channels=reader.channels,
            length=self.length,
            groups=tuple((c,) for c in range(reader.channels)),
            step=containers.step_of(reader.subtype),
            rate=reader.rate,
            format=format,
        )
        self._check_length(self.length or 0)

    def _check_length(self, frames: int) -> None:
        if frames > self._limits.hours * 3600 * self.header.rate:  # type: ignore[operator]
            hours = frames / 3600 / self.header.rate  # type: ignore[operator]
            hint = "; --max-hours allows more" if self._limits.adjustable else ""
            said = f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"
            raise InputError(f"{said} hours are more than the limit of {self._limits.hours:g}{hint}")

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (C, n, 1) float32 blocks, all of BLOCK frames but the last; integer samples are in [-1, 1)."""
        position = 0
        while len(frames := self._next(position)):
            position += len(frames)
            block = np.ascontiguousarray(frames.T)[:, :, np.newaxis]
            del frames  # whoever takes the block keeps us waiting here; hold nothing meanwhile
            yield block
            del block
        with reading(self.name):
            if self.length is not None and position < self.length:
                raise InputError(f"damaged or cut short: {position:,} of {self.length:,} frames could be read")
            if not position:
                raise InputError("holds no samples")
        self.length = position

    def _next(self, position: int) -> np.ndarray:
        with reading(self.name):
            frames = self._reader.read(BLOCK)
            self._check_length(position + len(frames))
            if len(frames) and (reason := _fault(frames, position, self.stored.rate)):
                raise InputError(reason)
            return frames

    def save_to(
        self,
        target: Target,
        *,
        format: str | None = None,
        sample_rate: int | None = None,
        bit_depth: int | str | None = None,
        clip: Literal["clamp", "rescale"] = "clamp",
    ) -> AudioSink:
        """Make the sink for this recording: its format, subtype, rate and tags, unless told otherwise."""
        return AudioSink(self, target, AudioOptions(sample_rate, bit_depth, clip), format=format)

    def close(self) -> None:
        self._reader.close()
        self.file.close()


def open_audio(file: BinaryIO, name: str, *, limits: Limits = Limits()) -> AudioSource:
    """Open a recording by its content.

    Parameters
    ----------
    file
        Seekable and open for reading; it is ours from here on, closed with the source, or here on failure.
    name
        For messages.
    limits
        On hours and channels.

    Raises
    ------
    InputError
        One line that starts with the name: damaged, cut short, empty, or of a kind that we do not read; of more
        channels or hours than the limits, or of a rate outside 1 to 384 kHz.
    """
    with reading(printable(name)), ExitStack() as stack:
        stack.callback(file.close)
        source = AudioSource(file, printable(name), limits)
        stack.pop_all()
        return source


def read(path: str | Path, *, limits: Limits = Limits()) -> Signal:
    """Read a whole recording: ``read("x.wav").data`` is (C, T, 1) float32 in [-1, 1]."""
    with open_input(Path(path)) as file:
        return gather(open_audio(file, str(path), limits=limits))


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one InputError that begins with the name."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except Exception as error:
        raise InputError(f"{name}: {sndfile.reason(error)}") from error


def _start(file: BinaryIO) -> str:
    file.seek(0)
    start = file.read(foreign.HEAD)
    if not start:
        raise InputError("the file is empty")
    format = containers.detect(start)
    if format is None:
        raise InputError(foreign.refusal(start, "a recording", CONTAINERS))
    reason = (
        foreign.in_ogg(start) if format in ("ogg", "opus") else foreign.in_wav(file) if format != "mp3" else None
    )
    if reason is not None:
        raise InputError(reason)
    return format


def _fault(frames: np.ndarray, position: int, rate: int) -> str | None:
    """Say what is wrong with (n, C) samples, or None: they must be finite and nominally in [-1, 1]."""
    low, high = float(frames.min()), float(frames.max())  # NaN comes through both
    if not (np.isfinite(low) and np.isfinite(high)):
        first = position + int((~np.isfinite(frames)).any(axis=1).argmax())
        return f"non-finite samples at {first / rate:.3f} s"
    peak = max(-low, high)
    return f"float samples reach {peak:g}; scale them to [-1, 1]" if peak > FLOAT_LIMIT else None
