"""Pictures: what goes in comes out. Every fixture is drawn here."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import AppendingTiffWriter

from denoise_cli.errors import InputError, NoSpaceError, OutputError
from denoise_cli.media import heads, probe, tiff, vips, webp
from denoise_cli.media import image as images
from denoise_cli.media.beside import Replacing
from denoise_cli.media.formats import CODECS, IMAGE_SUFFIXES, detect, format_of
from denoise_cli.media.limits import Limits
from denoise_cli.media.samples import DEPTHS, to_block, to_rows
from denoise_cli.signal import Sink, Source, gather


def noise(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == np.float32:
        return rng.random(shape, np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height: int = 40, width: int = 50, bands: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([128 + 60 * np.sin(x / 9 + c) + 50 * np.cos(y / 7 + c) for c in range(bands)], -1).astype(
        np.uint8
    )


def draw(path: Path, rows: np.ndarray, interpretation: str, **options: Any) -> Path:
    """Write with libvips, which alone can write 16 bits and float in colour."""
    vips.from_array(rows).copy(interpretation=interpretation).write_to_file(str(path), **options)
    return path


def pixels(path: Path, frames: bool = False) -> np.ndarray:
    loaded = vips.Image.new_from_buffer(path.read_bytes(), "", **({"n": -1} if frames else {}))
    return loaded.numpy().reshape(loaded.height, loaded.width, loaded.bands)


def field(path: Path, name: str) -> Any:
    loaded = vips.Image.new_from_buffer(path.read_bytes(), "")
    return loaded.get(name) if name in loaded.get_fields() else None


def through(path: Path, out: Path | None = None, **options: Any) -> Path:
    """Copy a picture as blocks, unchanged."""
    out = out or path.with_name(f"out{path.suffix}")
    source = images.open_image(path.open("rb"), str(path))
    target = Replacing(out)
    try:
        sink = source.save_to(target, **options)
        assert isinstance(source, Source)
        assert isinstance(sink, Sink)
        for block in source.blocks():
            assert block.dtype == np.float32
            sink.write(block)
        sink.commit()
    finally:
        target.discard()
        source.close()
    return out


# --- samples


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_every_level_comes_back(bits: int) -> None:
    depth = DEPTHS[bits]
    levels = np.arange(depth.levels + 1, dtype=depth.dtype) << depth.shift
    rows = np.stack([levels, levels[::-1], np.roll(levels, 7)], -1)[:, None, :]
    block = to_block(rows, 3, depth)
    assert (block.min(), block.max()) == (0, 1)
    np.testing.assert_array_equal(to_rows(block, depth), rows)


def test_rows_are_clipped_and_rounded() -> None:
    block = np.array([-1, 0.4 / 255, 0.6 / 255, 2, np.inf], np.float32).reshape(1, 1, 5)
    assert to_rows(block, DEPTHS[8]).ravel().tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_nan_is_never_written(bits: int) -> None:
    block = np.zeros((3, 40, 50), np.float32)
    block[1, 20, 30] = np.nan
    with pytest.raises(ValueError, match="non-finite"):
        to_rows(block, DEPTHS[bits])


# --- identity: formats and depths

EXACT: dict[str, tuple[tuple[int, ...], Any, str]] = {
    "gray.png": ((41, 53, 1), np.uint8, "b-w"),
    "gray-alpha.png": ((41, 53, 2), np.uint8, "b-w"),
    "rgb.png": ((41, 53, 3), np.uint8, "srgb"),
    "rgba.png": ((41, 53, 4), np.uint8, "srgb"),
    "gray16.png": ((41, 53, 1), np.uint16, "grey16"),
    "gray16-alpha.png": ((41, 53, 2), np.uint16, "grey16"),
    "rgb16.png": ((41, 53, 3), np.uint16, "rgb16"),
    "rgba16.png": ((41, 53, 4), np.uint16, "rgb16"),
    "rgb.tif": ((41, 53, 3), np.uint8, "srgb"),
    "gray16.tif": ((41, 53, 1), np.uint16, "grey16"),
    "rgb16.tif": ((41, 53, 3), np.uint16, "rgb16"),
    "rgba16.tif": ((41, 53, 4), np.uint16, "rgb16"),
    "cmyk16.tif": ((41, 53, 4), np.uint16, "cmyk"),
    "float.tif": ((41, 53, 1), np.float32, "b-w"),
    "rgb-float.tif": ((41, 53, 3), np.float32, "scrgb"),
    "rgba-float.tif": ((41, 53, 4), np.float32, "scrgb"),
    "one.png": ((1, 1, 3), np.uint8, "srgb"),
    "wide.png": ((1, 5000, 3), np.uint8, "srgb"),
    "tall.png": ((5000, 1, 3), np.uint8, "srgb"),
    "small.png": ((17, 3, 4), np.uint8, "srgb"),
}


@pytest.mark.parametrize("name", EXACT)
def test_lossless_files_come_back_exactly(tmp_path: Path, name: str) -> None:
    shape, dtype, interpretation = EXACT[name]
    path = draw(tmp_path / name, noise(*shape, dtype=dtype), interpretation)
    out = through(path)
    np.testing.assert_array_equal(pixels(out), noise(*shape, dtype=dtype))
    assert pixels(out).dtype == dtype
    assert str(vips.Image.new_from_file(str(out)).interpretation) == interpretation


def test_headers(tmp_path: Path) -> None:
    def header(name: str):
        shape, dtype, interpretation = EXACT[name]
        path = draw(tmp_path / name, noise(*shape, dtype=dtype), interpretation)
        with path.open("rb") as file:
            return images.open_image(file, name).header

    rgba = header("rgba16.png")
    assert (rgba.kind, rgba.channels, rgba.length, rgba.width, rgba.frames) == ("image", 3, 41, 53, 1)
    assert (rgba.groups, rgba.step, rgba.format) == (((0, 1, 2),), 1 / 65535, "png")
    assert (header("gray-alpha.png").channels, header("gray-alpha.png").groups) == (1, ((0,),))
    assert header("cmyk16.tif").groups == ((0, 1, 2), (3,))
    assert header("rgb-float.tif").step == 0


def test_float_keeps_what_is_outside_zero_to_one(tmp_path: Path) -> None:
    rows = noise(40, 50, 3, dtype=np.float32) * 3 - 1
    out = through(draw(tmp_path / "x.tif", rows, "scrgb"))
    np.testing.assert_array_equal(pixels(out), rows)


def test_palettes_and_bits_are_expanded(tmp_path: Path) -> None:
    rgb = Image.fromarray(noise(40, 50, 3))
    cases: list[tuple[str, Image.Image, dict[str, Any], str]] = [
        ("p.png", rgb.quantize(16), {}, "RGB"),
        ("pt.png", rgb.quantize(16), {"transparency": 3}, "RGBA"),
        ("1.png", rgb.convert("1"), {}, "L"),
        ("1.tif", rgb.convert("1"), {"compression": "group4"}, "L"),
    ]
    for name, drawn, options, mode in cases:
        drawn.save(tmp_path / name, **options)
        with Image.open(tmp_path / name) as before, Image.open(through(tmp_path / name)) as after:
            assert after.mode == mode
            np.testing.assert_array_equal(np.asarray(after), np.asarray(before.convert(mode)))


def test_webp_is_lossless_where_it_was(tmp_path: Path) -> None:
    rows = noise(40, 50, 4)
    Image.fromarray(rows).save(tmp_path / "x.webp", lossless=True, exact=True)
    np.testing.assert_array_equal(pixels(through(tmp_path / "x.webp")), rows)
    Image.fromarray(rows).save(tmp_path / "y.webp", quality=80)
    with through(tmp_path / "y.webp").open("rb") as file:
        assert not probe.is_lossless(file, "webp")


def test_avif_keeps_its_depth_and_losslessness(tmp_path: Path) -> None:
    path = draw(tmp_path / "x.avif", noise(40, 50, 3), "srgb", compression="av1", lossless=True, effort=0)
    np.testing.assert_array_equal(pixels(through(path)), noise(40, 50, 3))
    rows = smooth().astype(np.uint16) * 257
    ten = draw(tmp_path / "y.avif", rows, "rgb16", compression="av1", bitdepth=10, Q=95, effort=0)
    with ten.open("rb") as file:
        assert images.open_image(file, "ten").header.step == 1 / 1023
    out = through(ten)
    assert field(out, "bits-per-sample") == 10
    assert np.abs(pixels(out).astype(float) - pixels(ten)).mean() < 257


def test_jpeg_stays_close_and_keeps_its_sampling(tmp_path: Path) -> None:
    for subsampling, kept in [(0, "4:4:4"), (2, "4:2:0")]:
        path = tmp_path / f"{subsampling}.jpg"
        Image.fromarray(smooth()).save(path, quality=92, subsampling=subsampling)
        out = through(path)
        assert field(out, "jpeg-chroma-subsample") == kept
        assert np.abs(pixels(out).astype(int) - pixels(path)).mean() < 1


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(smooth(bands=4), "RGBA").convert("RGB").convert("CMYK").save(path, quality=95)
    with Image.open(path) as before, Image.open(through(path)) as after:
        assert after.mode == "CMYK"
        assert np.abs(np.asarray(after, int) - np.asarray(before, int)).mean() < 1


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P"])
@pytest.mark.parametrize("suffix", [".bmp", ".tga", ".ppm"])
def test_formats_without_libvips(tmp_path: Path, suffix: str, mode: str) -> None:
    if suffix == ".ppm" and mode in ("RGBA", "P"):
        pytest.skip("PNM has neither alpha nor palette")
    if (suffix, mode) == (".tga", "1"):
        pytest.skip("TGA of one bit is Pillow's own")
    drawn = Image.fromarray(noise(41, 53, 4))
    path = tmp_path / f"x{suffix}"
    (drawn.convert("RGB").convert(mode) if mode != "RGBA" else drawn).save(path)
    with Image.open(path) as before, Image.open(through(path)) as after:
        full = "RGBA" if before.mode == "RGBA" else "RGB"
        np.testing.assert_array_equal(np.asarray(after.convert(full)), np.asarray(before.convert(full)))


@pytest.mark.parametrize("bands", [1, 3])
def test_sixteen_bit_pnm_is_exact(tmp_path: Path, bands: int) -> None:
    rows = noise(41, 53, bands, dtype=np.uint16)
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P%d # comment\n53\n41 65535\n" % (6 if bands == 3 else 5) + rows.astype(">u2").tobytes())
    with path.open("rb") as file:
        block = gather(images.open_image(file, "x")).data
    np.testing.assert_array_equal(np.rint(block * 65535).transpose(1, 2, 0), rows)
    assert through(path).read_bytes().endswith(rows.astype(">u2").tobytes())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"P3 1 1 65535\n1 2 65535\n", "plain PNM with a maximum of 65535"),
        (b"P2\n# of a sensor\n2 1 4095\n1 2\n", "plain PNM with a maximum of 4095"),
        (b"P6 1 1 4095\n" + bytes(6), "PNM with a maximum of 4095"),
        (b"P6 #" + b" " * (1 << 16) + b"\n1 1 65535\n" + bytes(6), "at the beginning"),
    ],
)
def test_no_pnm_is_cut_to_eight_bits(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.ppm").write_bytes(data)
    with pytest.raises(InputError, match=said):
        images.read(tmp_path / "x.ppm")


def test_a_plain_pnm_and_one_with_long_comments_are_exact(tmp_path: Path) -> None:
    (tmp_path / "x.ppm").write_bytes(b"P3 1 1 255\n1 2 200\n")
    assert np.rint(255 * images.read(tmp_path / "x.ppm").data[:, 0, 0]).tolist() == [1, 2, 200]
    (tmp_path / "x.ppm").write_bytes(b"P6 #" + b" " * 9000 + b"\n1 1 65535\n\0\1\2\0\xff\xff")
    assert np.rint(65535 * images.read(tmp_path / "x.ppm").data[:, 0, 0]).tolist() == [1, 512, 65535]


@pytest.mark.parametrize(("sampling", "kept"), [("4:4:4", 0), ("4:2:2", 0), ("4:4:0", 0), ("4:2:0", 2)])
def test_colours_of_a_jpeg_are_as_fine_as_they_were(tmp_path: Path, sampling: str, kept: int) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2], stripes[1::2] = (200, 60, 60), (60, 60, 200)
    if sampling == "4:4:0":
        stripes = stripes.transpose(1, 0, 2).copy()
    factors = {"4:4:0": (0x12, 0x11, 0x11)}.get(sampling)
    path = tmp_path / "x.jpg"
    Image.fromarray(stripes).save(path, quality=98, subsampling="4:2:2" if factors else sampling)
    if factors:  # Pillow does not write it: the same planes, the other way round
        data = bytearray(path.read_bytes())
        frame = data.index(b"\xff\xc0")
        data[frame + 11 : frame + 20 : 3] = bytes(factors)
        path.write_bytes(data)
    with Image.open(through(path)) as after:
        assert [layer[1:3] for layer in after.layer] == ([(2, 2)] if kept else [(1, 1)]) + 2 * [(1, 1)]
        if sampling in ("4:4:4", "4:2:2"):
            assert np.abs(np.asarray(after, int) - stripes).mean() < 8


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_quality_is_for_those_that_have_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(smooth(60, 80)).save(path)
    kind = format_of(tmp_path / f"x{suffix}")
    sizes, errors = [], []
    for quality in (10, 60, 100):
        out = through(path, tmp_path / f"y{quality}{suffix}", format=kind, quality=quality)
        sizes.append(out.stat().st_size)
        errors.append(np.abs(pixels(out).astype(int) - smooth(60, 80)).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[2]
    assert through(path, quality=10).read_bytes() == through(path, tmp_path / "z.png").read_bytes()


# --- how it is to be turned


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".ppm", ".tga"])
@pytest.mark.parametrize("keep", [1 << 25, 0])
def test_a_format_without_a_tag_for_it_holds_the_pixels_upright(
    tmp_path: Path, monkeypatch, suffix: str, keep: int
) -> None:
    monkeypatch.setattr(images, "KEEP_BYTES", keep)
    exif = Image.Exif()
    exif[0x112] = 6  # a quarter turn to the right
    Image.fromarray(smooth(40, 50)).save(tmp_path / "x.png", exif=exif)
    out = through(tmp_path / "x.png", tmp_path / f"y{suffix}", format=format_of(tmp_path / f"y{suffix}"))
    with Image.open(out) as after:
        assert np.abs(np.asarray(after.convert("RGB"), int) - np.rot90(smooth(40, 50), -1)).mean() < 6


def open_orientation(path: Path) -> int:
    with path.open("rb") as file:
        return images.open_image(file, path.name).orientation


def test_what_an_avif_turns_by_itself_is_not_turned_again(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "Maker"
    Image.fromarray(smooth(40, 50)).save(tmp_path / "x.png", exif=exif)
    once = through(tmp_path / "x.png", tmp_path / "once.avif", format="avif")
    twice = through(once, tmp_path / "twice.avif")
    coded = through(twice, tmp_path / "z.png", format="png")
    turned = np.rot90(smooth(40, 50), -1)
    for path in (once, twice):
        assert np.abs(pixels(path).astype(int) - turned).mean() < 3
    assert np.abs(pixels(coded).astype(int) - turned).mean() < 3
    assert open_orientation(coded) == 1
    assert field(coded, "exif-ifd0-Make").startswith("Maker")


# --- damage that libvips does not tell of


def test_a_second_png_behind_the_first_is_refused(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "x.png")
    one = (tmp_path / "x.png").read_bytes()
    for behind, fine in ((b"", True), (b"\0" * 30, True), (one, False)):
        (tmp_path / "x.png").write_bytes(one + behind)
        if fine:
            images.read(tmp_path / "x.png")
        else:
            with pytest.raises(InputError, match="several pictures in one file"):
                images.read(tmp_path / "x.png")


def jpeg(height: int, width: int, **options: Any) -> bytes:
    held = io.BytesIO()
    Image.fromarray(smooth(height, width)).save(held, "jpeg", **options)
    return held.getvalue()


@pytest.mark.parametrize(
    ("behind", "fine"),
    [
        (jpeg(40, 50), False), (jpeg(50, 40, progressive=True), False), (jpeg(80, 100), False),
        (jpeg(20, 25), True), (b"\0" + jpeg(40, 50), True), (jpeg(40, 50)[:30], True), (b"\xff\xd8\xff", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": jpeg(60, 60) * 2}])
def test_a_second_jpeg_no_smaller_than_the_first_is_refused(
    tmp_path: Path, behind: bytes, fine: bool, options
) -> None:
    (tmp_path / "x.jpg").write_bytes(jpeg(40, 50, **options) + behind)
    if fine:
        assert images.read(tmp_path / "x.jpg").data.shape == (3, 40, 50)
    else:
        with pytest.raises(InputError, match="several pictures in one file"):
            images.read(tmp_path / "x.jpg")


def test_the_end_of_a_jpeg_is_found_between_two_reads(monkeypatch) -> None:
    one = jpeg(40, 50)
    for size in (1, 2, 7, len(one) - 1, len(one)):
        monkeypatch.setattr(heads, "BLOCK", size)
        assert heads.has_twin(io.BytesIO(one + one)), size
        assert not heads.has_twin(io.BytesIO(one)), size


@pytest.fixture(params=["none", "deflate"])
def tiled(request, tmp_path: Path) -> Path:
    """Two pages of 3 x 2 tiles."""
    joined = vips.Image.arrayjoin([vips.from_array(noise(100, 150, 3)) for _ in range(2)], across=1)
    return save_tiled(joined, tmp_path / "x.tif", compression=request.param)


def save_tiled(image: vips.Image, path: Path, **options: Any) -> Path:
    image.copy().tiffsave(str(path), tile=True, tile_width=64, tile_height=64, page_height=100, **options)
    return path


def test_a_tiff_of_tiles_is_whole_or_refused(tiled: Path) -> None:
    whole = tiled.read_bytes()
    assert images.read(tiled).data.shape == (3, 200, 150)
    for share in (0.05, 0.3, 0.5, 0.7, 0.95, 0.999):
        tiled.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError):
            images.read(tiled)


@pytest.mark.parametrize("tiled", ["deflate"], indirect=True)
@pytest.mark.parametrize("which", [0, 4])
def test_a_tile_that_cannot_be_unpacked_is_no_black_one(tiled: Path, which: int) -> None:
    whole = tiled.read_bytes()
    with tiled.open("rb") as file:
        offset = tiff._numbers(file, next(tiff.directories(file)), tiff.TILE_OFFSETS)[which]
    tiled.write_bytes(whole[: offset + 1] + b"\xff" * 40 + whole[offset + 41 :])
    with pytest.raises(InputError, match="codec error"):
        images.read(tiled)


def test_a_word_of_warning_is_no_damage(tmp_path: Path) -> None:
    """Here that of a fourth band of which no tag tells."""
    path = save_tiled(vips.from_array(noise(200, 150, 4)), tmp_path / "x.tif")
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        entries = next(tiff.directories(file)).entries
    place = next(entry.place for entry in entries if entry.tag == tiff.EXTRA_SAMPLES)
    data[place - 8 : place - 6] = struct.pack("<H", 65000)
    path.write_bytes(data)
    assert images.read(path).data.shape == (3, 200, 150)


# --- frames


def test_a_gif_cut_anywhere_is_refused_not_read_as_one_of_fewer_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(smooth(60, 64)[y:, :]).resize((64, 60)) for y in (0, 9, 18)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    whole = (tmp_path / "x.gif").read_bytes()
    assert images.read(tmp_path / "x.gif").header.frames == 3
    for end in (*range(20, len(whole) - 1, 211), len(whole) - 1):
        (tmp_path / "cut.gif").write_bytes(whole[:end])
        assert "truncated" in refused(tmp_path / "cut.gif")


def test_animated_gif_keeps_frames_delays_and_loop(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(40, 50, 3, seed=n)).quantize(16) for n in range(3)]
    path = tmp_path / "x.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[100, 250, 70], loop=3)
    out = through(path)
    with path.open("rb") as file:
        assert images.open_image(file, "x").header.frames == 3
    np.testing.assert_array_equal(pixels(out, frames=True), pixels(path, frames=True))
    assert field(out, "delay") == [100, 250, 70]
    assert field(out, "loop") == field(path, "loop")


@pytest.mark.parametrize("colours", [2, 16, 200, 255])
def test_a_gif_that_fades_keeps_the_colours_of_each_frame(tmp_path: Path, colours: int) -> None:
    ramp = np.linspace([20, 40, 60], [220, 190, 150], colours).round()
    which = np.sort(noise(40, 50, dtype=np.uint16).ravel() % colours).reshape(40, 50)
    frames = [Image.fromarray((ramp[which] + 3 * n).astype(np.uint8)).quantize(256) for n in range(4)]
    path = tmp_path / "x.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    np.testing.assert_array_equal(pixels(through(path), frames=True), pixels(path, frames=True))


def test_animated_webp_keeps_frames_and_delays(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(40, 50, 4, seed=n)) for n in range(3)]
    path = tmp_path / "x.webp"
    options: dict[str, Any] = {"duration": [100, 250, 70], "loop": 3, "lossless": True, "exact": True}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    out = through(path)
    np.testing.assert_array_equal(pixels(out, frames=True), pixels(path, frames=True))
    assert field(out, "delay") == [100, 250, 70]
    assert field(out, "loop") == 3


@pytest.mark.parametrize("shown", [(0, 0, 1), (0, 1, 1), (0, 1, 0), (0, 0, 0)])
@pytest.mark.parametrize("name", ["x.gif", "x.webp", "lossy.webp", "rgba.webp"])
def test_frames_that_become_equal_stay_as_many_with_their_delays(tmp_path: Path, name: str, shown: Any) -> None:
    drawn = [smooth() // 4 + 90 * n for n in range(3)]
    if name == "rgba.webp":
        drawn = [np.dstack([rows, np.where(rows[:, :, :1] % 3, 255, 40).astype(np.uint8)]) for rows in drawn]
    frames = [Image.fromarray(rows) for rows in drawn]
    path, out = tmp_path / name, tmp_path / f"out.{name}"
    options: dict[str, Any] = {"duration": [100, 250, 70], "loop": 3, "lossless": "lossy" not in name}
    frames[0].save(path, save_all=True, append_images=frames[1:], exact=True, **options)
    with path.open("rb") as file, Replacing(out) as target:
        source = images.open_image(file, name)
        blocks = list(source.blocks())
        sink = source.save_to(target)
        for frame in shown:
            sink.write(blocks[frame])
        sink.commit()
    assert (field(out, "delay"), field(out, "loop")) == ([100, 250, 70], field(path, "loop"))
    with Image.open(out) as again:  # another decoder of animations
        assert again.n_frames == 3
    there = pixels(out, frames=True).reshape(3, 40, 50, -1)[:, :, :, :3]
    wanted = [255 * blocks[frame].transpose(1, 2, 0) for frame in shown]
    assert np.abs(there - wanted).mean() < (3 if "lossy" in name else 0.1)  # GIF has 256 colours
    with out.open("rb") as file:
        assert probe.is_lossless(file, out.suffix[1:]) == ("lossy" not in name)


def test_a_frame_that_is_wiped_out_is_so_after_the_last_of_its_likes(tmp_path: Path) -> None:
    shapes = [np.zeros((40, 50, 4), np.uint8) for _ in range(4)]
    shapes[0][2:6, 4:8] = shapes[1][2:6, 4:8] = shapes[2][2:6, 4:8] = (200, 100, 50, 255)
    shapes[3][30:36, 40:44] = (50, 100, 200, 255)
    path = draw(tmp_path / "x.tif", np.concatenate(shapes), "srgb", page_height=40)
    out = through(path, tmp_path / "x.webp", format="webp")
    np.testing.assert_array_equal(pixels(out, frames=True), np.concatenate(shapes))
    assert field(out, "delay") == [100] * 4
    flags = [payload[15] & webp.DISPOSE for kind, payload in webp._chunks(memoryview(out.read_bytes())[12:])
             if kind == b"ANMF"]  # fmt: skip
    assert flags == [0, 0, 1, 0]


def test_pages_of_a_tiff_are_kept_and_blocks_stay_inside_them(tmp_path: Path, monkeypatch) -> None:
    pages = [Image.fromarray(noise(40, 50, 3, seed=n)) for n in range(3)]
    path = tmp_path / "x.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    monkeypatch.setattr(images, "BLOCK_SAMPLES", 50 * 3 * 16)
    with path.open("rb") as file:
        assert [b.shape[1] for b in images.open_image(file, "x").blocks()] == [16, 16, 8] * 3
    out = through(path)
    np.testing.assert_array_equal(pixels(out, frames=True), pixels(path, frames=True))
    assert field(out, "n-pages") == 3


def test_pages_of_different_sizes_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(noise(40, 50, 3))
    page.save(tmp_path / "x.tif", save_all=True, append_images=[page.resize((20, 20))])
    with pytest.raises(InputError, match=r"x\.tif: its pages differ"):
        images.read(tmp_path / "x.tif")


def test_animated_png_is_refused_rather_than_cut(tmp_path: Path) -> None:
    page = Image.fromarray(noise(40, 50, 3))
    page.save(tmp_path / "x.png", save_all=True, append_images=[page.rotate(180)])
    with pytest.raises(InputError, match="animated PNG"):
        images.read(tmp_path / "x.png")


def test_an_animated_png_whose_frames_are_told_late_is_refused_too(tmp_path: Path) -> None:
    page, info = Image.fromarray(noise(40, 50, 3)), PngImagePlugin.PngInfo()
    info.add_text("long", "x" * 70_000)
    page.save(tmp_path / "x.png", save_all=True, append_images=[page.rotate(180)], pnginfo=info)
    with pytest.raises(InputError, match="animated PNG"):
        images.read(tmp_path / "x.png")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("kind", "refused"), [(0x020002, True), (0x020001, True), (0x010001, False), (0, False)])
def test_views_of_a_jpeg_are_refused_and_previews_are_not(
    tmp_path: Path, kind: int, refused: bool, big: bool
) -> None:
    order = ">" if big else "<"
    listed = struct.pack(f"{order}4I", 0x030000, 100, 0, 0) + struct.pack(f"{order}4I", kind, 100, 100, 0)
    index = struct.pack(f"{order}2sHI", b"MM" if big else b"II", 42, 8) + struct.pack(f"{order}H", 1)
    index += struct.pack(f"{order}HHII", 0xB002, 7, len(listed), 26) + struct.pack(f"{order}I", 0) + listed
    segment = b"\xff\xe2" + struct.pack(">H", 6 + len(index)) + b"MPF\0" + index
    Image.fromarray(smooth()).save(tmp_path / "x.jpg")
    data = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(data[:2] + segment + data[2:])
    if refused:
        with pytest.raises(InputError, match="several views"):
            images.read(tmp_path / "x.jpg")
    else:
        images.read(tmp_path / "x.jpg")


@pytest.mark.parametrize("behind", [b"P6 2 1 255\n......", b"\nP5\n1 1 255\n.", b"", b"\n", b"garbage"])
def test_one_pnm_behind_another_is_refused(tmp_path: Path, behind: bytes) -> None:
    (tmp_path / "x.ppm").write_bytes(b"P6 2 1 255\n" + bytes(range(65, 71)) + behind)
    if b"P" in behind:
        with pytest.raises(InputError, match="several pictures in one file"):
            images.read(tmp_path / "x.ppm")
    else:
        assert images.read(tmp_path / "x.ppm").data.shape == (3, 1, 2)


# --- blocks


@pytest.mark.parametrize("name", ["rgb.png", "rgba16.png", "gray-alpha.png", "rgba-float.tif", "rgb16.tif"])
def test_streaming_equals_one_block(tmp_path: Path, monkeypatch, name: str) -> None:
    _, dtype, interpretation = EXACT[name]
    bands = EXACT[name][0][2]
    path = draw(tmp_path / name, noise(131, 57, bands, dtype=dtype), interpretation)
    whole = images.read(path)
    one = through(path, tmp_path / f"one{path.suffix}").read_bytes()
    monkeypatch.setattr(images, "BLOCK_SAMPLES", 57 * 16)
    monkeypatch.setattr(images, "KEEP_BYTES", 0)  # spooled, and alpha read again
    monkeypatch.setattr(vips, "SPOOL_PIECE", 5000)
    with path.open("rb") as file:
        blocks = list(images.open_image(file, name).blocks())
    assert [b.shape[1] for b in blocks] == [16] * 8 + [3]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole.data)
    assert through(path, tmp_path / f"many{path.suffix}").read_bytes() == one


def test_a_jpeg_in_blocks_is_the_same_picture(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(noise(131, 57, 3)).save(path, quality=80)
    whole = images.read(path).data
    monkeypatch.setattr(images, "BLOCK_SAMPLES", 57 * 3 * 16)
    np.testing.assert_array_equal(images.read(path).data, whole)


def test_a_missing_row_is_an_error(tmp_path: Path) -> None:
    path = draw(tmp_path / "x.png", noise(40, 50, 3), "srgb")
    target = Replacing(tmp_path / "out.png")
    with path.open("rb") as file:
        sink = images.open_image(file, "x").save_to(target)
        sink.write(np.zeros((3, 39, 50), np.float32))
        with pytest.raises(OutputError, match="39 of 40 rows"):
            sink.commit()
        sink.discard()
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    rows = np.tile(noise(1000, 1000, 3), (1, 10, 1))
    strip = vips.from_array(rows)
    vips.Image.arrayjoin([strip] * 10, across=1).copy(interpretation="srgb").pngsave(
        str(tmp_path / "x.png"), compression=1, filter="none"
    )
    script = f"""
