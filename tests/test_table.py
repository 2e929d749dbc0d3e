"""Tables as files: what is read, what is kept, what is refused; noise in standard deviations."""

from __future__ import annotations

import csv
import io
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from denoise_cli import media, noising
from denoise_cli.corrupt import parse
from denoise_cli.errors import InputError, OutputError
from denoise_cli.media import delimited, matrices, table
from denoise_cli.media.files import Job
from denoise_cli.media.layout import Layout

SHEET = b'time;temp [C];n;"lab;el"\r\n2020-01-01;1.50;3;x\r\n2020-01-02;;4;"y;z"\r\n2020-01-03;2.25;NaN;q\r\n'
SERIES = Layout("series")


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def through(path: Path, change=lambda block: block, layout: Layout | None = None, cut: int | None = None) -> bytes:
    """The bytes of a copy whose blocks have been changed, and cut anew."""
    job = Job(path, path.with_name(f"out{path.suffix}"), Path(path.name))
    with closing(media.open_source(job, layout)) as source:
        sink = media.open_sink(job, source)
        try:
            for block in source.blocks():
                y = change(block)
                for start in range(0, y.shape[1], cut or y.shape[1]):
                    sink.write(y[:, start : start + (cut or y.shape[1])])
            sink.commit()
        finally:
            sink.discard()
    return job.target.read_bytes()


def opened(path: Path, layout: Layout | None = None) -> table.TableSource:
    source = media.open_source(Job(path, None, path), layout)
    assert isinstance(source, table.TableSource)
    return source


def test_a_sheet_is_read_by_its_numbers(tmp_path):
    with closing(opened(written(tmp_path / "a.csv", SHEET))) as source:
        assert source.names == ["temp [C]", "n"]
        assert (source.header.channels, source.header.length, source.header.kind) == (2, 3, "table")
        assert source.has_missing()
        (block,) = source.blocks()
        assert block.dtype == np.float32
        assert np.array_equal(block[:, :, 0], np.float32([[1.5, np.nan, 2.25], [3, 4, np.nan]]), equal_nan=True)
        (again,) = source.blocks()
        assert np.array_equal(block, again, equal_nan=True)
        moments = source.moments()
    assert moments.mean == pytest.approx([1.875, 3.5])
    assert moments.std == pytest.approx([0.375, 0.5])


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_what_is_not_touched_is_written_as_it_stood(tmp_path, bom):
    assert through(written(tmp_path / "a.csv", bom + SHEET), cut=2) == bom + SHEET


def test_what_is_filled_looks_like_its_column(tmp_path):
    filled = through(written(tmp_path / "a.csv", SHEET), lambda x: np.nan_to_num(x, nan=1.2345))
    want = SHEET.replace(b"-02;;", b"-02;1.23;").replace(b"2.25;NaN", b"2.25;1")
    assert filled == want


def test_a_value_that_goes_missing_is_written_as_the_file_writes_it(tmp_path):
    y = through(written(tmp_path / "a.csv", b"a,b\n1,2\nNA,3\n4,5\n"), lambda x: x * np.float32(np.nan))
    assert y == b"a,b\nNA,\nNA,\nNA,\n"


