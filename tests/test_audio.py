"""Recordings: what goes in comes out, to the sample. Every fixture is made here."""

from __future__ import annotations

import errno
import io
import os
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from denoise_cli import media
from denoise_cli.errors import InputError, NoSpaceError, OutputError, UsageError
from denoise_cli.media import audio, chunks, containers, mp3, ogg
from denoise_cli.media.audio import BLOCK, AudioOptions
from denoise_cli.media.beside import Replacing
from denoise_cli.media.containers import AUDIO_SUFFIXES, CONTAINERS, detect, format_of
from denoise_cli.media.files import Job
from denoise_cli.media.levels import to_levels
from denoise_cli.media.resample import Resampler
from denoise_cli.signal import Sink, Source

RATE = 48_000


def sound(frames: int, channels: int = 2, bits: int = 8, seed: int = 0) -> np.ndarray:
    """(T, C) of a tone and some noise, on levels of `bits`."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None] / RATE
    x = 0.4 * np.sin(2 * np.pi * 440 * t + np.arange(channels)) + 0.02 * rng.standard_normal((frames, channels))
    return np.round(x * 2 ** (bits - 1)) / 2 ** (bits - 1)


def write(path: Path, x: np.ndarray, rate: int = RATE, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, x, rate, **options)
    return path


def read(path: Path) -> np.ndarray:
    """(T, C), by another way than ours."""
    return sf.read(path, dtype="float32", always_2d=True)[0]


def through(path: Path, out: Path, *, floating: bool = False, **options: Any) -> Path:
    """Copy a recording as blocks, unchanged."""
    job = Job(path, out, Path(path.name))
    with closing(media.open_source(job)) as source:
        sink = media.open_sink(job, source, floating=floating, audio=AudioOptions(**options))
        try:
            assert isinstance(source, Source)
            assert isinstance(sink, Sink)
            for block in source.blocks():
                assert (block.dtype, block.shape[2], block.flags.c_contiguous) == (np.float32, 1, True)
                sink.write(block)
            sink.commit()
        finally:
            sink.discard()
    return out


def refused(path: Path) -> str:
    with pytest.raises(InputError) as raised, closing(audio.open_audio(path.open("rb"), str(path))) as source:
        for _ in source.blocks():
            pass
    message = str(raised.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def heard(path: Path) -> np.ndarray:
    """(T, C), by our own way."""
    return audio.read(path).data[:, :, 0].T


def planted(path: Path, at: int, form: str, value: int) -> Path:
    """Overwrite a number in a file."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, value)
    path.write_bytes(content)
    return path


# --- identity: containers and subtypes

