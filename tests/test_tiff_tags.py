"""What a TIFF says of itself comes out as it went in, page by page; a damaged tag is left out, alone."""

from __future__ import annotations

import io
import itertools
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_image import noise, pixels, through

from denoise_cli.media import formats, image_sink, tiff, tiff_tags
from denoise_cli.media import image as images

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
SRATIONAL, DOUBLE, IFD, LONG8 = 10, 12, 13, 16
CODES = {1: "B", 2: "c", 3: "H", 4: "I", 5: "I", 6: "b", 7: "c", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d"}
CODES |= {13: "I", 16: "Q", 17: "q", 18: "Q"}
EXIF, GPS, INTEROP = 34665, 34853, 40965
FORMS = list(itertools.product("<>", (False, True)))

Value = tuple[int, tuple]  # type, and numbers or single bytes
Tags = dict[int, "Value | Tags"]


def text(value: bytes) -> Value:
    return ASCII, tuple(bytes([byte]) for byte in value + b"\0")


TAGS: Tags = {
    **{tag: text(f"tag {tag}".encode()) for tag in (269, 271, 272, 285, 305, 306, 315, 33432, 42112, 42113)},
    33550: (DOUBLE, (0.5, 0.5, 0.0)),
    33922: (DOUBLE, (0.0, 0.0, 0.0, 440_720.0, 3_751_320.0, 0.0)),
    34264: (DOUBLE, tuple(map(float, range(16)))),
    34735: (SHORT, (1, 1, 0, 1, 1024, 0, 1, 1)),
    34736: (DOUBLE, (6_378_137.0, 298.25)),
    34737: text(b"WGS 84|"),
    286: (RATIONAL, (7, 3)),
    65000: (SHORT, (1, 2)),
    65001: (LONG, (1 << 31, 5, 9)),
    65002: (UNDEFINED, tuple(bytes([n]) for n in range(100))),
    65003: (SRATIONAL, (-7, 3, 1, -2)),
    65004: (BYTE, (1, 2, 3)),
    65005: (11, (1.5,)),
    65007: text(b"one\0two"),
    EXIF: {
        33434: (RATIONAL, (1, 250)),
        36867: text(b"2020:01:01 00:00:00"),
        37500: (UNDEFINED, tuple(bytes([n]) for n in range(50))),
        INTEROP: {1: text(b"R98"), 2: (UNDEFINED, (b"0", b"1", b"0", b"0"))},
    },
    GPS: {0: (BYTE, (2, 3, 0, 0)), 1: text(b"N"), 2: (RATIONAL, (48, 1, 8, 1, 30, 1))},
}


class Builder:
    """A TIFF, written the slow way."""

    def __init__(self, order: str, big: bool):
        self.order, self.big = order, big
        self.entry, self.count, self.offset = ("HHQ", "Q", "Q") if big else ("HHI", "H", "I")
        head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "H", 43 if big else 42)
        self.data = bytearray(head + (struct.pack(order + "HHQ", 8, 0, 0) if big else bytes(4)))
        self.link = 8 if big else 4

    def append(self, data: bytes) -> int:
        self.data += bytes(len(self.data) % 2)
        self.data += data
        return len(self.data) - len(data)

    def raw(self, tag: int, type: int, count: int, field: bytes) -> bytes:
        return struct.pack(self.order + self.entry, tag, type, count) + field.ljust(8 if self.big else 4, b"\0")

    def pointer(self, at: int) -> bytes:
        return struct.pack(self.order + self.offset, at)

    def value(self, tag: int, value: Value | Tags) -> bytes:
        if isinstance(value, dict):
            at = self.directory(value)
            return self.raw(tag, LONG8 if self.big else LONG, 1, self.pointer(at))
        type, numbers = value
        data = struct.pack(f"{self.order}{len(numbers)}{CODES[type]}", *numbers)
        count = len(numbers) // (2 if type in (5, 10) else 1)
        field = data if len(data) <= (8 if self.big else 4) else self.pointer(self.append(data))
        return self.raw(tag, type, count, field)

    def directory(self, tags: Tags, raw: tuple[bytes, ...] = ()) -> int:
        entries = sorted(
            [*(self.value(tag, value) for tag, value in tags.items()), *raw],
            key=lambda entry: struct.unpack(self.order + "H", entry[:2]),
        )
        head = struct.pack(self.order + self.count, len(entries))
        return self.append(head + b"".join(entries) + self.pointer(0))

    def page(self, rows: np.ndarray, tags: Tags, raw: tuple[bytes, ...] = ()) -> None:
        height, width, bands = rows.shape
        strip = self.append(rows.astype(rows.dtype.newbyteorder(self.order)).tobytes())
        colours = 3 if bands >= 3 else 1
        stored: Tags = {
            **{256: (SHORT, (width,)), 257: (SHORT, (height,)), 258: (SHORT, (8 * rows.itemsize,) * bands)},
            **{259: (SHORT, (1,)), 262: (SHORT, (2 if colours == 3 else 1,)), 273: (LONG, (strip,))},
            **{277: (SHORT, (bands,)), 278: (SHORT, (height,)), 279: (LONG, (rows.nbytes,))},
        }
        at = self.directory(stored | tags, raw)
        self.data[self.link : self.link + len(self.pointer(0))] = self.pointer(at)
        self.link = len(self.data) - len(self.pointer(0))