@pytest.mark.parametrize(
    ("text", "names", "numbers"),
    [
        ("1,2\n3,4\n", ["", ""], [[1, 3], [2, 4]]),
        ("a\tb\n1\t2\n", ["a", "b"], [[1], [2]]),
        ("id;x\nu;1\nv;2\n", ["x"], [[1, 2]]),
        (",x\n0,5\n1,6\n", ["x"], [[5, 6]]),  # the index of pandas
        (",0,1\n0,5.5,1e3\n1,6,7\n", ["0", "1"], [[5.5, 6], [1000, 7]]),  # and without names
        (",0\n0,5.5\n1,6\n", ["0"], [[5.5, 6]]),
        ("0,1,2\n5.5,0.5,0.1\n", ["0", "1", "2"], [[5.5], [0.5], [0.1]]),
        ("0,1,2\n5.5,0.5,3\n", ["", "", ""], [[0, 5.5], [1, 0.5], [2, 3]]),  # a row, as likely as not
        ("0,1\n0.1,0.9\n", ["", ""], [[0, 0.1], [1, 0.9]]),  # a decay
        ("0.0,1.0,2.0\n5.5,2.5,0.5\n", ["", "", ""], [[0, 5.5], [1, 2.5], [2, 0.5]]),
        ("1,2,3\n5.5,2.5,0.5\n", ["", "", ""], [[1, 5.5], [2, 2.5], [3, 0.5]]),
        ("0\n5.5\n", [""], [[0, 5.5]]),
        ("0,1,2,3,4,5,6,7,8,9\n" + "7," * 9 + "7\n", [str(n) for n in range(10)], [[7]] * 10),
        ("0,1,2,3,4,5,6,7,8,9\n", [""] * 10, [[n] for n in range(10)]),
        ("x\n1\n\n3\n", ["x"], [[1, np.nan, 3]]),
        ("2019,2020\n1,2\n", ["", ""], [[2019, 1], [2020, 2]]),  # numbers are no names
        ("x,y\n1e-3,null\n 2 ,n/a\n", ["x"], [[1e-3, 2]]),
        ('"a,b",c\n1,2\n', ["a,b", "c"], [[1], [2]]),
    ],
)
def test_delimiters_names_and_missing_values(tmp_path, text, names, numbers):
    with closing(opened(written(tmp_path / "a.csv", text.encode()))) as source:
        assert source.names == names
        (block,) = source.blocks()
    assert np.array_equal(block[:, :, 0], np.float32(numbers), equal_nan=True)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"a,b\n", "holds no rows below its names"),
        (b"a,b\nx,y\n", "no column of numbers"),
        (b"a,b\n1,2\n3\n", "row 3 has 1 cells, the first row has 2"),
        (b"a,b\n1,inf\n", 'column "b": inf in row 2 is not finite'),
        (b"a\n1e39\n", 'column "a": 1e.39 in row 2 is beyond'),
        (b"a,b\n1,\xff\n", "not text in UTF-8"),
        (b"1,5;2,3\n2,5;3,1\n", "decimal commas"),
        (b"n;x\na;1,5\nb;2\n\nc;\n", "decimal commas"),
        (b"x\ty\n1,5\t2\n3\t4\n", "decimal commas"),
        (b"a\n1_000\n", "no column of numbers"),
        (b"\x93NUMPY\x01\x00", "not an array that can be read"),
        (b"PK\x03\x04 nothing", "not an archive"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, data, said):
    path = written(tmp_path / "a.csv", data)
    with pytest.raises(InputError, match=said) as caught, closing(opened(path)) as source:
        list(source.blocks())
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_model_finds_its_columns_by_their_names(tmp_path):
    path = written(tmp_path / "a.csv", b"extra,b,a\n9,2,1\n8,,3\n")
    with closing(opened(path, Layout(columns=("a", "b"), count=2))) as source:
        (block,) = source.blocks()
    assert np.array_equal(block[:, :, 0], np.float32([[1, 3], [2, np.nan]]), equal_nan=True)
    y = through(path, lambda x: np.nan_to_num(x, nan=7), Layout(columns=("a", "b"), count=2))
    assert y == b"extra,b,a\n9,2,1\n8,7,3\n"
    with pytest.raises(InputError, match='no column "c"'):
        opened(path, Layout(columns=("a", "c"), count=2))
    with pytest.raises(InputError, match="3 columns of numbers, and the model takes 2"):
        opened(path, Layout(count=2))
    text = written(tmp_path / "b.csv", b"a,b\n1,2\nx,3\n")
    with pytest.raises(InputError, match='column "a": "x" in row 3 is not a number'):
        opened(text, Layout(columns=("a", "b"), count=2))


def test_columns_without_names_are_not_guessed_beside_one_that_holds_nothing(tmp_path):
    path = written(tmp_path / "a.csv", b"1,20,,40,x\n2,21,,41,y\n")
    with pytest.raises(InputError, match="has no names, and no value in column 3"):
        opened(path, Layout(columns=("temp", "hum", "count"), count=3))
    full = written(tmp_path / "b.csv", b"20,,40\n21,,41\n")
    with closing(opened(full, Layout(columns=("temp", "hum", "count"), count=3))) as source:
        assert source.columns == [0, 1, 2]


def test_names_that_a_model_takes_are_names_above_whatever_stands_below(tmp_path):
    path = written(tmp_path / "a.csv", b"time,a,b,label\nnow,,,x\nthen,,,y\n")
    with closing(opened(path, Layout(columns=("a", "b"), count=2))) as source:
        assert (source.names, source.header.length) == (["a", "b"], 2)


