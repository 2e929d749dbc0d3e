"""Stacks of pictures in array files: what is read is what was written, and a header that lies is found out."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from denoise_cli.errors import InputError, UsageError
from denoise_cli.media import arrays


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(x: np.ndarray, kind: int = 8, shape: tuple[int, ...] | None = None) -> bytes:
    sizes = x.shape if shape is None else shape
    return bytes([0, 0, kind, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + x.tobytes()


def npz(path: Path, **named: np.ndarray) -> Path:
    np.savez(path, **named)
    return path


def npy(shape: str, data: bytes, dtype: str = "|u1") -> bytes:
    """A .npy whose header says what we like."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(5, 9, 7), (5, 9, 7, 3), (5, 9, 7, 1)])
def test_idx_holds_its_pictures(tmp_path, shape, packed):
    x = pixels(*shape)
    path = tmp_path / ("train-images-idx3-ubyte" + ".gz" * packed)
    path.write_bytes(gzip.compress(idx(x)) if packed else idx(x))
    stack = arrays.read(path)
    expected = x[:, None] if len(shape) == 3 else x.transpose(0, 3, 1, 2)
    assert np.array_equal(stack.pixels, expected)
    assert np.array_equal(stack.picture(2), expected[2].astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        *(
            (name, True)
            for name in ("x.idx", "x.IDX", "x.idx.gz", "x.idx3-ubyte", "x.idx3-ubyte.gz", "x.idx-ubyte")
        ),
        *((name, True) for name in ("x-idx3-ubyte", "x-idx4", "x.idx4.gz")),
        *((name, False) for name in ("x-idx", "idx", "x.idx.png", "xidx", "x.gz", "x.idx12")),
    ],
)
def test_idx_is_known_by_its_name(tmp_path, name, known):
    assert arrays.is_named(tmp_path / name) == arrays.is_array(tmp_path / name) == known
    if known:
        x = pixels(2, 4, 3)
        (tmp_path / name).write_bytes(gzip.compress(idx(x)) if name.endswith("gz") else idx(x))
        assert np.array_equal(arrays.read(tmp_path / name).pixels[:, 0], x)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_numpy_files_hold_theirs_in_either_order(tmp_path, suffix, order):
    x = pixels(4, 6, 5, 3)
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, np.asarray(x, order=order))
    else:
        npz(path, x=np.asarray(x, order=order), y=np.arange(4))
    assert np.array_equal(arrays.read(path).pixels, x.transpose(0, 3, 1, 2))


def test_what_write_gives_read_takes(tmp_path):
    for shape in ((3, 1, 8, 5), (3, 3, 8, 5)):
        x = pixels(*shape)
        with (tmp_path / "x.npy").open("wb") as file:
            arrays.write(file, x)
        assert np.array_equal(arrays.read(tmp_path / "x.npy").pixels, x)


def test_mnist_is_trained_on_one_half_and_judged_on_the_other(tmp_path):
    train, test = pixels(6, 4, 4), pixels(3, 4, 4, seed=1)
    path = npz(tmp_path / "mnist.npz", x_train=train, y_train=np.arange(6), x_test=test, y_test=np.arange(3))
    assert np.array_equal(arrays.read(path, "train").pixels[:, 0], train)
    assert np.array_equal(arrays.read(path, "test").pixels[:, 0], test)
    assert np.array_equal(arrays.read(Path(f"{path}:x_test"), "train").pixels[:, 0], test)
    with pytest.raises(UsageError, match=r"x_train, x_test: say which, .*mnist.npz:x_train"):
        arrays.read(path)
    with pytest.raises(UsageError, match='no array "x"; it holds x_train, y_train, x_test, y_test'):
        arrays.read(Path(f"{path}:x"))
    with pytest.raises(InputError, match="1 axes"):
        arrays.read(Path(f"{path}:y_test"))