from pathlib import Path
from denoise_cli.media import open_sink, open_source
from denoise_cli.media.files import Job
job = Job(Path({str(tmp_path / "x.png")!r}), Path({str(tmp_path / "y.png")!r}), Path("x"))
source = open_source(job)
sink = open_sink(job, source)
for block in source.blocks():
    sink.write(block)
sink.commit()
# Not getrusage: a process begins with the maximum of the one that started it.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 350
    before, after = (
        vips.Image.new_from_file(str(tmp_path / name), access="sequential") for name in ("x.png", "y.png")
    )
    assert (after.width, after.height) == (before.width, before.height)
    assert (before - after).abs().max() == 0


# --- metadata


@pytest.mark.parametrize("keep", [1 << 25, 0])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_metadata_are_kept(tmp_path: Path, monkeypatch, suffix: str, keep: int) -> None:
    monkeypatch.setattr(images, "KEEP_BYTES", keep)
    exif = Image.Exif()
    exif[0x112], exif[0x10F], exif[0x132] = 6, "Maker", "2020:01:01 00:00:00"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a/></x:xmpmeta>'
    options: dict[str, Any] = {"exif": exif, "icc_profile": icc, "dpi": (300, 300)}
    if suffix == ".tif":
        options |= {"tiffinfo": {700: xmp, 0x112: 6, 0x10F: "Maker"}, "exif": b""}
    elif suffix == ".png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"].add_text("Title", "caf\xe9")
    else:
        options["xmp"] = xmp
    path = tmp_path / f"x{suffix}"
    Image.fromarray(smooth(40, 50)).save(path, **options)
    out = through(path)
    assert pixels(out).shape == (40, 50, 3)  # not rotated, and the tag still says how to
    assert field(out, "orientation") == 6
    assert field(out, "icc-profile-data") == icc
    assert xmp in field(out, "xmp-data")
    if suffix != ".tif":
        assert field(out, "exif-ifd0-Make").startswith("Maker")
        assert field(out, "exif-ifd0-DateTime").startswith("2020:01:01")
    if suffix != ".webp":
        with Image.open(out) as after:
            assert after.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    if suffix == ".png":
        with Image.open(out) as after:
            assert "Title" in after.text  # type: ignore[attr-defined]