EXACT = [  # bits that come through float32, container, subtype
    *((8, major, sub) for major, sub in [("WAV", "PCM_U8"), ("WAVEX", "PCM_U8"), ("W64", "PCM_U8")]),
    *((8, major, "PCM_S8") for major in ("FLAC", "AIFF", "CAF", "AU")),
    *((16, major, "PCM_16") for major in ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "CAF", "AU")),
    *((24, major, "PCM_24") for major in ("WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "CAF", "AU")),
    *((24, major, "PCM_32") for major in ("WAV", "W64", "AIFF", "CAF", "AU")),
    *((24, major, sub) for major in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF") for sub in ("FLOAT", "DOUBLE")),
    *((24, "AU", sub) for sub in ("FLOAT", "DOUBLE")),
    *((16, major, sub) for major in ("WAV", "W64", "AIFF", "CAF", "AU") for sub in ("ULAW", "ALAW")),
    *((16, major, "IMA_ADPCM") for major in ("WAV", "W64")),
]  # fmt: skip


@pytest.mark.parametrize(("bits", "major", "subtype"), EXACT)
def test_what_is_stored_in_whole_samples_comes_back_exactly(tmp_path, bits, major, subtype) -> None:
    path = write(tmp_path / "in", sound(5003, 2, bits), format=major, subtype=subtype)
    name = containers.named(major, subtype)
    out = through(path, tmp_path / f"out.{name}")
    before, after = sf.info(path), sf.info(out)
    assert (after.subtype, after.samplerate, after.frames) == (before.subtype, RATE, before.frames)
    assert after.format == major
    np.testing.assert_array_equal(read(out), read(path))


@pytest.mark.parametrize("major", ["WAV", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_the_order_of_bytes_is_kept(tmp_path, major, endian) -> None:
    path = write(tmp_path / "in", sound(501), format=major, subtype="PCM_16", endian=endian)
    out = through(path, tmp_path / f"out.{major.lower()}")
    assert out.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_every_level_comes_back(tmp_path, bits) -> None:
    levels = np.arange(-(1 << bits - 1), 1 << bits - 1, 1 << max(0, bits - 16), dtype=np.int64)
    levels = np.append(levels, (1 << bits - 1) - 1)
    subtype = {8: "PCM_U8", 16: "PCM_16", 24: "PCM_24"}[bits]
    path = write(tmp_path / "in.wav", (levels << 32 - bits).astype(np.int32), subtype=subtype)
    out = through(path, tmp_path / "out.wav")
    assert out.read_bytes() == path.read_bytes()
    np.testing.assert_array_equal(to_levels(heard(out), bits)[:, 0] >> 32 - bits, levels)


@pytest.mark.parametrize("frames", [1, 2, 1151, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_lengths_are_exact(tmp_path, suffix, frames) -> None:
    major, subtype = CONTAINERS[suffix].major, CONTAINERS[suffix].subtypes[-1 if suffix in ("ogg", "opus") else 0]
    path = write(tmp_path / f"in.{suffix}", sound(frames), format=major, subtype=subtype)
    with closing(audio.open_audio(path.open("rb"), "x")) as source:
        assert source.header.length == frames
        sizes = [block.shape[1] for block in source.blocks()]
        assert sum(sizes) == frames
        assert set(sizes[:-1]) <= {BLOCK}
    assert sf.info(through(path, tmp_path / f"out.{suffix}")).frames == frames


def test_no_frames_are_refused(tmp_path) -> None:
    assert refused(write(tmp_path / "x.wav", np.zeros((0, 2)))) == "holds no samples"


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("suffix", ["ogg", "opus", "mp3"])
def test_lossy_codecs_shift_nothing(tmp_path, suffix, rate) -> None:
    frames = 3 * rate + 7
    x = np.zeros((frames, 1))
    t = np.arange(400) / rate
    for start in range(rate // 2, frames - rate // 2, rate // 2):
        x[start : start + 400, 0] = 0.5 * np.hanning(400) * np.sin(2 * np.pi * 1000 * t)
    major, subtype = CONTAINERS[suffix].major, CONTAINERS[suffix].subtypes[0]
    path = write(tmp_path / f"in.{suffix}", x, rate, format=major, subtype=subtype)
    y = heard(through(path, tmp_path / f"out.{suffix}"))
    assert y.shape == x.shape
    correlation = np.correlate(y[:, 0], x[20:-20, 0], "valid")
    assert int(correlation.argmax()) == 20
    assert np.corrcoef(x[:, 0], y[:, 0])[0, 1] > 0.98


def test_an_mp3_of_a_low_rate_is_decoded_as_in_one_piece(tmp_path) -> None:
    path = write(tmp_path / "x.mp3", sound(3 * BLOCK, 1), 22_050, format="MP3", subtype="MPEG_LAYER_III")
    np.testing.assert_allclose(heard(path), read(path), atol=1e-6)  # with a seek a block it would differ by 0.3


def test_header(tmp_path) -> None:
    def header(name: str, **options: Any):
        with closing(audio.open_audio(write(tmp_path / name, sound(100, 3), **options).open("rb"), name)) as source:
            return source.header

    wav = header("x.wav", subtype="PCM_24")
    assert (wav.kind, wav.channels, wav.length, wav.width, wav.frames, wav.size) == ("audio", 3, 100, 1, 1, 100)
    assert (wav.groups, wav.step, wav.rate, wav.format) == (((0,), (1,), (2,)), 2 / 2**24, RATE, "wav")
    assert header("x.wav", subtype="FLOAT").step == 0
    assert header("x.wav", subtype="ULAW").step == 0
    assert header("x.opus", format="OGG", subtype="OPUS").format == "opus"
    assert header("x.rf64", subtype="PCM_16").format == "rf64"


def test_a_float_file_keeps_what_is_beyond_full_scale(tmp_path) -> None:
    x = (3 * sound(1000)).astype(np.float32)
    path = write(tmp_path / "x.wav", x, subtype="FLOAT")
    np.testing.assert_array_equal(read(through(path, tmp_path / "y.wav")), x)


# --- other formats and depths


@pytest.mark.parametrize(
    ("stored", "suffix", "becomes"),
    [
        (("WAV", "FLOAT"), "flac", "PCM_24"),
        (("WAV", "PCM_U8"), "flac", "PCM_S8"),
        (("WAV", "ALAW"), "flac", "PCM_16"),
        (("AIFF", "PCM_S8"), "wav", "PCM_U8"),
        (("MP3", "MPEG_LAYER_III"), "wav", "PCM_16"),
        (("OGG", "VORBIS"), "flac", "PCM_16"),
        (("CAF", "ALAC_16"), "wav", "PCM_16"),
        (("CAF", "ALAC_24"), "caf", "PCM_24"),
        (("FLAC", "PCM_24"), "mp3", "MPEG_LAYER_III"),
        (("FLAC", "PCM_24"), "opus", "OPUS"),
        (("W64", "DOUBLE"), "aiff", "DOUBLE"),
    ],
)
def test_the_suffix_decides_the_format_and_the_depth_is_the_nearest(tmp_path, stored, suffix, becomes) -> None:
    path = write(tmp_path / "in", sound(3000), format=stored[0], subtype=stored[1])
    out = through(path, tmp_path / f"out.{suffix}")
    assert sf.info(out).subtype == becomes
    assert read(out).shape == (3000, 2)
    assert np.abs(read(out) - read(path)).max() < (2.5 / 2**15 if "PCM" in becomes else 0.2)


def test_dwvw_of_24_bits_becomes_pcm_of_24_bits(tmp_path) -> None:
    x = sound(3000, 1, bits=24)
    out = through(write(tmp_path / "x.aiff", x, format="AIFF", subtype="DWVW_24"), tmp_path / "y.aiff")
    assert sf.info(out).subtype == "PCM_24"
    assert np.abs(read(out) - x).max() < 2.5 / 2**23


@pytest.mark.parametrize("depth", [8, 16, 24, 32, "float", "24"])
def test_the_depth_can_be_chosen(tmp_path, depth) -> None:
    path = write(tmp_path / "x.wav", sound(1000), subtype="PCM_16")
    expected = {"8": "PCM_U8", "float": "FLOAT"}.get(str(depth), f"PCM_{depth}")
    assert sf.info(through(path, tmp_path / "y.wav", bit_depth=depth)).subtype == expected


def test_floating_is_a_float_wav_that_is_not_clipped(tmp_path) -> None:
    path = write(tmp_path / "x.flac", sound(1000))
    job = Job(path, tmp_path / "y.wav", Path("x"))
    with closing(media.open_source(job)) as source:
        sink = media.open_sink(job, source, floating=True)
        for block in source.blocks():
            sink.write(block * 5)
        sink.commit()
    assert sf.info(tmp_path / "y.wav").subtype == "FLOAT"
    np.testing.assert_array_equal(read(tmp_path / "y.wav"), 5 * read(path))


def test_what_a_format_cannot_hold_is_refused_before_work(tmp_path) -> None:
    six = write(tmp_path / "x.wav", sound(1000, 6))
    with pytest.raises(OutputError, match="mp3 cannot hold 6 channels; wav, rf64, w64, flac, opus, ogg"):
        through(six, tmp_path / "y.mp3")
    odd = write(tmp_path / "z.wav", sound(1000), 44_100)
    with pytest.raises(OutputError, match=r"opus cannot hold 44100 samples a second.* 8000, 12000, .* 48000"):
        through(odd, tmp_path / "y.opus")
    with pytest.raises(OutputError, match="mp3 has no bit depth 16"):
        through(odd, tmp_path / "y.mp3", bit_depth=16)
    with pytest.raises(OutputError, match=r"y\.png: a recording cannot be written as png"):
        through(odd, tmp_path / "y.png")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.wav", "z.wav"]


@pytest.mark.parametrize("options", [{"sample_rate": 500}, {"bit_depth": 12}, {"clip": "wrap"}])
def test_options_are_checked(options) -> None:
    with pytest.raises(UsageError):
        AudioOptions(**options)


# --- levels: rounding, limits, dither


def test_samples_are_rounded_to_nearest_and_limited() -> None:
    step = 2.0**-15
    x = np.array([[0.4, 0.6, -0.4, -0.6, 1.5, 2.5]]) * step
    assert (to_levels(x.astype(np.float32), 16) >> 16).tolist() == [[0, 1, 0, -1, 2, 2]]
    loud = np.array([[1, -1, 1.7, -30, 1 - step / 3]], np.float32)
    for bits in (8, 16, 24, 32):
        top = 1 << bits - 1
        levels = to_levels(loud, bits).astype(np.int64) >> 32 - bits
        assert levels[0, :4].tolist() == [top - 1, -top, top - 1, -top]


def test_nan_is_never_written(tmp_path) -> None:
    path = write(tmp_path / "x.wav", sound(1000))
    for out, bad in (("y.wav", np.nan), ("y.mp3", np.inf), ("z.wav", -np.inf)):
        job = Job(path, tmp_path / out, Path("x"))
        with closing(media.open_source(job)) as source:
            sink = media.open_sink(job, source, floating=out == "z.wav")
            block = np.zeros((2, 1000, 1), np.float32)
            block[1, 7] = bad
            with pytest.raises(OutputError, match="non-finite samples in the result"):
                sink.write(block)
            sink.discard()
    assert [each.name for each in tmp_path.iterdir()] == ["x.wav"]


def test_dither_leaves_an_error_that_knows_nothing_of_the_signal() -> None:
    step = 2.0**-15
    rng = np.random.default_rng(0)
    for offset in (0, 0.25, 0.5, 0.9):  # a constant between two levels
        x = np.full((200_000, 1), (3 + offset) * step, np.float32)
        error = (to_levels(x, 16, rng) / 2**31 - x) / step
        assert abs(error.mean()) < 0.005
        assert error.var() == pytest.approx(0.25, rel=0.02)


def test_only_a_coarser_depth_is_dithered(tmp_path) -> None:
    silence = np.zeros((1000, 2))
    for name, subtype in (("a.wav", "PCM_16"), ("b.wav", "ULAW"), ("c.flac", "PCM_16")):
        out = through(write(tmp_path / name, silence, subtype=subtype), tmp_path / f"out{name}", bit_depth=16)
        assert not read(out).any()
    path = write(tmp_path / "d.wav", silence, subtype="PCM_24")
    noisy = read(through(path, tmp_path / "y.wav", bit_depth=16)) * 2**15
    assert set(np.unique(noisy)) == {-1, 0, 1}
    assert not read(through(path, tmp_path / "z.wav", bit_depth=32)).any()


def test_dither_does_not_depend_on_how_the_blocks_are_cut() -> None:
    x = sound(1000, 2, 24).astype(np.float32)
    whole = to_levels(x, 16, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    parts = [to_levels(x[a:b], 16, rng) for a, b in ((0, 1), (1, 334), (334, 1000))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def loud(tmp_path: Path, gain: float, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Make a recording louder on its way; return what went in and what came out, (T, C)."""
    path = write(tmp_path / "x.wav", sound(70_000))
    job = Job(path, tmp_path / "y.wav", Path("x"))
    with closing(media.open_source(job)) as source:
        sink = media.open_sink(job, source, audio=AudioOptions(**options))
        for block in source.blocks():
            sink.write(block * np.float32(gain))
        sink.commit()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.wav", "y.wav"]
    return gain * read(path), read(tmp_path / "y.wav")


def test_clamp_limits_and_never_wraps(tmp_path) -> None:
    x, y = loud(tmp_path, 4)
    np.testing.assert_allclose(y, x.clip(-1, 1 - 2**-15), atol=2**-16)


def test_rescale_lowers_the_whole_file_only_where_it_is_too_loud(tmp_path) -> None:
    x, y = loud(tmp_path, 4, clip="rescale")
    np.testing.assert_allclose(y, x / np.abs(x).max(), atol=2**-15)
    x, y = loud(tmp_path, 1.5, clip="rescale")
    np.testing.assert_allclose(y, x, atol=2**-16)


# --- resampling


@pytest.mark.parametrize(("old", "new"), [(44_100, 48_000), (48_000, 16_000), (8_000, 44_100), (11_025, 48_000)])
@pytest.mark.parametrize("frames", [1, 1000, 70_001])
def test_a_resampled_file_has_exactly_its_length(tmp_path, old, new, frames) -> None:
    path = write(tmp_path / "x.wav", sound(frames), old)
    out = sf.info(through(path, tmp_path / "y.wav", sample_rate=new))
    assert (out.samplerate, out.frames) == (new, max(1, round(frames * new / old)))


@pytest.mark.parametrize(("old", "new"), [(44_100, 48_000), (48_000, 16_000), (16_000, 44_100)])
def test_a_resampled_tone_is_the_tone_at_the_other_rate(tmp_path, old, new) -> None:
    def tone(rate: int) -> np.ndarray:
        return 0.5 * np.sin(2 * np.pi * 997 * np.arange(3 * rate) / rate)

    path = write(tmp_path / "x.wav", tone(old), old, subtype="FLOAT")
    y = read(through(path, tmp_path / "y.wav", sample_rate=new))[:, 0]
    middle = slice(new // 10, -new // 10)
    assert np.abs(y - tone(new))[middle].max() < 2e-5


def test_what_is_above_the_new_band_vanishes(tmp_path) -> None:
    x = 0.5 * np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000)
    y = read(through(write(tmp_path / "x.wav", x, subtype="FLOAT"), tmp_path / "y.wav", sample_rate=16_000))
    assert np.abs(y[1600:-1600]).max() < 1e-5


def test_one_frame_stays_one_frame_at_any_rate():
    resampler = Resampler(48_000, 1_000, 2)
    pushed = resampler.push(np.full((1, 2), 0.5, np.float32))
    assert len(pushed) + len(resampler.finish()) == 1
    assert len(Resampler(48_000, 1_000, 2).finish()) == 0


def test_a_resampler_takes_small_pieces_where_it_multiplies() -> None:
    resampler = Resampler(1_000, 384_000, 1)
    assert len(resampler.push(np.zeros((resampler.step, 1), np.float32))) <= 2 * BLOCK


# --- headers that lie

PIPED = {"ffmpeg": 0xFFFFFFFF, "sox": 0x7FFFF000, "arecord": 0x80000000, "never mended": 0}


@pytest.mark.parametrize("size", PIPED.values(), ids=PIPED)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_a_wav_out_of_a_pipe_is_read_to_its_end(tmp_path, size, subtype) -> None:
    path = write(tmp_path / "x.wav", sound(5003), subtype=subtype)
    x = read(path)
    at = path.read_bytes().index(b"data") + 4
    planted(planted(path, at, "<I", size), 4, "<I", min(size + 36, 0xFFFFFFFF))
    np.testing.assert_array_equal(heard(path), x)
    np.testing.assert_array_equal(read(through(path, tmp_path / "y.wav")), x)
    with closing(audio.open_audio(path.open("rb"), "x")) as source:
        assert source.header.length == 5003


def test_other_containers_out_of_a_pipe_are_read_to_their_end(tmp_path) -> None:
    x = sound(5003)
    aiff = write(tmp_path / "x.aiff", x)
    content = aiff.read_bytes()
    for size in (0x7FFFF008, 0, 0xFFFFFFFF):
        planted(planted(aiff, content.index(b"SSND") + 4, ">I", size), content.index(b"COMM") + 10, ">I", size // 4)
        np.testing.assert_array_equal(heard(aiff), x)
    au = write(tmp_path / "x.au", x)
    for size in (0xFFFFFFFF, 0):
        np.testing.assert_array_equal(heard(planted(au, 8, ">I", size)), x)
    caf = write(tmp_path / "x.caf", x)
    np.testing.assert_array_equal(heard(planted(caf, caf.read_bytes().index(b"data") + 4, ">q", -1)), x)
    rf64 = write(tmp_path / "x.rf64", x)
    np.testing.assert_array_equal(heard(planted(rf64, 28, "<Q", 0)), x)


def test_a_flac_that_does_not_tell_its_length_has_none(tmp_path) -> None:
    path = write(tmp_path / "x.flac", sound(100_000))
    x = read(path)
    content = path.read_bytes()
    packed = int.from_bytes(content[18:26], "big") >> 36 << 36  # 36 bits of it count the frames
    path.write_bytes(content[:18] + packed.to_bytes(8, "big") + bytes(16) + content[42:])
    with closing(audio.open_audio(path.open("rb"), "x")) as source:
        assert source.header.length is None
    np.testing.assert_array_equal(heard(path), x)
    for suffix in ("flac", "wav", "aiff"):
        np.testing.assert_array_equal(read(through(path, tmp_path / f"y.{suffix}")), x)
    assert (tmp_path / "y.wav").read_bytes()[:4] == b"RIFF"  # it might have become an RF64
    path.write_bytes(path.read_bytes()[:-5000])
    assert "lost sync" in refused(path)


def test_an_mp3_that_does_not_tell_its_length_is_read_to_its_end(tmp_path) -> None:
    path = write(tmp_path / "x.mp3", sound(200_000), format="MP3", subtype="MPEG_LAYER_III")
    content = path.read_bytes()
    first = content.index(content[:2], 10)  # the frame with the table
    path.write_bytes(content[first:])
    assert sf.info(path).frames < 190_000  # a guess by the first bit rate
    with closing(audio.open_audio(path.open("rb"), "x")) as source:
        assert source.header.length is None
        frames = sum(block.shape[1] for block in source.blocks())
    assert 200_000 < frames < 204_000  # with the coder's own padding
    assert sf.info(through(path, tmp_path / "y.mp3")).frames == frames
    path.write_bytes(content[first:-300])
    assert refused(path) == "codec error: damaged or cut short"


def test_more_than_4_gib_behind_the_header_of_a_pipe(tmp_path) -> None:
    path = write(tmp_path / "x.wav", np.zeros((1, 2)), subtype="PCM_16")
    planted(planted(path, 40, "<I", 0xFFFFFFFF), 4, "<I", 0xFFFFFFFF)
    os.truncate(path, 44 + 4 * 1_200_000_000)  # sparse
    with closing(audio.open_audio(path.open("rb"), "x")) as source:
        assert (source.header.length, source.header.format) == (1_200_000_000, "wav")
        assert next(source.blocks()).shape == (2, BLOCK, 1)
        assert containers.plan("wav", source.stored, AudioOptions()).major == "RF64"


def test_an_empty_wav_with_a_chunk_behind_is_no_pipe(tmp_path) -> None:
    path = write(tmp_path / "x.wav", np.zeros((0, 1)))
    content = path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO"
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert refused(path) == "holds no samples"


def test_a_damaged_header_is_not_followed_for_ever(tmp_path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 10_000)
    with path.open("rb") as file:
        assert chunks.honest(file) == chunks.Head()
    assert "codec error" in refused(path)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed; its headers are imitated above")
@pytest.mark.parametrize("format", ["wav", "flac", "au", "mp3"])
def test_ffmpeg_through_a_pipe(tmp_path, format) -> None:
    x = sound(100_000)
    path = write(tmp_path / "x.wav", x)
    out = tmp_path / f"piped.{format}"
    piped = subprocess.run(
        ["ffmpeg", "-v", "quiet", "-i", path, "-f", format, "-"], capture_output=True, check=True
    )
    out.write_bytes(piped.stdout)
    assert len(heard(out)) == pytest.approx(100_000, abs=4000 if format == "mp3" else 0)


@pytest.mark.skipif(not shutil.which("sox"), reason="sox is not installed; its headers are imitated above")
@pytest.mark.parametrize("format", ["wav", "flac", "aiff"])
def test_sox_through_a_pipe(tmp_path, format) -> None:
    path = write(tmp_path / "x.wav", sound(100_000))
    out = tmp_path / f"piped.{format}"
    out.write_bytes(subprocess.run(["sox", path, "-t", format, "-"], capture_output=True, check=True).stdout)
    np.testing.assert_array_equal(heard(out), read(path))


# --- damage


@pytest.mark.parametrize("suffix", ["wav", "rf64", "w64", "aiff", "caf", "au", "flac", "ogg", "opus", "mp3"])
@pytest.mark.parametrize("missing", [1, 1000, 5001])
def test_a_file_that_ends_early_is_refused(tmp_path, suffix, missing, capfd) -> None:
    container = CONTAINERS[suffix]
    subtype = "PCM_16" if "PCM_16" in container.subtypes else container.subtypes[0]
    path = write(tmp_path / f"x.{suffix}", sound(100_000), format=container.major, subtype=subtype)
    os.truncate(path, path.stat().st_size - missing)
    message = refused(path)
    assert "cut short" in message or "lost sync" in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", ["flac", "ogg", "opus", "mp3"])
def test_a_damaged_file_is_refused(tmp_path, suffix, capfd) -> None:
    container = CONTAINERS[suffix]
    path = write(tmp_path / f"x.{suffix}", sound(200_000), format=container.major, subtype=container.subtypes[0])
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 3000] = bytes(3000)
    path.write_bytes(content)
    refused(path)
    assert capfd.readouterr() == ("", "")  # the MP3 decoder has much to say


def test_the_decoder_is_not_silenced_for_others() -> None:
    script = (
        "import ctypes, os; from denoise_cli.media import sndfile\n"
        "puts = ctypes.CDLL(None).perror\n"
        "with sndfile._quiet(True): puts(b'swallowed'); os.write(2, b'python speaks ')\n"
        "puts(b'heard')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert b"python speaks" in done.stderr
    assert b"heard" in done.stderr
    assert (b"swallowed" in done.stderr) == ("CS_GNU_LIBC_VERSION" not in os.confstr_names)


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"hello\n" * 50,
            bytes(3000),
            b"RIFF\0\0\0\0WAVE",
            b"fLaC",
            b"OggS" + bytes(100),
            b"ID3" + bytes(100),
        ),
        *(
            b"FORM\0\0\0\0AIFF",
            b"caff" + bytes(100),
            b".snd" + bytes(3),
            b"\xff\xfb\x90\0" * 100,
            b"RF64" + bytes(40),
        ),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path, content, capfd) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    file = path.open("rb")
    with pytest.raises(InputError, match="x: ") as raised:
        audio.open_audio(file, str(path))
    assert str(raised.value).isprintable()
    assert file.closed
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(12))
def test_no_damage_raises_anything_else(tmp_path, seed, capfd) -> None:
    rng = np.random.default_rng(seed)
    for suffix, container in CONTAINERS.items():
        subtype = "PCM_16" if "PCM_16" in container.subtypes else container.subtypes[0]
        path = write(tmp_path / f"x.{suffix}", sound(3000), format=container.major, subtype=subtype)
        content = np.frombuffer(path.read_bytes(), np.uint8).copy()
        where = rng.integers(0, 200 if seed % 2 else len(content), 8)
        content[where] = rng.integers(0, 256, 8)
        path.write_bytes(content)
        with suppress(InputError):
            assert np.isfinite(heard(path)).all()
    assert capfd.readouterr() == ("", "")


def test_non_finite_samples_are_refused_with_their_time(tmp_path) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        x = sound(100_000, 2, 24)
        x[72_000, 1] = bad
        assert refused(write(tmp_path / "x.wav", x, subtype="FLOAT")) == "non-finite samples at 1.500 s"


def test_float_samples_that_were_never_scaled_are_refused(tmp_path) -> None:
    path = write(tmp_path / "x.wav", sound(100) * 32768, subtype="FLOAT")
    assert refused(path).endswith("scale them to [-1, 1]")


@pytest.mark.parametrize("rate", [1, 999, 384_001, 2_147_483_647])
def test_odd_rates_are_refused(tmp_path, rate) -> None:
    path = planted(write(tmp_path / "x.wav", sound(100), subtype="PCM_16"), 24, "<I", rate)
    assert f"{rate} samples a second; from 1,000 to 384,000" in refused(path)


def test_64_channels_work_and_no_more(tmp_path) -> None:
    path = write(tmp_path / "x.wav", sound(5003, 64))
    np.testing.assert_array_equal(read(through(path, tmp_path / "y.wav")), read(path))
    assert refused(write(tmp_path / "x.wav", sound(10, 65))) == "65 channels; the limit is 64"


# --- size


@pytest.mark.parametrize("length", [4_294_000_000, 4_290_000_000, None])
def test_a_wav_that_may_pass_4_gib_becomes_rf64(length) -> None:
    stored = containers.Stored("wav", "WAV", "PCM_U8", "FILE", 1, RATE, length)
    plan = containers.plan("wav", stored, AudioOptions())
    assert (plan.major, plan.downgrade) == (("WAV", False) if length == 4_290_000_000 else ("RF64", True))
    longer = containers.plan("wav", stored, AudioOptions(sample_rate=2 * RATE))
    assert longer.major == "RF64"


@pytest.mark.parametrize("name", ["aiff", "au"])
def test_other_containers_of_4_gib_are_refused_before_work(name) -> None:
    stored = containers.Stored("flac", "FLAC", "PCM_16", "FILE", 2, RATE, 2_000_000_000)
    with pytest.raises(OutputError, match=f"{name} cannot hold more than 4 GiB of PCM_16"):
        containers.plan(name, stored, AudioOptions())
    for other in ("flac", "caf", "w64", "rf64", "ogg", "mp3"):
        containers.plan(other, stored, AudioOptions())


def test_a_size_that_turns_out_too_big_is_refused_when_it_is_reached(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(containers, "LIMIT_32", 4 * 5000)
    path = write(tmp_path / "x.flac", sound(5001), subtype="PCM_16")
    with pytest.raises(OutputError, match="aiff cannot hold more than 4 GiB"):
        through(path, tmp_path / "y.aiff")
    content = path.read_bytes()
    packed = int.from_bytes(content[18:26], "big") >> 36 << 36
    path.write_bytes(content[:18] + packed.to_bytes(8, "big") + content[26:])
    with pytest.raises(OutputError, match=r"y\.aiff: aiff cannot hold more than 4 GiB"):
        through(path, tmp_path / "y.aiff")
    assert [each.name for each in tmp_path.iterdir()] == ["x.flac"]
    np.testing.assert_array_equal(read(through(path, tmp_path / "y.wav")), sound(5001))


# --- a full disk


class Full:
    """A target whose disk takes so many bytes."""

    name = "out.wav"
    folder = None

    def __init__(self, room: int):
        self.file: Any = Disk(room)

    def fileno(self) -> int:
        raise AssertionError

    def commit(self) -> None:
        raise AssertionError("committed what was not written")

    def discard(self) -> None:
        self.file.close()


class Disk(io.BytesIO):
    def __init__(self, room: int):
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def fill(source: audio.AudioSource, target: Any, format: str) -> None:
    try:
        sink = source.save_to(target, format=format)
        for block in source.blocks():
            sink.write(block)
        sink.commit()
    finally:
        target.discard()


@pytest.mark.parametrize("format", CONTAINERS)
@pytest.mark.parametrize("room", [0, 3000, 20_000])
def test_a_full_disk_is_told_from_other_errors(tmp_path, format, room, capfd) -> None:
    path = write(tmp_path / "x.wav", sound(100_000))
    full = pytest.raises(NoSpaceError, match=r"no space left on device: out\.wav")
    with closing(audio.open_audio(path.open("rb"), "x")) as source, full:
        fill(source, Full(room), format)
    assert capfd.readouterr() == ("", "")


def test_dev_full(tmp_path) -> None:
    target = Full(0)
    target.file = io.FileIO("/dev/full", "r+")
    path = write(tmp_path / "x.wav", sound(100_000))
    with closing(audio.open_audio(path.open("rb"), "x")) as source, pytest.raises(NoSpaceError):
        fill(source, target, "wav")


def test_a_sink_that_was_not_given_everything_commits_nothing(tmp_path) -> None:
    path = write(tmp_path / "x.wav", sound(1000))
    with closing(audio.open_audio(path.open("rb"), "x")) as source:
        sink = source.save_to(Replacing(tmp_path / "y.wav"))
        sink.write(np.zeros((2, 999, 1), np.float32))
        with pytest.raises(OutputError, match="999 of 1000 frames were written"):
            sink.commit()
        sink.discard()
        sink.discard()
    assert [each.name for each in tmp_path.iterdir()] == ["x.wav"]


# --- the same bytes, and tags


@pytest.mark.parametrize("format", CONTAINERS)
@pytest.mark.parametrize("depth", [None, "float"])
def test_the_same_input_gives_the_same_bytes(tmp_path, monkeypatch, format, depth) -> None:
    if depth and "FLOAT" not in CONTAINERS[format].subtypes:
        pytest.skip("no float samples")
    path = write(tmp_path / "x.wav", sound(70_001, 2, 24), subtype="FLOAT")
    outs = [through(path, tmp_path / f"{n}.{format}", bit_depth=depth).read_bytes() for n in range(2)]
    assert outs[0] == outs[1]
    assert b"PEAK" not in outs[0]  # it holds the time of day
    assert b"peak" not in outs[0]


@pytest.mark.parametrize(("suffix", "options"), [(".ogg", {}), (".opus", {"format": "OGG", "subtype": "OPUS"})])
def test_a_chain_of_recordings_is_refused_rather_than_cut(tmp_path, suffix, options) -> None:
    path = write(tmp_path / f"x{suffix}", sound(100_000), **options)
    with path.open("r+b") as file:
        ogg.renumber(file)  # two outputs of ours have the same serial number
    audio.read(path)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(InputError, match="several recordings in one file"):
        audio.read(path)


def test_joined_mp3_files_are_refused_rather_than_cut(tmp_path) -> None:
    path = write(tmp_path / "x.mp3", sound(200_000), format="MP3")
    whole = path.read_bytes()
    frames = whole[whole.index(whole[:2], 200) :]  # without the one that tells the length
    assert len(frames) > 2 * mp3.SLACK
    for behind, refused in (
        (b"", False), (b"TAG".ljust(128, b"\0"), False), (b"APETAGEX" + bytes(99), False), (frames[:3000], False),
        (whole, True), (b"ID3\4\0\0\0\0\0\0" + whole, True), (frames, True),
    ):  # fmt: skip
        path.write_bytes(whole + behind)
        if refused:
            with pytest.raises(InputError, match="joined"):
                audio.read(path)
        else:
            audio.read(path)


def test_renumbered_pages_have_the_right_checksum(tmp_path) -> None:
    path = write(tmp_path / "x.ogg", sound(100_000))
    before = path.read_bytes()
    with path.open("r+b") as file:
        ogg.renumber(file)
        assert not ogg.is_cut(file)
    after = path.read_bytes()
    assert len(after) == len(before)
    starts = [n for n in range(len(after)) if after.startswith(b"OggS", n)]
    for start, end in zip(starts, [*starts[1:], len(after)], strict=True):
        page = bytearray(after[start:end])
        (crc,) = struct.unpack_from("<I", page, ogg.CRC_AT)
        struct.pack_into("<I", page, ogg.CRC_AT, 0)
        assert slow_crc(page) == crc
        assert struct.unpack_from("<I", page, ogg.SERIAL_AT) == (ogg.SERIAL,)
    np.testing.assert_array_equal(read(path), sf.read(io.BytesIO(before), dtype="float32")[0])


def slow_crc(data: bytes) -> int:
    """RFC 3533, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (ogg.P if crc >> 31 else 0)
    return crc


TAGS = {"title": "Größe, 大きさ", "artist": "Bach", "comment": "a comment", "date": "1721"}


@pytest.mark.parametrize("suffix", ["wav", "rf64", "flac", "ogg", "opus", "caf", "aiff", "mp3"])
def test_tags_are_kept(tmp_path, suffix) -> None:
    path = tmp_path / "x.flac"
    with sf.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for name, text in TAGS.items():
            setattr(file, name, text)
        file.write(sound(5000))
    kept = dict(TAGS)
    if suffix == "aiff":
        del kept["date"]  # it has no place for it
    first = through(path, tmp_path / f"y.{suffix}")
    second = through(first, tmp_path / f"z.{suffix}")
    for out in (first, second):
        with closing(audio.open_audio(out.open("rb"), "x")) as source:
            assert source.tags == kept
            assert source.header.length == 5000


def test_the_tag_of_an_mp3_is_kept_as_it_is(tmp_path) -> None:
    path = write(tmp_path / "x.mp3", sound(5000), format="MP3", subtype="MPEG_LAYER_III")
    cover = b"APIC" + struct.pack(">I", 70_000) + bytes(70_002)
    tag = b"ID3\x03\0\0" + mp3._split(len(cover)) + cover
    path.write_bytes(tag + path.read_bytes())
    out = through(path, tmp_path / "y.mp3")
    assert out.read_bytes().startswith(tag)
    assert out.read_bytes()[len(tag)] == 0xFF
    assert heard(out).shape == (5000, 2)


# --- the rest


def test_formats_are_told_by_content_and_names(tmp_path) -> None:
    assert {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".caf"} <= AUDIO_SUFFIXES
    assert media.SUFFIXES == media.IMAGE_SUFFIXES | AUDIO_SUFFIXES
    assert not media.IMAGE_SUFFIXES & AUDIO_SUFFIXES
    assert (format_of(Path("x.WAV")), format_of(Path("x.oga")), format_of(Path("x.png"))) == ("wav", "ogg", None)
    assert (media.kind_of(Path("x.WAV")), media.kind_of(Path("x.png"))) == ("audio", "image")
    for suffix, container in CONTAINERS.items():
        path = write(tmp_path / "x", sound(3000), format=container.major, subtype=container.subtypes[0])
        assert detect(path.read_bytes()[: media.HEAD]) == suffix


def test_neither_picture_nor_recording_is_one_line_with_all_formats(tmp_path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(b"hello\n" * 100)
    with pytest.raises(InputError, match=r"x\.wav: not a picture and not a recording.* png, .* wav, "):
        media.open_source(Job(path, None, Path("x")))
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.wav: the file is empty"):
        media.open_source(Job(path, None, Path("x")))


def test_a_picture_is_not_written_as_a_recording(tmp_path) -> None:
    from tests.conftest import scene, write_png

    job = Job(write_png(tmp_path / "x.png", scene(8, 9)), tmp_path / "y.wav", Path("x"))
    with (
        closing(media.open_source(job)) as source,
        pytest.raises(OutputError, match="a picture cannot be written as wav"),
    ):
        media.open_sink(job, source)


def test_a_target_met_in_a_folder_keeps_the_format_whatever_its_name(tmp_path) -> None:
    path = write(tmp_path / "x.wav", sound(1000), format="FLAC")
    job = Job(path, tmp_path / "y.wav", Path("x"), resume=True)
    with closing(media.open_source(job)) as source:
        sink = media.open_sink(job, source)
        for block in source.blocks():
            sink.write(block)
        sink.commit()
    assert (tmp_path / "y.wav").read_bytes()[:4] == b"fLaC"


@pytest.mark.parametrize("name", [b"a\nb.wav", b"caf\xe9.wav", b"-x.wav", b"\x1b[31m.wav"])
def test_odd_names(tmp_path, name) -> None:
    path = tmp_path / os.fsdecode(name)
    write(tmp_path / "plain.wav", sound(100)).rename(path)
    np.testing.assert_array_equal(heard(through(path, path.with_name(f"o{path.name}"))), sound(100))
    path.write_bytes(b"no recording")
    with pytest.raises(InputError) as raised:
        audio.read(path)
    assert str(raised.value).isprintable()


def test_threads_do_not_disturb_each_other(tmp_path) -> None:
    def work(suffix: str) -> bool:
        path = write(tmp_path / suffix / f"x.{suffix}", sound(BLOCK + 7))
        outs = [through(path, path.with_name(f"{n}.{suffix}")).read_bytes() for n in range(3)]
        return outs[0] == outs[1] == outs[2]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, ["wav", "flac", "ogg", "mp3", "aiff", "caf"]))


def test_media_import_neither_soundfile_nor_soxr() -> None:
    script = (
        "import sys, denoise_cli.media, denoise_cli.media.containers;"
        "assert not {'soundfile', 'soxr', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("module", ["soundfile", "soxr"])
def test_a_missing_package_is_named_with_its_remedy(module) -> None:
    where = {"soundfile": "audio", "soxr": "resample"}[module]
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from denoise_cli.errors import BackendError\n"
        f"try: import denoise_cli.media.{where}\n"
        f"except BackendError as error: assert 'pip install {module}' in str(error)\n"
        "else: raise SystemExit('imported')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_memory_stays_flat(tmp_path) -> None:
    path = write(tmp_path / "x.wav", np.zeros((1, 2)), subtype="PCM_16")
    planted(planted(path, 40, "<I", 0xFFFFFFFF), 4, "<I", 0xFFFFFFFF)
    os.truncate(path, 44 + 4 * 48_000 * 3600)  # an hour, sparse
    script = f"""
from pathlib import Path
from denoise_cli.media import open_sink, open_source
from denoise_cli.media.files import Job
job = Job(Path({str(path)!r}), Path({str(tmp_path / "y.flac")!r}), Path("x"))
source = open_source(job)
sink = open_sink(job, source)
for block in source.blocks():
    sink.write(block)
sink.commit()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120
    assert sf.info(tmp_path / "y.flac").frames == 48_000 * 3600