def test_a_column_of_numbers_with_a_few_words_in_it_is_named(tmp_path):
    path = written(tmp_path / "a.csv", b"a,b,c\n" + b"1,2,x\n" * 10 + b"1,bad,x\n" + b"1,2,3\n" * 2)
    with closing(opened(path)) as source:
        assert source.names == ["a"]
        assert source.doubtful() == ['column "b": "bad" in row 12 is not a number; so it is taken for text']


@pytest.mark.parametrize("token", ["None", "#N/A", "<NA>", "?", "NULL"])
def test_what_other_programs_write_for_a_missing_value_is_one(tmp_path, token):
    path = written(tmp_path / "a.csv", f"a,b\n1,2\n{token},3\n".encode())
    with closing(opened(path)) as source:
        (x,) = source.blocks()
    assert np.isnan(x[0, 1, 0])
    assert through(path) == path.read_bytes()


def test_a_model_finds_its_columns_where_every_value_is_missing(tmp_path):
    path = written(tmp_path / "a.csv", b"b,a\n,\n,nan\n")
    with closing(opened(path, Layout(columns=("a", "b"), count=2))) as source:
        (block,) = source.blocks()
    assert block.shape == (2, 2, 1)
    assert np.isnan(block).all()
    with pytest.raises(InputError, match="no column of numbers"):
        opened(path)


@pytest.mark.parametrize("layout", [None, SERIES])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", ">i2", "<u1", "<i8"])
def test_an_array_keeps_its_type_order_and_shape(tmp_path, layout, order, dtype):
    x = np.arange(35).reshape(5, 7).astype(dtype, order=order)
    np.save(tmp_path / "a.npy", x)
    assert through(tmp_path / "a.npy", layout=layout, cut=2) == (tmp_path / "a.npy").read_bytes()
    y = np.load(io.BytesIO(through(tmp_path / "a.npy", lambda b: b + np.float32(1.4), layout, cut=3)))
    assert (y.dtype, y.shape, y.flags.f_contiguous) == (x.dtype, x.shape, order == "F")
    assert y == pytest.approx(x + (1.4 if x.dtype.kind == "f" else 1), rel=1e-2)


def test_a_series_in_an_array_is_channels_by_time(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    with closing(opened(tmp_path / "a.npy", SERIES)) as source:
        (block,) = source.blocks()
    assert np.array_equal(block[:, :, 0], np.arange(6.0).reshape(2, 3))
    with pytest.raises(InputError, match="channels x time"):
        opened(tmp_path / "a.npy", Layout("series", count=3))
    np.save(tmp_path / "b.npy", np.arange(5.0))
    with closing(opened(tmp_path / "b.npy", SERIES)) as source:
        assert (source.header.channels, source.header.length) == (1, 5)


def test_what_did_not_change_keeps_the_digits_that_float32_has_not(tmp_path):
    x = np.array([[0.1, 1.0000000001], [np.nan, 123456789.123456789]])
    np.save(tmp_path / "a.npy", x)
    y = np.load(io.BytesIO(through(tmp_path / "a.npy", lambda b: np.nan_to_num(b, nan=2))))
    assert np.array_equal(y[[0, 0, 1], [0, 1, 1]], x[[0, 0, 1], [0, 1, 1]])
    assert y[1, 0] == 2


@pytest.mark.parametrize("dtype", ["int8", "uint8", ">i2", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_end_at_the_ends_of_their_type(dtype):
    limits = np.iinfo(dtype)
    y = matrices.cast_to(np.array([-1e30, 1e30, 7.4]), np.ones(3, bool), np.dtype(dtype))
    assert (y.dtype, int(y[0]), int(y[2])) == (np.dtype(dtype), limits.min, 7)
    # The largest float64 that a type of 64 bits holds is 2^63 - 1024, or 2^64 - 2048.
    assert limits.max - int(y[1]) == {"int64": 1023, "uint64": 2047}.get(dtype, 0)


def test_integers_cannot_go_missing(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(4).reshape(2, 2))
    with pytest.raises(OutputError, match="int64 cannot hold missing values"):
        through(tmp_path / "a.npy", lambda b: b * np.float32(np.nan))
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((2, 2, 2)), "two axes"),
        (np.zeros((0, 2)), "something in it"),
        (np.array([["a"]]), "not numbers"),
        (np.zeros((2, 2), complex), "not numbers"),
        (np.array([[{}]], object), "not numbers"),
    ],
)
def test_arrays_that_are_no_tables_are_refused(tmp_path, x, said):
    np.save(tmp_path / "a.npy", x, allow_pickle=True)
    with pytest.raises(InputError, match=said):
        opened(tmp_path / "a.npy")