def test_none_is_made_up(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp"):
        path = tmp_path / f"x{suffix}"
        Image.fromarray(smooth()).save(path)
        with Image.open(through(path)) as after:
            assert "exif" not in after.info


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".gif", ".avif"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    path = draw(tmp_path / f"x{suffix}", smooth(), "srgb")
    first = through(path, tmp_path / f"1{suffix}").read_bytes()
    assert through(path, tmp_path / f"2{suffix}").read_bytes() == first
    assert b"tIME" not in first
    if suffix == ".tif":
        with Image.open(tmp_path / "1.tif") as out:
            assert 306 not in out.getexif()  # DateTime


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "packbits"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tiff_keeps_its_compression(tmp_path: Path, compression: str, bigtiff: bool) -> None:
    path = draw(tmp_path / "x.tif", smooth(), "srgb", compression=compression, bigtiff=bigtiff)
    with path.open("rb") as before, through(path).open("rb") as after:
        assert tiff.compression(before) == compression
        assert tiff.compression(after) == compression


RESOLUTIONS = [
    ({}, None),
    ({"dpi": (300, 300)}, (300, 300)),
    ({"dpi": (25.4, 25.4)}, (25.4, 25.4)),
    ({"resolution_unit": 3, "x_resolution": 100, "y_resolution": 100}, (254, 254)),
    ({"resolution_unit": 1, "x_resolution": 2, "y_resolution": 1}, None),
]


@pytest.mark.parametrize(("options", "dpi"), RESOLUTIONS)
@pytest.mark.parametrize("big", [False, True])
def test_tiff_tells_the_resolution_that_it_told(
    tmp_path: Path, options: dict, dpi: tuple | None, big: bool
) -> None:
    pages = [Image.fromarray(smooth()) for _ in range(2)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:], big_tiff=big, **options)
    with Image.open(through(tmp_path / "x.tif")) as after:
        for page in range(2):
            after.seek(page)
            told = after.info.get("dpi")
            assert told == (None if dpi is None else pytest.approx(dpi, abs=0.1))
        if "x_resolution" in options:
            x, y = after.info.get("resolution") or told
            assert float(x) / float(y) == pytest.approx(
                options["x_resolution"] / options["y_resolution"]
            )  # the shape of a pixel


