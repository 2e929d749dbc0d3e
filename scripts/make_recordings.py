"""Synthesise the sample recordings: a voice that belongs to nobody, in noise that nobody made.

    python scripts/make_recordings.py

writes the noisy recordings to ``samples/`` and the clean originals, under the same names, to ``docs/clean/``.
The voice is a row of syllables: harmonics of a gliding pitch under the formants of a vowel, with hisses and bursts
for consonants. Everything comes from numpy and fixed seeds, so that each run writes the same samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent

VOWELS = {  # frequencies of the first four formants in Hz, after Peterson & Barney 1952
    "a": (730, 1090, 2440, 3400),
    "e": (530, 1840, 2480, 3500),
    "i": (270, 2290, 3010, 3600),
    "o": (570, 840, 2410, 3300),
    "u": (300, 870, 2240, 3300),
}
WIDTHS = (80, 100, 140, 200)  # Hz
HISSES = {"s": (5200, 1500, 0.12), "f": (3500, 2500, 0.05), "t": (4000, 2000, 0.2), "k": (1900, 700, 0.2)}


def main() -> None:
    rng = np.random.default_rng(7)
    voice = sentence(rng, "ta-ko-si-me-lo  fa-ni-ku-te-so", 16_000, pitch=118)
    save("voice", voice[None], fan(rng, len(voice), 16_000)[None], 16_000, snr=5)
    voice = sentence(rng, "si-la-to-ne  ki-fu-ta-ro", 48_000, pitch=205)
    stereo = np.stack([voice, 0.6 * voice])  # the speaker sits left of the middle
    noise = np.stack([hum(rng, len(voice), 48_000) + 0.6 * pink(rng, len(voice)) for _ in range(2)])
    save("interview", stereo, noise, 48_000, snr=8, suffix=".flac")


def save(name: str, clean: np.ndarray, noise: np.ndarray, rate: int, snr: float, suffix: str = ".wav") -> None:
    """Write (C, n) clean and clean + noise at `snr` dB, 16 bits."""
    clean = 0.5 * clean / np.abs(clean).max()
    noise = noise * np.sqrt(np.square(clean).sum() / np.square(noise).sum()) * 10 ** (-snr / 20)
    for folder, x in (("docs/clean", clean), ("samples", clean + noise)):
        path = ROOT / folder / f"{name}{suffix}"
        soundfile.write(path, x.T, rate, subtype="PCM_16")
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB")


def sentence(rng: np.random.Generator, text: str, rate: int, pitch: float) -> np.ndarray:
    """Consonant-vowel syllables joined by -, with pauses for blanks; (n,)."""
    words = text.split("  ")
    parts = []
    for place, word in enumerate(words):
        for syllable in word.split("-"):
            parts += [consonant(rng, syllable[0], rate), vowel(rng, syllable[1], rate, pitch)]
            pitch *= 0.985  # a voice sinks as its breath goes
        parts.append(np.zeros(int((0.35 if place < len(words) - 1 else 0.25) * rate)))
        pitch *= 1.08
    return np.concatenate([np.zeros(rate // 3), *parts])


def vowel(rng: np.random.Generator, name: str, rate: int, pitch: float) -> np.ndarray:
    n = int(rng.uniform(0.14, 0.22) * rate)
    t = np.arange(n) / rate
    f0 = pitch * (1 + 0.04 * np.sin(np.pi * t / t[-1]) + 0.006 * np.sin(2 * np.pi * 5.5 * t))
    phase = 2 * np.pi * np.cumsum(f0) / rate
    x = np.zeros(n)
    for k in range(1, int(min(rate / 2, 9000) / pitch)):
        x += envelope(k * f0, name) / k * np.sin(k * phase + rng.uniform(0, 0.3))
    return x * np.minimum(1, np.minimum(t, t[-1] - t) / 0.03)


def envelope(f: np.ndarray, name: str) -> np.ndarray:
    """Gain of the vocal tract: one resonance a formant."""
    gain = np.zeros_like(f)
    for order, (centre, width) in enumerate(zip(VOWELS[name], WIDTHS, strict=True)):
        gain += 0.6**order / np.sqrt(1 + ((f - centre) / width) ** 2)
    return gain


def consonant(rng: np.random.Generator, name: str, rate: int) -> np.ndarray:
    if name not in HISSES:  # nasals and liquids: a short, dark vowel
        return 0.4 * vowel(rng, "u", rate, 110)[: int(0.07 * rate)]
    centre, width, level = HISSES[name]
    n = int((0.1 if name in "sf" else 0.035) * rate)
    f = np.fft.rfftfreq(n, 1 / rate)
    hiss = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * np.exp(-(((f - centre) / width) ** 2)), n)
    gap = np.zeros(0 if name in "sf" else int(0.04 * rate))  # the closure of a plosive
    return np.concatenate([gap, level * hiss / np.abs(hiss).max() * np.hanning(n)])


def pink(rng: np.random.Generator, n: int) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    x = np.fft.irfft(spectrum, n)
    return x / x.std()


def fan(rng: np.random.Generator, n: int, rate: int) -> np.ndarray:
    """Air, and blades that turn 23 times a second."""
    t = np.arange(n) / rate
    blades = sum(np.sin(2 * np.pi * 23 * 7 * k * t + rng.uniform(0, 6)) / k for k in range(1, 6))
    return pink(rng, n) * (1 + 0.2 * np.sin(2 * np.pi * 23 * t)) + 0.3 * blades


def hum(rng: np.random.Generator, n: int, rate: int) -> np.ndarray:
    t = np.arange(n) / rate
    return sum(np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6)) / k for k in (1, 2, 3, 5, 7, 9))


if __name__ == "__main__":
    main()
