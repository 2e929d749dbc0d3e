"""Speech that is faint, loud, coded, in a room, clipped, or in two noises; and noise without any speech.

    pip install "denoise-cli[speech]"
    python benchmarks/hardship.py DATA [--model speech] [--every 3] [--music FOLDER]

DATA holds audio/test/mixed60/{clean,noisy}. What happens to each of the noisy recordings stands in HARDSHIPS; it is
scored before and after the model, as `denoise run` uses it, against the clean speech, in the room where there is
one. Of the noise of the pairs alone it is told how far it goes down. With --music speech is scored in music of that
folder instead, as loud as the noise of each pair; then piece by piece.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from speech import COLUMNS, System, ours, scores

from denoise_cli.media import audio
from denoise_cli.signal import Signal

BITRATE = 0.9  # libsndfile's compression level: about 30 kbit/s
DECAY = 0.5  # seconds in which the room falls by 60 dB
CLIPPED = 0.02  # of the samples

Pair = tuple[np.ndarray, np.ndarray]  # clean and noisy, (T,) each


def level(decibels: float) -> Callable[[Pair, int, np.ndarray], Pair]:
    """The noisy recording at so many dB of full scale (rms), as 16 bits hold it; above 0 dB it is cut off."""

    def change(pair: Pair, rate: int, noise: np.ndarray) -> Pair:
        gain = 10 ** (decibels / 20) / np.sqrt(np.square(pair[1]).mean())
        return pair[0] * gain, np.round((pair[1] * gain).clip(-1, 1) * 32767) / 32767

    return change


def coded(form: str, subtype: str) -> Callable[[Pair, int, np.ndarray], Pair]:
    def change(pair: Pair, rate: int, noise: np.ndarray) -> Pair:
        file = io.BytesIO()
        lossy = {} if form == "WAV" else {"compression_level": BITRATE}
        soundfile.write(file, pair[1], rate, format=form, subtype=subtype, **lossy)
        file.seek(0)
        return pair[0], soundfile.read(file)[0]

    return change


def room(pair: Pair, rate: int, noise: np.ndarray) -> Pair:
    """Speech in a room of falling noise (Polack 1988), as loud as what comes straight; the noise stands beside."""
    length = int(DECAY * rate)
    tail = np.random.default_rng(0).standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail /= np.sqrt(np.square(tail).sum())
    tail[0] = 1
    size = len(pair[0]) + length
    speech = np.fft.irfft(np.fft.rfft(pair[0], size) * np.fft.rfft(tail, size), size)[: len(pair[0])]
    return speech, speech + pair[1] - pair[0]


def as_loud(other: np.ndarray, own: np.ndarray) -> np.ndarray:
    return other * np.sqrt(np.square(own).mean() / max(np.square(other).mean(), 1e-12))


def two(pair: Pair, rate: int, noise: np.ndarray) -> Pair:
    """With the noise of another recording, as loud as its own."""
    own = pair[1] - pair[0]
    return pair[0], pair[1] + as_loud(np.resize(noise, len(own)), own)


def clipped(pair: Pair, rate: int, noise: np.ndarray) -> Pair:
    limit = np.quantile(np.abs(pair[1]), 1 - CLIPPED)
    return pair[0], pair[1].clip(-limit, limit)


HARDSHIPS: dict[str, Callable[[Pair, int, np.ndarray], Pair]] = {
    "as it is": lambda pair, rate, noise: pair,
    "-45 dB of full scale": level(-45),
    "-6 dB, its peaks cut off": level(-6),
    "MP3": coded("MP3", "MPEG_LAYER_III"),
    "Ogg Vorbis": coded("OGG", "VORBIS"),
    "mu-law": coded("WAV", "ULAW"),
    f"a room of {DECAY:g} s": room,
    "two noises": two,
    f"{CLIPPED:.0%} clipped": clipped,
}


def cleaned(system: System, like: Signal, x: np.ndarray) -> np.ndarray:
    return system(replace(like, data=x.astype(np.float32)[None, :, None]))[:, :, 0]


def played(piece: Signal, rate: int, start: float, length: int) -> np.ndarray:
    """So many samples of a piece of music, (length,), from `start` seconds on, over and over."""
    x = soxr.resample(piece.data[0].mean(axis=1), piece.header.rate, rate)
    return np.resize(np.roll(x, -int(start * rate) % len(x)), length).astype(float)


def in_music(system: System, pairs: Sequence[tuple[Signal, Pair]], folder: Path) -> None:
    """Score speech in music, before and after, over all pairs and by piece."""
    pieces = {path.stem: audio.read(path) for path in sorted(folder.iterdir())}
    music = list(pieces.values())
    before, after = [], []
    for index, (like, pair) in enumerate(pairs):
        rate, turn = like.header.rate or 0, index // len(pieces)
        heard = played(music[index % len(music)], rate, 6.0 * turn, len(pair[0]))
        clean, noisy = pair[0], pair[0] + as_loud(heard, pair[1] - pair[0])
        before.append(scores(noisy[None], clean[None], rate))
        after.append(scores(cleaned(system, like, noisy), clean[None], rate))
    show("music", before, after)
    for index, name in enumerate(list(pieces)[: len(pairs)]):
        show(name[:25], before[index :: len(pieces)], after[index :: len(pieces)])


def show(name: str, noisy: Sequence[list[float]], cleaned: Sequence[list[float]]) -> None:
    means = [*np.nanmean(noisy, axis=0), *np.nanmean(cleaned, axis=0)]
    print(f"{name:26}" + "".join(f"{value:9.3f}" for value in means), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="speech")
    parser.add_argument("--every", type=int, default=1, help="every so many-th pair")
    parser.add_argument("--music", type=Path, metavar="FOLDER", help="of recordings of music, and nothing else")
    arguments = parser.parse_args()
    folder, system = arguments.data / "audio/test/mixed60", ours(arguments.model)
    names = sorted(path.name for path in (folder / "noisy").iterdir())[:: arguments.every]
    pairs: list[tuple[Signal, Pair]] = []
    for name in names:
        clean, noisy = (audio.read(folder / side / name) for side in ("clean", "noisy"))
        pairs.append((noisy, (clean.data[0, :, 0].astype(float), noisy.data[0, :, 0].astype(float))))
    noises = [noisy - clean for _, (clean, noisy) in pairs]

    print(f"{arguments.model}, {len(names)} files; before, after")
    print(f"{'':26}" + "".join(f"{column:>9}" for column in COLUMNS * 2))
    if arguments.music:
        in_music(system, pairs, arguments.music)
        return
    for name, change in HARDSHIPS.items():
        before, after = [], []
        for (like, pair), other in zip(pairs, [*noises[1:], noises[0]], strict=True):
            rate = like.header.rate or 0
            clean, noisy = change(pair, rate, other)
            before.append(scores(noisy[None], clean[None], rate))
            after.append(scores(cleaned(system, like, noisy), clean[None], rate))
        show(name, before, after)
    lowered = []
    for (like, _), noise in zip(pairs, noises, strict=True):
        left = cleaned(system, like, noise)
        lowered.append(10 * np.log10(np.square(noise).sum() / max(np.square(left).sum(), 1e-12)))
    mean, least, share = np.mean(lowered), np.min(lowered), np.mean(np.array(lowered) >= 20)
    print(f"noise alone goes down by {mean:.1f} dB, {least:.1f} at least; by 20 dB in {share:.0%} of the files")


if __name__ == "__main__":
    main()