def test_every_page_of_a_tiff_keeps_its_resolution(tmp_path: Path) -> None:
    pages = []
    for dpi in (100, 200, 300):
        Image.fromarray(smooth()).save(file := io.BytesIO(), "TIFF", dpi=(dpi, dpi))
        pages.append(Image.open(file))
    with AppendingTiffWriter(str(tmp_path / "x.tif"), new=True) as writer:
        for page, dpi in zip(pages, (100, 200, 300), strict=True):
            page.save(writer, "TIFF", dpi=(dpi, dpi))
            writer.newFrame()
    with Image.open(through(tmp_path / "x.tif")) as after:
        for page in range(3):
            after.seek(page)
            assert after.info["dpi"] == pytest.approx(2 * [100 * page + 100], abs=0.1)


def test_a_tiff_made_of_a_picture_without_a_resolution_tells_none(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "x.png")
    with Image.open(through(tmp_path / "x.png", tmp_path / "x.tif", format="tiff")) as after:
        assert "dpi" not in after.info
    Image.fromarray(smooth()).save(tmp_path / "y.png", dpi=(300, 300))
    with Image.open(through(tmp_path / "y.png", tmp_path / "y.tif", format="tiff")) as after:
        assert after.info["dpi"] == pytest.approx((300, 300), abs=0.1)


