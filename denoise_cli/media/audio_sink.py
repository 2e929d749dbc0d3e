"""A recording in the making: frames, and all that goes with them, into a file of the same make.

blocks -> resample -> limit, or wait for the peak -> dither, round -> libsndfile -> what it leaves behind -> commit
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from denoise_cli.errors import OutputError
from denoise_cli.media import ancillary, containers, left, mp3, ogg, sndfile, speakers
from denoise_cli.media.beside import Target, writing
from denoise_cli.media.containers import BITS, CONTAINERS, FLOATING, LOSSY, AudioOptions
from denoise_cli.media.levels import check, to_levels

if TYPE_CHECKING:
    from denoise_cli.media.audio import AudioSource
    from denoise_cli.media.resample import Resampler

BLOCK = 1 << 16  # frames that are read, resampled or read back at once
DITHER_SEED = 0


class AudioSink:
    """A recording in the making; a ``Sink``.

    It is written through as it comes, except where ``clip="rescale"`` asks for its peak first: then it waits, as
    float32, in an unnamed file. Samples are dithered where the output is coarser than the input, and only there,
    so that silence stays silent.
    """

    def __init__(self, source: AudioSource, target: Target, options: AudioOptions, *, format: str | None = None):
        self._source, self._target = source, target
        stored = source.stored
        self._plan = plan = containers.plan(format or stored.format, stored, options)
        self._bits = BITS.get(plan.subtype, 16)
        coarser = self._bits < BITS.get(stored.subtype, 16)
        self._dither = np.random.default_rng(DITHER_SEED) if coarser else None
        self._received = self._written = 0  # frames, before and after resampling
        self._peak = 0.0
        self._over = 0  # samples beyond full scale, which are cut
        self._spool: BinaryIO | None = None
        self._resampler: Resampler | None = None
        if plan.rate != stored.rate:
            from denoise_cli.media.resample import Resampler

            self._resampler = Resampler(stored.rate, plan.rate, stored.channels)
        with writing(target, sndfile.reason):
            self._same = same = ancillary.family(plan.format) == ancillary.family(stored.format)
            ratio = plan.rate / stored.rate
            self._kept = ancillary.find(source.file, plan.format, ratio) if same else ancillary.Kept(source.file)
            self.left = left.of_recording(
                source.file, source.tags, stored.format, plan.format,
                ratio=ratio, tagged=CONTAINERS[plan.format].tags,
            )  # fmt: skip
            self._comments = ogg.comments(source.file) if same and plan.major == "OGG" else None
            self._writer = self._open()
            if options.clip == "rescale":
                self._spool = tempfile.TemporaryFile(dir=target.folder)  # noqa: SIM115

    def write(self, block: np.ndarray) -> None:
        with writing(self._target, sndfile.reason):
            frames = block[:, :, 0].T
            self._received += len(frames)
            step = self._resampler.step if self._resampler else BLOCK
            for start in range(0, len(frames), step):
                part = np.ascontiguousarray(frames[start : start + step], np.float32)
                self._take(self._resampler.push(part) if self._resampler else part)

    @property
    def clipped(self) -> float:
        """Share of the samples that lay beyond full scale, and were cut."""
        return self._over / max(1, self._written * self._source.stored.channels)

    def commit(self) -> None:
        with writing(self._target, sndfile.reason):
            if self._received != self._source.length:
                raise ValueError(f"{self._received} of {self._source.length} frames were written")
            if self._resampler is not None:
                self._take(self._resampler.finish())
            if self._spool is not None:
                self._drain(self._spool)
            self._writer.close()
            if self._plan.major == "AIFF" and self._plan.frame == 1:
                ancillary.recount(self._target.file, self._written)
            speakers.copy(self._source.file, self._target.file)
            self._kept.attach(self._target.file)
            if self._plan.major == "OGG":
                if self._comments is not None:
                    ogg.recomment(self._target.file, self._comments)
                ogg.renumber(self._target.file)
            self._target.commit()
        self._drop()

    def discard(self) -> None:
        self._drop()
        self._target.discard()

    def _open(self) -> sndfile.Writer:
        plan, source = self._plan, self._source
        container, same = CONTAINERS[plan.format], self._same
        tags, room = source.tags if container.tags else {}, 0
        if plan.format == "mp3":
            start = mp3.tag(source.file) if same else mp3.written(source.tags)
            self._target.file.write(start)
            tags, room = {}, len(start)
        elif self._kept.pieces:  # the tags are among them
            tags, room = {}, self._kept.room
        return sndfile.Writer(
            sndfile.Port(self._target.file, base=room), plan, source.stored.channels,
            source.stored.endian if same else "FILE", tags, container.quality,
        )  # fmt: skip

    def _take(self, frames: np.ndarray) -> None:
        """Write resampled frames, or keep them until the peak is known."""
        check(frames)
        self._written += len(frames)
        if self._plan.limit is not None and self._written * self._plan.frame > self._plan.limit:
            raise OutputError(f"{self._target.name}: {containers.too_long(self._plan)}")
        if self._spool is None:
            self._put(frames)
        else:
            self._peak = max(self._peak, float(np.abs(frames).max(initial=0)))
            self._spool.write(frames.data)

    def _drain(self, spool: BinaryIO) -> None:
        gain = np.float32(1 / max(1.0, self._peak))
        channels = self._source.stored.channels
        spool.seek(0)
        while data := spool.read(4 * channels * BLOCK):
            self._put(np.frombuffer(data, np.float32).reshape(-1, channels) * gain)

    def _put(self, frames: np.ndarray) -> None:
        if self._plan.subtype in FLOATING:
            self._writer.write(frames)
            return
        self._over += int((np.abs(frames) > 1).sum())
        if self._plan.subtype in LOSSY:
            self._writer.write(frames.clip(-1, 1))
        else:
            self._writer.write(to_levels(frames, int(self._bits), self._dither))

    def _drop(self) -> None:
        self._writer.drop()
        if self._spool is not None:
            self._spool.close()