def test_only_what_holds_pictures_is_taken_for_one(tmp_path):
    np.save(tmp_path / "table.npy", np.zeros((3, 4)))
    np.save(tmp_path / "pictures.npy", pixels(3, 4, 4))
    npz(tmp_path / "series.npz", a=np.zeros((3, 4, 4)))
    npz(tmp_path / "stack.npz", a=pixels(3, 4, 4))
    named = (
        "table.npy",
        "pictures.npy",
        "series.npz",
        "stack.npz",
        "stack.npz:a",
        "t10k-images.idx3-ubyte",
        "a.png",
    )
    assert [arrays.is_array(tmp_path / name) for name in named] == [False, True, False, True, True, True, False]
    assert [arrays.is_named(tmp_path / name) for name in named] == [True] * 6 + [False]


GOOD = pixels(4, 6, 5)
BAD_IDX = {
    "begins otherwise": (b"\1" + idx(GOOD)[1:], "two zero bytes"),
    "empty": (b"", "two zero bytes"),
    "floats": (idx(GOOD, kind=0x0D), "type 0x0d"),
    "labels": (idx(GOOD.ravel()), "1 axes"),
    "no sizes": (idx(GOOD)[:9], "cut short within its header"),
    "cut short": (idx(GOOD)[:-1], "cut short: its header says 4x6x5, which is 120 bytes, and 119 follow"),
    "too long": (idx(GOOD) + b"x", "goes on after the 120 bytes"),
    "nothing": (idx(GOOD, shape=(0, 6, 5)), "no pixel"),
    "a huge count": (idx(GOOD, shape=(2**32 - 1, 1000, 1000)), "more than the"),
    "a huge side": (idx(GOOD, shape=(1, 1, 2**31)), "sides of at most"),
    "two channels": (idx(GOOD, shape=(4, 3, 5, 2)), "1 or 3 channels, not 2"),
}


@pytest.mark.parametrize("name", BAD_IDX)
@pytest.mark.parametrize("packed", [False, True])
def test_a_bad_idx_is_refused_in_a_line(tmp_path, name, packed):
    data, reason = BAD_IDX[name]
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError) as caught:
        arrays.read(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def archive(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in entries.items():
            target.writestr(name, data)
    return file.getvalue()


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    return file.getvalue()


BAD_NPZ = {
    "no archive": (b"PK nothing", "damaged"),
    "no pictures": (archive({"y.npy": npy("(4,)", b"1234")}), "no pictures"),
    "pickled": (archive({"x.npy": pickled()}), "no pictures"),
    "no header": (archive({"x.npy": b"something"}), "no pictures"),
    "cut short": (archive({"x.npy": npy("(4, 6, 5)", bytes(119))}), "119 follow"),
    "too long": (archive({"x.npy": npy("(4, 6, 5)", bytes(121))}), "goes on"),
    "negative": (archive({"x.npy": npy("(-4, 6, 5)", bytes(120))}), "no pixel"),
    "huge": (archive({"x.npy": npy("(1000000, 30000, 30000)", bytes(120))}), "more than the"),
    "cut in the middle": (archive({"x.npy": npy("(4, 6, 5)", bytes(120))})[:-30], "damaged"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_a_bad_npz_is_refused_in_a_line(tmp_path, name):
    data, reason = BAD_NPZ[name]
    path = tmp_path / "x.npz"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        arrays.read(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_pickled_is_never_loaded_by_its_name(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(archive({"x.npy": pickled()}))
    with pytest.raises(InputError, match="1 axes"):
        arrays.read(Path(f"{path}:x"))


def test_damaged_bytes_within_are_found_by_their_checksum(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        target.writestr("x.npy", npy("(4, 6, 5)", bytes(range(120))))
    data = bytearray(path.read_bytes())
    data[data.index(bytes(range(50, 60)))] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        arrays.read(path)


def test_there_is_no_such_file(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        arrays.read(tmp_path / "x.npz")
    (tmp_path / "images-idx3-ubyte").mkdir()
    with pytest.raises(UsageError, match="not a regular file"):
        arrays.read(tmp_path / "images-idx3-ubyte")