# --- other formats and depths


def test_half_of_transparency_is_not_cut_off(tmp_path: Path) -> None:
    rows = noise(40, 50, 4)
    rows[:, :, 3] = 255
    rows[:9, :, 3] = 0
    hard = draw(tmp_path / "hard.png", rows, "srgb")
    with Image.open(through(hard, tmp_path / "y.gif", format="gif")) as after:
        assert np.array_equal(np.asarray(after.convert("RGBA"))[:, :, 3], rows[:, :, 3])
    rows[20, 20, 3] = 128
    soft = draw(tmp_path / "soft.png", rows, "srgb")
    with pytest.raises(OutputError, match="gif cannot hold an alpha channel of more than two levels"):
        through(soft, tmp_path / "z.gif", format="gif")
    assert not (tmp_path / "z.gif").exists()


def test_what_a_format_cannot_hold_is_named(tmp_path: Path) -> None:
    rgba = draw(tmp_path / "rgba.png", noise(40, 50, 4), "srgb")
    deep = draw(tmp_path / "deep.png", noise(40, 50, 3, dtype=np.uint16), "rgb16")
    real = draw(tmp_path / "real.tif", noise(40, 50, 3, dtype=np.float32), "scrgb")
    wide = draw(tmp_path / "wide.png", noise(1, 70000, 1), "b-w")
    frames = [Image.fromarray(noise(40, 50, 3, seed=n)) for n in range(2)]
    moving = tmp_path / "moving.webp"
    frames[0].save(moving, save_all=True, append_images=frames[1:], lossless=True)
    cmyk = tmp_path / "cmyk.jpg"
    frames[0].convert("CMYK").save(cmyk)
    for path, format, message in [
        (deep, "jpeg", "jpeg cannot hold 16-bit samples; png, tiff, ppm can"),
        (real, "png", "png cannot hold float samples; tiff can"),
        (rgba, "jpeg", "jpeg cannot hold an alpha channel; png, tiff, webp, gif, avif, tga can"),
        (moving, "png", "png cannot hold 2 frames; tiff, webp, gif can"),
        (cmyk, "png", "png cannot hold CMYK channels; jpeg, tiff can"),
        (wide, "webp", "webp cannot hold a side of 70000 pixels"),
        (wide, "jpg", 'unknown picture format "jpg"; choose from png, jpeg'),
    ]:
        with pytest.raises(OutputError) as raised:
            through(path, tmp_path / "out.x", format=format)
        assert message in str(raised.value)
    assert not list(tmp_path.glob(".denoise*"))
    assert not (tmp_path / "out.x").exists()