def build(form: tuple[str, bool], *pages: Tags, raw: tuple[bytes, ...] = (), shape=(6, 5, 3)) -> bytes:
    builder = Builder(*form)
    for index, tags in enumerate(pages):
        builder.page(noise(*shape, seed=index), tags, raw)
    return bytes(builder.data)


def parse(data: bytes) -> list[Tags]:
    """All pages, as far as their directories and values are in order; an error where they are not."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = data[2:4] in (b"+\0", b"\0+")
    entry, count_code, offset_code, room = ("HHQ8s", "Q", "Q", 8) if big else ("HHI4s", "H", "I", 4)

    def directory(at: int) -> tuple[Tags, int]:
        assert at % 2 == 0
        (count,) = struct.unpack_from(order + count_code, data, at)
        at += struct.calcsize(order + count_code)
        tags: Tags = {}
        last = -1
        for index in range(count):
            tag, type, n, field = struct.unpack_from(
                order + entry, data, at + index * struct.calcsize(order + entry)
            )
            assert tag > last
            last = tag
            (offset,) = struct.unpack(order + offset_code, field)
            if tag in (EXIF, GPS, INTEROP):
                tags[tag] = directory(offset)[0]
                continue
            code = f"{order}{n * (2 if type in (5, 10) else 1)}{CODES[type]}"
            held = struct.calcsize(code) <= room
            numbers = struct.unpack_from(code, field if held else data, 0 if held else offset)
            tags[tag] = type, numbers
        return tags, struct.unpack_from(order + offset_code, data, at + count * struct.calcsize(order + entry))[0]

    pages = []
    (at,) = struct.unpack_from(order + offset_code, data, room)
    while at:
        page, at = directory(at)
        pages.append(page)
    return pages


def carried(source: bytes, output: bytes) -> bytes:
    file = io.BytesIO(output)
    tiff_tags.carry(io.BytesIO(source), file)
    return file.getvalue()


def only(page: Tags, tags: Tags) -> Tags:
    return {tag: page.get(tag) for tag in tags}  # type: ignore[misc]


# --- whole files


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("big", [False, True])
def test_tags_come_out_as_they_went_in(tmp_path: Path, monkeypatch, form: tuple[str, bool], big: bool) -> None:
    if big:
        monkeypatch.setattr(formats.Traits, "bytes", 1 << 32)
    (tmp_path / "x.tif").write_bytes(build(form, TAGS))
    out = through(tmp_path / "x.tif")
    (page,) = parse(out.read_bytes())
    assert (out.read_bytes()[2] == 43) is big
    assert only(page, TAGS) == TAGS
    assert np.array_equal(pixels(out), pixels(tmp_path / "x.tif"))
    with Image.open(out) as after:
        assert after.getexif().get_ifd(EXIF)[36867] == "2020:01:01 00:00:00"
    assert through(out, tmp_path / "again.tif").stat().st_size == out.stat().st_size


@pytest.mark.parametrize("form", FORMS)
def test_every_page_has_its_own(tmp_path: Path, form: tuple[str, bool]) -> None:
    pages: list[Tags] = [
        {285: text(b"first"), 270: text(b"one"), EXIF: {33434: (RATIONAL, (1, 250))}},
        {},
        {285: text(b"third"), 270: text(b"three"), 700: (BYTE, (60, 62)), 34675: (UNDEFINED, (b"i", b"c", b"c"))},
    ]
    (tmp_path / "x.tif").write_bytes(build(form, *pages))
    out = through(tmp_path / "x.tif")
    after = parse(out.read_bytes())
    assert [only(page, tags) for page, tags in zip(after, pages, strict=True)] == pages
    assert 285 not in after[1]
    assert EXIF not in after[2]
    assert np.array_equal(pixels(out, frames=True), pixels(tmp_path / "x.tif", frames=True))


@pytest.mark.parametrize(("old", "new"), list(itertools.product(FORMS, FORMS)))
def test_from_any_form_into_any_other(old: tuple[str, bool], new: tuple[str, bool]) -> None:
    output = build(new, {282: (RATIONAL, (72, 1)), 65535: (SHORT, (9,))}, {}, {})
    before = parse(output)
    after = parse(carried(build(old, TAGS, {}, {271: text(b"Maker")}), output))
    assert after == [before[0] | TAGS, before[1], before[2] | {271: text(b"Maker")}]


def test_how_samples_are_stored_is_not_carried(tmp_path: Path) -> None:
    stored: Tags = {
        **{254: (LONG, (2,)), 266: (SHORT, (1,)), 280: (SHORT, (0, 0, 0)), 281: (SHORT, (9, 9, 9))},
        **{330: (LONG, (8,)), 340: (SHORT, (0, 0, 0)), 341: (SHORT, (9, 9, 9)), 532: (RATIONAL, (0, 1) * 6)},
        37724: (UNDEFINED, (b"8", b"B", b"I", b"M")),
        65010: (IFD, (8,)),
    }
    (tmp_path / "x.tif").write_bytes(build(("<", False), {271: text(b"Maker"), **stored}))
    (page,) = parse(through(tmp_path / "x.tif").read_bytes())
    assert page[271] == text(b"Maker")
    assert not stored.keys() & page.keys()


@pytest.mark.parametrize(("depth", "kept"), [(None, True), (16, False)])
def test_curves_hold_for_samples_of_the_same_kind(tmp_path: Path, depth, kept: bool) -> None:
    curve: Tags = {301: (SHORT, tuple(range(256)))}
    (tmp_path / "x.tif").write_bytes(build((">", False), curve))
    (page,) = parse(through(tmp_path / "x.tif", depth=depth).read_bytes())
    assert (only(page, curve) == curve) is kept


def test_texts_that_libvips_cuts_are_whole(tmp_path: Path) -> None:
    tags: Tags = {
        270: text(b"one\0two"),
        33723: (UNDEFINED, tuple(bytes([n % 256]) for n in range(403))),
        34377: (BYTE, tuple(b"8BIM")),
        700: (BYTE, tuple(b"<x/>")),
    }
    (tmp_path / "x.tif").write_bytes(build(("<", False), tags))
    (page,) = parse(through(tmp_path / "x.tif").read_bytes())
    assert only(page, tags) == tags


@pytest.mark.parametrize("form", FORMS)
def test_long_numbers_are_shorter_in_a_classic_tiff(form: tuple[str, bool]) -> None:
    long: Tags = {65000: (LONG8, (1 << 32,)), 65001: (LONG8, (1, (1 << 32) - 1)), 65002: (17, (-1, -(1 << 31)))}
    (page,) = parse(carried(build((">", True), long), build(form, {})))
    if form[1]:
        assert only(page, long) == long
    else:
        assert only(page, long) == {65000: None, 65001: (LONG, long[65001][1]), 65002: (9, long[65002][1])}


def test_iptc_is_bytes_even_if_it_is_called_numbers() -> None:
    said = bytes(range(28, 40))
    source = build((">", False), {33723: (LONG, struct.unpack(">3I", said))})
    (page,) = parse(carried(source, build(("<", False), {})))
    assert page[33723] == (LONG, struct.unpack("<3I", said))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_who_took_it_when_and_where_goes_from_exif_to_a_tiff_and_back(tmp_path: Path, suffix: str) -> None:
    told = Image.Exif()
    told[0x10F], told[0x8298], told[0x10E] = "Maker", "(c) somebody", "a hill"
    told.get_ifd(EXIF)[0x9003] = "2020:01:01 00:00:00"
    told.get_ifd(GPS).update({1: "N", 2: (1.0, 2.0, 3.0)})
    Image.fromarray(noise(40, 50, 3)).save(tmp_path / f"x{suffix}", exif=told)
    there = through(tmp_path / f"x{suffix}", tmp_path / "y.tif", format="tiff")
    back = through(there, tmp_path / f"z{suffix}", format=formats.format_of(tmp_path / f"z{suffix}"))
    for path in (there, back):
        with Image.open(path) as seen:
            found = seen.getexif()
            assert [found[tag] for tag in (0x10F, 0x8298, 0x10E)] == ["Maker", "(c) somebody", "a hill"]
            assert found.get_ifd(EXIF)[0x9003] == "2020:01:01 00:00:00"
            assert found.get_ifd(GPS)[2] == (1.0, 2.0, 3.0)


def test_a_tiff_that_says_nothing_of_its_picture_makes_no_exif() -> None:
    for data in (build(("<", False), {}, {}), b"no TIFF"):
        assert tiff_tags.exif(io.BytesIO(data)) == b""
    vast = build(("<", False), {271: text(b"m" * (1 << 17)), 272: text(b"small")}, {})
    assert 40 < len(tiff_tags.exif(io.BytesIO(vast))) < 1000, "what no JPEG could hold is left out"


@pytest.mark.parametrize("tags", [{}, {270: text(b"libvips knows this"), 274: (SHORT, (6,)), 296: (SHORT, (2,))}])
def test_nothing_is_changed_without_need(tmp_path: Path, monkeypatch, tags: Tags) -> None:
    (tmp_path / "x.tif").write_bytes(build((">", False), tags, tags))
    out = through(tmp_path / "x.tif").read_bytes()
    monkeypatch.setattr(image_sink.tiff_tags, "carry", lambda source, output: None)
    assert through(tmp_path / "x.tif").read_bytes() == out


def test_what_exif_does_not_know_goes_only_from_tiff_to_tiff(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(build((">", False), {271: text(b"Maker"), 65000: (SHORT, (1,))}))
    png = through(tmp_path / "x.tif", tmp_path / "x.png", format="png")
    (page,) = parse(through(png, tmp_path / "y.tif", format="tiff").read_bytes())
    assert page[271] == text(b"Maker")
    assert 65000 not in page


def test_through_pipes_and_spools(tmp_path: Path, monkeypatch) -> None:
    data = build((">", False), TAGS)
    (tmp_path / "x.tif").write_bytes(data)
    whole = through(tmp_path / "x.tif").read_bytes()
    monkeypatch.setattr(images, "KEEP_BYTES", 0)  # a big picture waits in a file
    assert through(tmp_path / "x.tif").read_bytes() == whole
    command = [sys.executable, "-m", "denoise_cli", "corrupt", "-", "--std", "5"]
    (page,) = parse(subprocess.run(command, input=data, capture_output=True, check=True).stdout)
    assert only(page, TAGS) == TAGS
    assert page[296] == (SHORT, (1,))  # no unit: what was patched before must not come out of a buffer


# --- damaged and hostile ones


HOSTILE = {
    "beyond the file": (65000, ASCII, 100, 1 << 31),
    "billions": (65000, DOUBLE, (1 << 32) - 1, 8),
    "unknown type": (65000, 99, 1, 0),
    "cut short": (65000, ASCII, 500, 200),
    "EXIF beyond the file": (EXIF, LONG, 1, 1 << 31),
    "EXIF of text": (EXIF, ASCII, 4, 0x41414141),
    "EXIF at the header": (EXIF, LONG, 1, 0),
    "GPS without end": (GPS, LONG, (1 << 32) - 1, 8),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_tag_is_left_out_alone(what: str, form: tuple[str, bool]) -> None:
    tag, type, count, field = HOSTILE[what]
    if form[1]:
        field = field << 32 if field == 1 << 31 else field
        count = count << 31 if count >> 31 else count
    builder = Builder(*form)
    source = build(form, {271: text(b"Maker")}, raw=(builder.raw(tag, type, count, builder.pointer(field)),))
    output = build(("<", False), {})
    (page,) = parse(carried(source, output))
    assert page == {**parse(output)[0], 271: text(b"Maker")}


def test_what_points_to_itself_ends() -> None:
    builder = Builder("<", False)
    at = len(builder.data)
    loop = builder.raw(EXIF, LONG, 1, builder.pointer(at)), builder.raw(GPS, LONG, 1, builder.pointer(at))
    assert builder.directory({1: text(b"R98")}, loop) == at
    builder.page(noise(6, 5, 3), {}, loop)
    builder.data[builder.link : builder.link + 4] = struct.pack("<I", at)  # the page after the page, too
    data = carried(bytes(builder.data), build(("<", False), {}))
    (page,) = parse(data)
    assert page[EXIF][1] == page[GPS][1] == text(b"R98")  # type: ignore[index]
    assert len(data) < 1000


@pytest.mark.parametrize("big", [False, True])
def test_no_directory_is_longer_than_libtiff_reads(big: bool) -> None:
    builder = Builder("<", big)
    entries = tuple(builder.raw(1000 + n % 64_000, SHORT, 1, b"\1\0") for n in range(65_000))
    source, output = build(("<", big), {}, raw=entries), build(("<", False), {})
    (page,) = parse(carried(source, output))
    assert len(page) == 4096
    assert parse(output)[0].items() <= page.items()


def test_so_many_bytes_and_no_more(monkeypatch) -> None:
    monkeypatch.setattr(tiff_tags, "MOST_BYTES", 8000)
    tags: Tags = {271: text(b"M" * 1000), 272: text(b"N" * 10_000), 305: text(b"S" * 1000)}
    pages: list[Tags] = [tags] * 10
    output = build(("<", False), *[{}] * 10)
    data = carried(build((">", True), *pages), output)
    assert len(data) - len(output) < 6000
    after = parse(data)
    assert len(after) == 10
    assert [page.keys() & tags.keys() for page in after[:2]] == [{271, 305}] * 2
    assert after[5:] == parse(output)[5:]


def test_one_value_told_a_thousand_times_is_not_copied_without_end(monkeypatch) -> None:
    monkeypatch.setattr(tiff_tags, "MOST_BYTES", 1 << 20)
    builder = Builder("<", False)
    at = builder.append(bytes(1 << 18))
    entries = tuple(builder.raw(60_000 + n, BYTE, 1 << 18, builder.pointer(at)) for n in range(4000))
    builder.page(noise(6, 5, 3), {}, entries)
    output = build(("<", False), {})
    began = time.perf_counter()
    data = carried(bytes(builder.data), output)
    assert len(data) - len(output) < 1 << 20
    assert time.perf_counter() - began < 5


def test_a_classic_tiff_that_is_full_is_left_alone(tmp_path: Path) -> None:
    output = build(("<", False), {})
    with (tmp_path / "x.tif").open("w+b") as file:
        file.write(output)
        file.truncate((1 << 32) - 100)  # a hole
        tiff_tags.carry(io.BytesIO(build(("<", False), {271: text(b"Maker" * 20)})), file)
        assert file.seek(0, 2) == (1 << 32) - 100
        file.seek(0)
        assert file.read(len(output)) == output


@pytest.mark.parametrize("form", FORMS)
def test_no_byte_out_of_place_does_harm(form: tuple[str, bool]) -> None:
    rng = np.random.default_rng(0)
    source, output = build(form, TAGS, TAGS), build(("<", False), {}, {})
    pixel_count = len(parse(output))
    for _ in range(300):
        damaged = np.frombuffer(source, np.uint8).copy()
        damaged[rng.integers(8, len(source), 20)] = rng.integers(0, 256, 20)
        data = carried(damaged.tobytes()[: rng.integers(16, len(source) + 1)], output)
        assert len(list(tiff.directories(io.BytesIO(data)))) == pixel_count
        assert len(data) < len(output) + 4 * len(source)


# --- bands that are no alpha


@pytest.mark.parametrize(
    ("bands", "extra", "groups", "colour"),
    [
        (4, (0,), ((0, 1, 2), (3,)), "RGB+1"),
        (6, (0, 0, 0), ((0, 1, 2), (3,), (4,), (5,)), "RGB+3"),
        (2, (0,), ((0,), (1,)), "gray+1"),
        (4, (2,), ((0, 1, 2),), "RGB"),
        (4, (1,), ((0, 1, 2),), "RGB"),
        (5, (0, 2), ((0, 1, 2),), "RGB"),
        (4, None, ((0, 1, 2),), "RGB"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unspecified_bands_are_channels(tmp_path: Path, bands, extra, groups, colour, dtype) -> None:
    builder = Builder(">", False)
    for seed in range(2):
        rows = noise(40, 50, bands, dtype=dtype, seed=seed)
        builder.page(rows, {} if extra is None else {338: (SHORT, extra)})
    (tmp_path / "x.tif").write_bytes(builder.data)
    with closing(images.open_image((tmp_path / "x.tif").open("rb"), "x")) as source:
        assert source.header.groups == groups
        assert source.header.channels == sum(map(len, groups))
        assert source.traits.alpha == ("+" not in colour)
        assert source.traits.colour == colour
    out = through(tmp_path / "x.tif")
    assert np.array_equal(pixels(out, frames=True), pixels(tmp_path / "x.tif", frames=True))
    for page in parse(out.read_bytes()):
        assert page[338] == (SHORT, extra if "+" in colour else (2,) * (1 if extra is None else len(extra)))
        assert page[262] == (SHORT, (2 if bands > 2 else 1,))


@pytest.mark.parametrize(("colour", "bands"), [("gray", 2), ("CMYK", 5), ("40-band", 41), ("RGB+9", 13)])
def test_pictures_of_many_bands_know_their_size(colour, bands):
    assert formats.Traits("tiff", 16, colour, 1000, 1000).bytes == 2_000_000 * bands
