"""Properties that hold for any input of their kind: tiles, corruptions, names of outputs, headers, cards."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from denoise_cli import denoise, tiles
from denoise_cli.card import ModelCard
from denoise_cli.corrupt import CORRUPTIONS, Chain, parse
from denoise_cli.errors import DenoiseError, InputError, UsageError, printable
from denoise_cli.media import SUFFIXES, chunks, containers, files, probe, tiff
from denoise_cli.media.limits import Limits
from denoise_cli.signal import Header

settings.register_profile(  # the same examples everywhere, none kept on disk, no clock
    "ours", deadline=None, derandomize=True, database=None, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile("ours")


def answer(function: Callable[..., Any], *arguments: object) -> tuple[str | None, Any]:
    """What an error of ours says, or what comes back; any other error is a fault."""
    try:
        return None, function(*arguments)
    except DenoiseError as error:
        return str(error), None


# --- Tiles --------------------------------------------------------------------------------------------------

sides = st.integers(1, 700)
halos, multiples = st.integers(0, 40), st.sampled_from([1, 2, 4, 8, 16])


@given(length=st.integers(1, 5000), core=st.integers(1, 900), halo=halos, multiple=multiples)
def test_cuts_cover_an_axis_once_on_the_grid_of_the_model(length, core, halo, multiple):
    parts = tiles.cuts(length, core, halo, multiple)
    assert [0, *(part.stop for part in parts)] == [*(part.start for part in parts), length]
    for part in parts:
        assert 0 <= part.low <= part.start < part.stop <= part.high <= length
        assert part.start % multiple == part.low % multiple == 0
        assert part.low == 0 or part.start - part.low >= halo
        assert part.high == length or part.high - part.stop >= halo


@given(height=sides, width=sides, channels=st.integers(1, 4), halo=halos, multiple=multiples,
       tile=st.integers(64, 300), block=st.integers(1, 300))  # fmt: skip
def test_cut_and_put_back_is_the_picture(height, width, channels, halo, multiple, tile, block):
    """Whatever the size, the tile, the halo and the blocks that it comes in."""
    header = Header("image", channels, height, width)
    rows, columns = denoise.plan(header, halo, multiple, tile)
    x = np.arange(channels * height * width, dtype=np.float32).reshape(channels, height, width)
    y = np.full_like(x, -1)
    blocks = (x[:, top : top + block] for top in range(0, height, block))
    for row, window in tiles.windows(blocks, rows):
        for column in columns:
            piece = tiles.pad(window[:, :, column.read], multiple)
            assert piece.shape[1] % multiple == piece.shape[2] % multiple == 0
            y[:, row.start : row.stop, column.start : column.stop] = piece[:, row.keep, column.keep]
    assert np.array_equal(x, y)


# --- Corruptions --------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(-10, 300).map(float),
    st.floats(-1, 1e4, allow_nan=False),
    st.floats(0, 1),
    st.sampled_from([0.0, 1.0]),
)


@st.composite
def specs(draw) -> str:
    """A spec whose names are right; its values need not be."""
    name = draw(st.sampled_from(sorted(CORRUPTIONS)))
    keys = draw(st.lists(st.sampled_from(CORRUPTIONS[name].amounts()), unique=True, max_size=3))
    pairs = ((key, draw(numbers), draw(numbers)) for key in keys)
    given = [f"{key}={low!r}" if draw(st.booleans()) else f"{key}={low!r}-{high!r}" for key, low, high in pairs]
    return name + (":" + ",".join(given) if given else "")


@given(st.lists(specs(), min_size=1, max_size=3), st.sampled_from("+|"))
def test_a_spec_that_is_read_is_written_so_that_it_reads_the_same(parts, joint):
    try:
        chain = parse(joint.join(parts))
    except UsageError:
        assume(False)
    assert parse(str(chain)) == chain
    assert str(parse(str(chain))) == str(chain)


@given(st.text(max_size=60))
@example("gaussian:std=1e400")
@example("gaussian:std=nan")
@example("gaussian:std=5-inf")
@example("gaussian:std=9" + "9" * 5000)
@example("|".join(["gaussian"] * 3000))
@example("gaussian:,,,")
def test_any_text_is_a_spec_or_a_usage_error_of_one_line(text):
    said, chain = answer(parse, text)
    assert isinstance(chain, Chain) != (said is not None)
    assert said is None or len(printable(said).splitlines()) <= 1


@given(spec=specs(), seed=st.integers(0, 2**63 - 1), cuts=st.lists(st.integers(1, 40), max_size=3))
@settings(max_examples=40)
def test_the_same_seed_is_the_same_noise_and_always_finite(spec, seed, cuts):
    try:
        noise = parse(spec)
    except UsageError:
        assume(False)
    header = Header("image", 3, 41, 32, groups=((0, 1, 2),), step=1 / 255)
    x = np.linspace(0, 1, 3 * 41 * 32, dtype=np.float32).reshape(3, 41, 32)

    def once() -> np.ndarray:
        return noise.stream(header, np.random.default_rng(seed))(x.copy())

    try:
        first = once()
    except InputError:  # a noise for recordings
        assume(False)
    assert first.shape == x.shape
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, once())


# --- Names of outputs ---------------------------------------------------------------------------------------

parts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


@given(st.lists(paths, min_size=1, max_size=8), st.booleans())
@example(["a.png", "A.png"], True)
@example(["a.b.png", "a.b"], True)
@example([" ", "x/ .png"], False)
def test_outputs_lie_in_the_output_folder_and_no_two_inputs_share_one(tmp_path_factory, names, tif):
    root = tmp_path_factory.mktemp("named")
    made = set()
    for name in names:
        path = root / "in" / f"{name}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            made.add(path)
        except OSError:  # a file where a folder is to be, or the other way round
            continue
    assume(made)
    found = files.find([str(root / "in")], str(root / "out"), suffixes=SUFFIXES, suffix=_tif if tif else None)
    assert {job.source for job in found.jobs} == made
    targets = [os.path.normpath(job.target) for job in found.jobs]
    assert len(set(targets)) == len(targets)
    assert all(target.startswith(f"{root}/out/") for target in targets)


def _tif(suffix: str) -> str:
    return ".tif"


# --- Headers ------------------------------------------------------------------------------------------------


class Frugal(io.BytesIO):
    """A file that no parser may ask for more than a head, nor very often."""

    asked = 0

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        assert size is not None
        assert 0 <= size <= chunks.LONGEST_HEAD
        self.asked += 1
        assert self.asked < 10_000
        return super().read(size)


magics = st.sampled_from([b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b"riff", b".snd", b"dns."])
sizes = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))


@st.composite
def chunked(draw) -> bytes:
    """Something like a file of chunks, whose sizes claim anything."""
    wide, order = draw(st.booleans()), draw(st.sampled_from("<>"))
    out = draw(magics) + draw(st.binary(min_size=4, max_size=36))
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from([b"fmt ", b"data", b"ds64", b"SSND", b"LIST", b"desc", b"abcd"]))
        size = draw(sizes) if wide else draw(sizes) & 0xFFFFFFFF
        out += kind + struct.pack(order + ("Q" if wide else "I"), size) + draw(st.binary(max_size=40))
    return out


@given(st.one_of(chunked(), st.binary(max_size=200)))
@settings(max_examples=150)
def test_a_header_of_chunks_is_mended_left_alone_or_refused(data):
    try:
        head = chunks.honest(Frugal(data))  # type: ignore[arg-type]
    except InputError:
        return
    assert len(head.data) <= len(data) + chunks.DS64.size
    assert 0 <= head.skip <= len(data)


@given(st.sampled_from([b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"RIFF    WEBP", b""]), st.binary(max_size=300))
@settings(max_examples=150)
def test_what_is_read_of_pictures_before_they_are_decoded_raises_nothing(magic, data):
    for format in ("gif", "webp", "avif", "tiff", "png"):
        probe.unsupported(Frugal(magic + data), format)  # type: ignore[arg-type]
        probe.is_lossless(Frugal(magic + data), format)  # type: ignore[arg-type]
        tiff.compression(io.BytesIO(magic + data))


@given(st.binary(max_size=600))
def test_a_file_of_any_bytes_is_opened_or_refused_in_a_line(tmp_path_factory, data):
    from denoise_cli import media

    path = tmp_path_factory.mktemp("any") / "x.png"
    path.write_bytes(data)
    said, source = answer(media.open_source, files.Job(path, None, Path("x")))
    if source is not None:
        source.close()
    assert said is None or (said.startswith(str(path)) and "\n" not in said)


@given(st.integers(-5, 10**12), st.floats(-1, 1e6))
def test_limits_are_what_was_asked_for(pixels, hours):
    if pixels < 1 or not hours > 0:
        with pytest.raises(UsageError):
            Limits.of(pixels, hours)
    else:
        assert (Limits.of(pixels, hours).pixels, Limits.of(pixels, hours).hours) == (pixels, hours)


@given(st.sampled_from(sorted(containers.CONTAINERS)), st.integers(1, 64), st.sampled_from([1000, 44_100, 384_000]),
       st.sampled_from(["PCM_16", "FLOAT", "VORBIS"]), st.one_of(st.none(), st.integers(1, 10**12)))  # fmt: skip
def test_no_plan_of_a_recording_wraps_its_size(name, channels, rate, subtype, length):
    from denoise_cli.errors import OutputError

    stored = containers.Stored(name, containers.CONTAINERS[name].major, subtype, "FILE", channels, rate, length)
    try:
        plan = containers.plan(name, stored, containers.AudioOptions())
    except OutputError:
        return
    fits = length is None or length * plan.frame <= containers.LIMIT_32
    assert fits or plan.major == "RF64" or not containers.CONTAINERS[name].limited


# --- Cards --------------------------------------------------------------------------------------------------

leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
fields = st.sampled_from([*ModelCard.__dataclass_fields__, "unheard-of"])


@given(st.one_of(values, st.dictionaries(fields, values, max_size=6)), st.booleans())
@settings(max_examples=150)
@example({"name": "x", "schema": True}, False)
@example({"name": "x", "rate": 1e309}, True)
def test_any_json_is_a_card_or_a_model_error(value, dressed):
    if dressed and isinstance(value, dict):
        value = {"name": "x", "schema": 1} | value
    said, card = answer(ModelCard.from_json, json.dumps(value))
    if said is not None:
        assert len(printable(said).splitlines()) == 1
        assert len(said) < 2_000
        return
    assert card.name.isprintable()
    assert card == ModelCard.from_json(card.to_json())