def test_conversions_keep_the_samples(tmp_path: Path) -> None:
    rows = noise(40, 50, 4)
    path = draw(tmp_path / "x.png", rows, "srgb")
    as_float = through(path, tmp_path / "f.tif", format="tiff", depth="float")
    np.testing.assert_allclose(pixels(as_float), rows / np.float32(255), atol=1e-7)
    back = through(as_float, tmp_path / "b.png", format="png", depth=8)
    np.testing.assert_array_equal(pixels(back), rows)
    deep = through(path, tmp_path / "d.png", depth=16)
    np.testing.assert_array_equal(pixels(deep), rows.astype(np.uint16) * 257)
    np.testing.assert_array_equal(pixels(through(path, tmp_path / "x.webp", format="webp")), rows)


def test_names_of_formats() -> None:
    assert format_of(Path("x.JPG")) == "jpeg"
    assert format_of(Path("x.tif")) == "tiff"
    assert format_of(Path("x.txt")) is None
    assert {".png", ".jpeg", ".bmp"} <= IMAGE_SUFFIXES
    assert set(CODECS) == {"png", "jpeg", "tiff", "webp", "gif", "avif", "bmp", "ppm", "tga"}
    assert detect(b"hello, this is text") is None


# --- what is refused


def refused(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        images.read(path)
    line = str(raised.value)
    assert "\n" not in line
    assert path.name in line or "\\" in line
    return line


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(smooth()).save(path, "JPEG")
    with path.open("rb") as file:
        assert images.open_image(file, "x").header.format == "jpeg"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello\n" * 50, "not a picture in a format that we read; they are png"),
        (bytes(3000), "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "codec error"),
        (b"BM" + bytes(100), "BMP"),
        (b"P6 10 10 1023\n" + bytes(600), "maximum of 1023"),
        (b"P6 10 10 255\n" + bytes(99), "99 of 300 bytes"),
    ],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    assert message in refused(tmp_path / "x.png")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [*(".png", ".jpg", ".tif", ".webp", ".gif", ".avif"), *(".bmp", ".ppm", ".tga")])