def test_an_array_that_is_cut_short_or_lies_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 9)))
    data = (tmp_path / "a.npy").read_bytes()
    with pytest.raises(InputError, match="cut short"):
        opened(written(tmp_path / "b.npy", data[:-1]))
    lie = data.replace(b"(100, 9), }         ", b"(10000000000, 9), } ")
    assert lie != data
    with pytest.raises(InputError, match="cut short"):
        opened(written(tmp_path / "c.npy", lie))


def test_one_array_of_an_archive_is_meant_and_its_neighbours_stay(tmp_path):
    x = np.arange(6.0).reshape(3, 2)
    np.savez_compressed(tmp_path / "a.npz", data=x, other=np.arange(3))
    first = through(tmp_path / "a.npz", lambda b: b + 1)
    y = np.load(io.BytesIO(first))
    assert np.array_equal(y["data"], x + 1)
    assert np.array_equal(y["other"], np.arange(3))
    assert through(tmp_path / "a.npz", lambda b: b + 1) == first
    np.savez(tmp_path / "b.npz", a=x, b=x)
    with pytest.raises(InputError, match='none called "data"; they are a, b'):
        opened(tmp_path / "b.npz")


def test_an_archive_that_would_fill_the_disk_is_refused_unread(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", data=np.zeros((1000, 100)), other=np.zeros(1000))
    packed = (tmp_path / "a.npz").stat().st_size
    assert packed < 10_000
    monkeypatch.setattr(matrices, "UNPACKED", 800_000)
    monkeypatch.setattr(matrices.tempfile, "TemporaryFile", lambda **options: pytest.fail("nothing is unpacked"))
    with pytest.raises(InputError, match=r"unpacks to 808,\d+ bytes; the limit is 800,000"):
        opened(tmp_path / "a.npz")


def test_parquet_keeps_its_types_and_metadata(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    big = 2**60 + 1  # no float holds it
    columns = {
        "t": arrow.array([1, 2, 3], arrow.timestamp("ms")),
        "a": arrow.array([1, None, big], arrow.int64()),
        "b": arrow.array([0.1, float("nan"), None], arrow.float64()),
        "s": arrow.array(["x", None, "z"]),
    }
    sheet = arrow.table(columns).replace_schema_metadata({"unit": "C"})
    parquet.write_table(sheet, tmp_path / "a.parquet")
    through(tmp_path / "a.parquet", lambda x: np.nan_to_num(x, nan=2.75), cut=2)
    y = parquet.read_table(tmp_path / "out.parquet")
    assert y.schema.equals(parquet.read_table(tmp_path / "a.parquet").schema, check_metadata=True)
    assert y["a"].to_pylist() == [1, 3, big]
    assert y["b"].to_pylist() == [0.1, 2.75, 2.75]
    assert y["s"].to_pylist() == ["x", None, "z"]
    bad = written(tmp_path / "bad.parquet", (tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(InputError, match="not a Parquet file"):
        opened(bad)


def test_a_table_keeps_its_format(tmp_path):
    path = written(tmp_path / "a.csv", b"a\n1\n")
    for target in ("b.npy", "b.png"):
        job = Job(path, tmp_path / target, Path("a.csv"))
        with closing(media.open_source(job)) as source, pytest.raises(OutputError, match="written as"):
            media.open_sink(job, source)
        assert not (tmp_path / target).exists()


BLANK = "\n\na,b\n\n{},{}\n\n\n{},{}\n{},{}\n\n{},{}\n\n\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("layout", [None, SERIES])
@pytest.mark.parametrize("form", [BLANK, BLANK.replace("a,b\n\n", ""), BLANK.strip() + "\n"])
def test_blank_lines_come_back_blank_where_they_were(tmp_path, monkeypatch, form, layout, newline):
    form = form.replace("\n", newline)
    before = form.format(1, 2, 3, "", 5, 6, 7, 8).encode()
    path = written(tmp_path / "a.csv", before)
    for rows in (1, 2, 3, 100):
        monkeypatch.setattr(delimited, "CHUNK_ROWS", rows)
        assert through(path, layout=layout) == before
        after = through(path, lambda x: np.nan_to_num(x + 1, nan=0), layout, cut=2)
        assert after == form.format(2, 3, 4, 0, 6, 7, 8, 9).encode()


@pytest.mark.parametrize("names", ["a,b\n", "a,b\n\n", "\na,b\n", "\n", ""])
def test_a_blank_line_is_a_moment_of_a_series_and_no_row_of_a_table(tmp_path, names):
    path = written(tmp_path / "a.csv", f"{names}1,2\n\n\n3,4\n5,\n\n".encode())
    with closing(opened(path)) as source:
        (block,) = source.blocks()
        assert np.array_equal(block[:, :, 0], np.float32([[1, 3, 5], [2, 4, np.nan]]), equal_nan=True)
    with closing(opened(path, SERIES)) as source:
        assert source.header.length == 5
        (block,) = source.blocks()
        gap = [np.nan, np.nan]
        assert np.array_equal(block[:, :, 0], np.float32([[1, *gap, 3, 5], [2, *gap, 4, np.nan]]), equal_nan=True)
        assert list(source.moments().known) == [3, 2]


@pytest.mark.parametrize(("text", "missing"), [(b"a,b\n1,2\n\n3,4\n", False), (b"a,b\n1,2\n\n3,\n", True)])
def test_blank_lines_alone_leave_nothing_to_be_filled(tmp_path, text, missing):
    with closing(opened(written(tmp_path / "a.csv", text), SERIES)) as source:
        assert source.has_missing() == missing


def test_a_gap_in_a_series_counts_as_nothing_to_be_filled(tmp_path):
    path = written(tmp_path / "a.csv", b"a,b\n1,2\n\n3,\n\n\n5,6\n")
    with closing(opened(path, SERIES)) as source:
        assert source.gaps == 6
    with closing(opened(path)) as source:
        assert source.gaps == 0
    path.write_bytes(b"1,2\n\n3,4\n")  # whose first line is a row, as is known only later
    with closing(opened(path, SERIES)) as source:
        assert source.gaps == 2


def test_a_blank_line_in_a_single_column_is_a_value_that_is_missing(tmp_path):
    path = written(tmp_path / "a.csv", b"\nx\n1\n\n3\n")
    assert through(path) == path.read_bytes()
    assert through(path, lambda x: np.nan_to_num(x, nan=2)) == b"\nx\n1\n2\n3\n"


@pytest.mark.parametrize("text", [b"1,5;2,3\n\n2,5;3,1\n", b"\n1,5;2,3\n"])
def test_blank_lines_hide_no_decimal_commas(tmp_path, text):
    with pytest.raises(InputError, match="decimal commas"):
        opened(written(tmp_path / "a.csv", text))


@pytest.mark.parametrize("name", ["x.npz", "x.NPY", "x.parquet"])
def test_text_that_is_called_an_array_is_said_to_be_none(tmp_path, name):
    path = written(tmp_path / name, b"hello\n")
    with pytest.raises(InputError) as caught:
        opened(path)
    assert str(caught.value) == f"{path}: not a {path.suffix.lower()} file: it does not begin as one"


def test_a_table_that_takes_many_blocks_is_the_same(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 1000, (40_000, 3))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["a", "b", "c"], *rows.tolist()])
    path = written(tmp_path / "a.csv", text.getvalue().encode())
    with closing(opened(path)) as source:
        blocks = list(source.blocks())
    assert len(blocks) > 1
    assert np.array_equal(np.concatenate(blocks, axis=1)[:, :, 0].T, rows)
    assert through(path, cut=777) == path.read_bytes()


def noisy(path: Path, spec: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    with closing(opened(path)) as source:
        both = zip(*noising.blocks(source, parse(spec), seed), strict=True)
        x, y = (np.concatenate(side, axis=1)[:, :, 0] for side in both)
    return x, y


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """20,000 rows of three columns, 1000 +- 10, 0 +- 0.01 and constant, every tenth value of the first missing."""
    rng = np.random.default_rng(1)
    x = np.stack(
        [1000 + 10 * rng.standard_normal(20_000), 0.01 * rng.standard_normal(20_000), np.full(20_000, 5)], 1
    )
    x[::10, 0] = np.nan
    np.save(tmp_path / "wide.npy", x)
    return tmp_path / "wide.npy"


def test_noise_is_in_standard_deviations_of_each_column(wide):
    x, y = noisy(wide, "gaussian:std=0.5")
    assert np.array_equal(np.isnan(x), np.isnan(y)), "what is missing stays missing"
    assert np.nanstd((y - x)[:2], axis=1) == pytest.approx([5, 0.005], rel=0.03)
    assert np.array_equal(x[2], y[2]), "a constant column has no unit for noise"
    assert np.nanstd((noisy(wide, "uniform:width=1")[1] - x)[1]) == pytest.approx(0.01 / 3**0.5, rel=0.03)


def test_masking_takes_single_values_or_pieces_in_each_column_for_itself(wide):
    x, y = noisy(wide, "masking:amount=0.2")
    gone = np.isnan(y) & ~np.isnan(x)
    assert gone[1:].mean(1) == pytest.approx([0.2, 0.2], abs=0.01)
    assert np.mean(gone[1] & gone[2]) == pytest.approx(0.04, abs=0.01), "columns are independent"
    assert np.array_equal(x[~np.isnan(y)], y[~np.isnan(y)]), "what stays is not touched, to the bit"
    _, pieces = noisy(wide, "masking:amount=0.2,size=8")
    runs = np.diff(np.flatnonzero(np.diff(np.isnan(pieces[1]).astype(int))))[::2]
    assert np.isnan(pieces[1]).mean() == pytest.approx(0.2, abs=0.02)
    assert (runs % 8 == 0).mean() > 0.9, "but where a block of the file ends"


def test_salt_and_pepper_sticks_three_deviations_off(wide):
    x, y = noisy(wide, "salt-pepper:amount=0.3,salt=0.25")
    z = (y[1] - x[1].mean()) / x[1].std()
    hit = y[1] != x[1]
    assert hit.mean() == pytest.approx(0.3, abs=0.01)
    assert np.abs(z[hit]) == pytest.approx(np.full(hit.sum(), 3), abs=1e-3)
    assert (z[hit] > 0).mean() == pytest.approx(0.25, abs=0.02)


def test_noise_depends_on_seed_and_content_alone(wide, tmp_path):
    copy = written(tmp_path / "copy.npy", wide.read_bytes())
    assert np.array_equal(noisy(wide, "gaussian:std=0-1")[1], noisy(copy, "gaussian:std=0-1")[1], equal_nan=True)
    assert not np.array_equal(noisy(wide, "gaussian:std=1")[1][1], noisy(wide, "gaussian:std=1", seed=1)[1][1])


@pytest.mark.parametrize(
    "spec", ["poisson", "jpeg", "camera", "speckle", "quantise", "pink", "gaussian:std=1|poisson"]
)
def test_what_makes_no_sense_for_a_table_is_refused(wide, spec):
    with pytest.raises(InputError, match="this is a table"):
        noisy(wide, spec)


@pytest.mark.parametrize(
    ("name", "text", "target", "after"),
    [
        ("a.csv", "x,y\n1,2\n", "b.tsv", "x\ty\n1\t2\n"),
        ("a.csv", "x,y\n1;5,2\n", "b.csv", "x,y\n1;5,2\n"),
        ("a.csv", "x\ty\n1\t2\n", "b.csv", "x\ty\n1\t2\n"),
        ("a.tsv", "x,y\n1,2\n", "b.tsv", "x,y\n1,2\n"),
        ("a.tsv", "x\tnote\n1\thot, dry\n", "b.CSV", 'x,note\n1,"hot, dry"\n'),
        ("a.txt", "x;y\n1;2\n", "b.csv", "x;y\n1;2\n"),
    ],
)
def test_another_suffix_is_another_delimiter(tmp_path, name, text, target, after):
    path = written(tmp_path / name, text.encode())
    job = Job(path, tmp_path / target, Path(name))
    with closing(media.open_source(job, Layout("table"))) as source:
        sink = media.open_sink(job, source)
        for block in source.blocks():
            sink.write(block)
        sink.commit()
    assert job.target.read_text() == after


@pytest.mark.parametrize("text", [b"a;b\n1,2,3;2\n", b"a;b\nx,1;2\n1,5;2\n", b'a,b\n"1,5",2\n'])
def test_text_with_commas_is_no_number_with_a_decimal_comma(tmp_path, text):
    path = written(tmp_path / "a.csv", text)
    with closing(opened(path)) as source:
        assert source.names == ["b"]
    assert through(path, lambda x: x) == text