def test_a_truncated_file_is_one_line_and_c_libraries_are_quiet(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, share: float
) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(noise(80, 90, 3)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".png", ".webp", ".avif"])
def test_a_damaged_picture_is_called_that_where_its_decoder_says_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(noise(60, 70, 3)).save(path)
    content = path.read_bytes()
    said = set()
    for n in range(60):
        harmed = bytearray(content[: len(content) * (40 + n) // 100] if n % 2 else content)
        harmed[len(harmed) * n // 60] ^= 0x55
        path.write_bytes(harmed)
        try:
            images.read(path)
        except InputError as error:
            said.add(str(error).removeprefix(f"{path}: "))
    assert "codec error: damaged or cut short" in said
    assert not any(words in line for line in said for words in ("unable to", "libpng", "bad seek"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_refused_with_their_row(tmp_path: Path, value: float) -> None:
    rows = noise(40, 50, 3, dtype=np.float32)
    rows[23, 7, 1] = value
    assert "non-finite samples in row 23" in refused(draw(tmp_path / "x.tif", rows, "scrgb"))


def test_a_float_file_of_bytes_is_refused(tmp_path: Path) -> None:
    rows = noise(40, 50, 3).astype(np.float32)
    rows[3, 4] = 255
    assert "float samples reach 255; scale them to [0, 1]" in refused(draw(tmp_path / "x.tif", rows, "scrgb"))


@pytest.mark.parametrize(("format", "shown"), [("int", "int"), ("uint", "uint"), ("short", "short")])
def test_odd_samples_are_refused(tmp_path: Path, format: str, shown: str) -> None:
    vips.from_array(noise(40, 50, 1)).cast(format).tiffsave(str(tmp_path / "x.tif"))
    assert f"{shown} samples are not supported" in refused(tmp_path / "x.tif")


def test_lab_is_refused(tmp_path: Path) -> None:
    vips.from_array(noise(40, 50, 3)).colourspace("lab").tiffsave(str(tmp_path / "x.tif"))
    assert "lab colours are not supported" in refused(tmp_path / "x.tif")


def test_the_size_has_a_limit(tmp_path: Path) -> None:
    path = draw(tmp_path / "x.png", noise(40, 50, 3), "srgb")
    with path.open("rb") as file, pytest.raises(InputError, match=r"50 x 40 pixels .* limit of 1,999 pixels"):
        images.open_image(file, "x", limits=Limits(pixels=1999))
    with path.open("rb") as file:
        images.open_image(file, "x", limits=Limits(pixels=2000))
    (tmp_path / "y.ppm").write_bytes(b"P6 30000 30000 255\n")
    assert "30000 x 30000 pixels are more than the limit of 67,108,864" in refused(tmp_path / "y.ppm")


@pytest.mark.parametrize(
    "name", [b"a\nb.png", b"[a].png", b"caf\xe9.png", b"-x.png", b"x[page=2].tif", b"\x1b[31m.png"]
)
def test_odd_names(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    plain = draw(tmp_path / f"plain{path.suffix}", noise(40, 50, 3), "srgb")
    plain.rename(path)
    out = through(path, path.with_name(f"o{path.name}"))
    np.testing.assert_array_equal(pixels(out), noise(40, 50, 3))
    path.write_bytes(b"no picture")
    assert refused(path).isprintable()


def test_a_full_disk_is_told_from_other_errors(tmp_path: Path) -> None:
    class Full:
        name = "out.png"
        folder = None

        def __init__(self) -> None:
            self.file = io.FileIO("/dev/full", "r+")

        def fileno(self) -> int:
            return self.file.fileno()

        def commit(self) -> None:
            raise AssertionError("committed what was not written")

        def discard(self) -> None:
            self.file.close()

    path = draw(tmp_path / "x.png", noise(200, 200, 3), "srgb")
    target = Full()
    with path.open("rb") as file:
        source = images.open_image(file, "x")
        sink = source.save_to(target)  # type: ignore[arg-type]
        for block in source.blocks():
            sink.write(block)
        with pytest.raises(NoSpaceError, match=r"no space left on device: out\.png"):
            sink.commit()
        sink.discard()


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    paths = [draw(tmp_path / f"{n}.png", noise(60, 70, 4, seed=n), "srgb") for n in range(6)]
    errors: list[BaseException] = []

    def work(path: Path) -> None:
        try:
            for _ in range(5):
                out = through(path, path.with_suffix(".out.png"))
                np.testing.assert_array_equal(pixels(out), pixels(path))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_formats_and_files_import_no_codec() -> None:
    script = (
        "import sys, denoise_cli.media, denoise_cli.media.files, denoise_cli.media.formats;"
        "assert not {'pyvips', 'PIL', 'numpy'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_refused_file_is_closed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no picture")
    file = (tmp_path / "x").open("rb")
    with pytest.raises(InputError):
        images.open_image(file, "x")
    assert file.closed
