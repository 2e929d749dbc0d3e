"""`train`, `run`, `corrupt` and `eval` on tables and series, as a user calls them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import denoise, scene, write_png

from denoise_cli.model_file import ModelFile
from denoise_cli.session import Session

HEADER = ["time", "temp [C]", "count", "flow"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def rows(n: int, seed: int) -> list[list[str]]:
    """flow = temp / 10, count = 100 + 5 temp, rounded; a label that nobody models."""
    rng = np.random.default_rng(seed)
    temp = 20 + 5 * rng.standard_normal(n)
    return [[f"day {i}", f"{t:.2f}", f"{100 + 5 * t:.0f}", f"{t / 10:.3f}"] for i, t in enumerate(temp)]


def write(path: Path, table: list[list[str]], header: list[str] = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *table])
    path.write_text(text.getvalue())
    return path


def read(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def with_holes(table: list[list[str]], every: int = 4) -> list[list[str]]:
    """One value of three missing in every so many rows, in turn."""
    return [
        [cell if i % every or j != 1 + i // every % 3 else "" for j, cell in enumerate(row)]
        for i, row in enumerate(table)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for tables, trained by the command itself."""
    from denoise_cli.cli import main

    folder = tmp_path_factory.mktemp("table")
    write(folder / "clean.csv", rows(600, 0))
    out = folder / "m.onnx"
    arguments = ["train", folder / "clean.csv", "--kind", "table", "-o", out, "--steps", 150, "--threads", 1, "-q",
                 "--net", "widths=32,16", "--net", "code=4", "--ema", 0.9, "--lr", 3e-3]  # fmt: skip
    assert main([str(argument) for argument in arguments]) == 0
    return out


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for series of two channels, hardly trained."""
    from denoise_cli.cli import main

    folder = tmp_path_factory.mktemp("series")
    time = np.arange(3000)
    np.save(folder / "clean.npy", np.stack([3 + np.sin(time / 9), 100 * np.cos(time / 7)]).astype(np.float32))
    out = folder / "s.onnx"
    arguments = ["train", folder / "clean.npy", "--kind", "series", "-o", out, "--steps", 5, "--threads", 1, "-q",
                 "--net", "width=4", "--net", "dilations=1,2", "--patch", 64]  # fmt: skip
    assert main([str(argument) for argument in arguments]) == 0
    return out


def test_the_card_says_what_the_columns_are(trained):
    card = Session(trained, "cpu").card
    assert (card.kind, card.channels, card.arch, card.noise) == ("table", 3, "dense", "masking:amount=0.1-0.5")
    assert card.columns == ("temp [C]", "count", "flow")
    assert card.mean == pytest.approx([20, 200, 2], rel=0.05)
    assert card.std == pytest.approx([5, 25, 0.5], rel=0.15)
    assert card.metrics["validation SNR"] > 3
    assert sorted(path.name for path in trained.parent.glob("m.*")) == ["m.ckpt", "m.curve.png", "m.onnx"]


def test_missing_values_are_filled_and_all_else_stays(command, trained, tmp_path):
    clean = rows(80, 1)
    holes = with_holes(clean)
    path = write(tmp_path / "holes.csv", holes)
    before = path.read_bytes()
    done = command("run", path, "-m", trained, "-v")
    assert (done.code, done.out) == (0, "")
    assert "20 missing values filled" in done.err
    assert path.read_bytes() == before
    header, *filled = read(tmp_path / "holes.denoised.csv")
    assert header == HEADER
    errors = []
    for row, hole, whole in zip(filled, holes, clean, strict=True):
        for j, (cell, was, true) in enumerate(zip(row, hole, whole, strict=True)):
            if was:
                assert cell == was, "a known value is written as it stood"
                continue
            decimals = {1: 2, 2: 0, 3: 3}[j]
            assert cell == f"{float(cell):.{decimals}f}", "and a filled one as the others of its column"
            errors.append((float(cell) - float(true)) / {1: 5, 2: 25, 3: 0.5}[j])
    assert len(errors) == 20
    assert np.sqrt(np.mean(np.square(errors))) < 0.5, "standard deviations; the mean of the column would give 1"


def test_what_is_replaced_follows_one_rule(command, trained, tmp_path):
    whole, holes = (
        write(tmp_path / "whole.csv", rows(30, 2)),
        write(tmp_path / "holes.csv", with_holes(rows(30, 2))),
    )
    assert command("run", whole, "-m", trained, "-o", tmp_path / "a.csv").code == 0
    assert read(tmp_path / "a.csv") != read(whole), "a table without holes is denoised"
    assert [row[0] for row in read(tmp_path / "a.csv")] == [row[0] for row in read(whole)]
    assert command("run", whole, "-m", trained, "--impute", "-o", tmp_path / "b.csv").code == 0
    assert (tmp_path / "b.csv").read_bytes() == whole.read_bytes()
    assert command("run", holes, "-m", trained, "--no-impute", "-o", tmp_path / "c.csv").code == 0
    changed = [a != b for x, y in zip(read(holes)[1:], read(tmp_path / "c.csv")[1:], strict=True)
               for a, b in zip(x[1:], y[1:], strict=True)]  # fmt: skip
    assert np.mean(changed) > 0.5
    assert command("run", whole, "-m", trained, "--strength", 0, "-o", tmp_path / "d.csv").code == 0
    assert (tmp_path / "d.csv").read_bytes() == whole.read_bytes()
    for threads in (1, 3):
        out = tmp_path / f"{threads}.csv"
        assert command("run", whole, "-m", trained, "--threads", threads, "-o", out).code == 0
        assert out.read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_other_columns_pass_and_missing_ones_are_named(command, trained, tmp_path):
    table = [["9", row[2], "x", row[3], row[1]] for row in with_holes(rows(12, 3))]
    path = write(tmp_path / "mixed.csv", table, ["id", "count", "label", "flow", "temp [C]"])
    assert command("run", path, "-m", trained).code == 0
    header, *filled = read(tmp_path / "mixed.denoised.csv")
    assert header == ["id", "count", "label", "flow", "temp [C]"]
    assert all(cell for row in filled for cell in row)
    assert all((row[0], row[2]) == ("9", "x") for row in filled)
    poor = write(tmp_path / "poor.csv", rows(3, 0), ["time", "temp [C]", "count", "current"])
    done = command("run", poor, "-m", trained)
    assert (done.code, done.err) == (1, f'denoise: {poor}: has no column "flow", which the model takes\n')


def test_a_folder_of_tables_is_mirrored_and_pictures_are_not_touched(command, trained, tmp_path):
    write(tmp_path / "in" / "a" / "x.csv", with_holes(rows(9, 4)))
    write(tmp_path / "in" / "y.tsv", with_holes(rows(9, 5)))
    write_png(tmp_path / "in" / "z.png", scene(20, 20))
    done = command("run", tmp_path / "in", "-m", trained)
    assert done.code == 0, done.err
    made = [
        path.relative_to(tmp_path / "in.denoised").as_posix() for path in (tmp_path / "in.denoised").rglob("*.*")
    ]
    assert sorted(made) == ["a/x.csv", "y.tsv"]


def test_without_a_model_for_tables_it_says_so(command, trained, model, tmp_path):
    path = write(tmp_path / "a.csv", rows(3, 0))
    done = command("run", path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no model for tables is shipped" in done.err
    done = command("run", path, "-m", model)
    assert (done.code, "is for pictures, not for tables" in done.err) == (1, True)
    picture = write_png(tmp_path / "x.png", scene(20, 20))
    done = command("run", picture, "-m", trained)
    assert (done.code, "is for tables, not for pictures" in done.err) == (1, True)
    assert command("run", path, "-m", trained, "--compare", tmp_path / "c").code == 2


def test_a_table_goes_through_a_pipe(trained, tmp_path):
    path = write(tmp_path / "holes.csv", with_holes(rows(9, 4)))
    done = denoise("run", "-", "-m", trained, stdin=path.read_bytes())
    assert done.returncode == 0, done.stderr
    lines = list(csv.reader(done.stdout.decode().splitlines()))
    assert len(lines) == 10
    assert all(cell for line in lines for cell in line)


def test_noise_never_takes_a_table_beyond_what_a_number_holds(command, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,3e38\n2,-3e38\n3,3e38\n")
    done = command("corrupt", tmp_path / "x.csv", "--noise", "gaussian:std=10")
    assert (done.code, "column 2 of numbers" in done.err, done.err.count("\n")) == (1, True, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_holes_are_made_and_scored(command, trained, tmp_path):
    clean = write(tmp_path / "clean.csv", rows(200, 6))
    assert command("corrupt", clean, "--noise", "masking:amount=0.2", "-o", tmp_path / "holes.csv").code == 0
    gone = sum(cell == "" for row in read(tmp_path / "holes.csv") for cell in row)
    assert 0.15 * 600 < gone < 0.25 * 600
    done = command("eval", tmp_path / "holes.csv", clean, "-m", trained, "--json")
    assert done.code == 0, done.err
    pair = json.loads(done.out)["rows"][0]
    assert (pair["rows"], pair["filled"], pair["kind"]) == (200, gone, "table")
    assert pair["noisy_rmse"] == pair["rmse"] == 0, "what is known was not touched"
    assert pair["holes"] < 0.6 < 0.8 < pair["holes_by_mean"] < 1.25
    assert pair["holes"] == pytest.approx(pair["rmse of temp [C]"], rel=0.7)
    here = json.loads(command("eval", clean, "--noise", "masking:amount=0.2", "-m", trained, "--json").out)["rows"][
        0
    ]
    assert here["filled"] == gone, "the same noise as that of corrupt"
    assert here["holes"] == pytest.approx(pair["holes"], rel=0.05), "which a file rounds"
    shown = command("eval", tmp_path / "holes.csv", clean, "-m", trained)
    assert "temp [C]\t" in shown.out
    assert command("eval", clean, "--noise", "gaussian:std=0.1", "-m", trained, "--fail-under", "snr=60").code == 1
    nobody = json.loads(command("eval", clean, "--noise", "masking", "--baseline", "noisy", "--json").out)["rows"][
        0
    ]
    assert nobody["holes"] == nobody["holes_by_mean"]


def test_a_series_of_any_length_keeps_its_type_and_shape(command, series, tmp_path):
    card = Session(series, "cpu").card
    assert (card.kind, card.channels, card.multiple, card.halo > 0) == ("series", 2, 4, True)
    for length in (1, 3, 777):
        x = np.ones((2, length))
        x[0, length // 2] = np.nan
        np.save(tmp_path / f"{length}.npy", x)
        assert command("run", tmp_path / f"{length}.npy", "-m", series).code == 0
        y = np.load(tmp_path / f"{length}.denoised.npy")
        assert (y.dtype, y.shape, bool(np.isfinite(y).all())) == (np.float64, (2, length), True)
        assert np.array_equal(y[~np.isnan(x)], x[~np.isnan(x)])
    np.save(tmp_path / "t.npy", np.ones((9, 2)))
    done = command("run", tmp_path / "t.npy", "-m", series)
    assert (done.code, "an array is channels x time" in done.err) == (1, True)
    assert (
        command("corrupt", tmp_path / "777.npy", "--kind", "series", "--std", "0.5", "-o", tmp_path / "n.npy").code
        == 0
    )
    done = command("eval", tmp_path / "777.denoised.npy", "--noise", "gaussian:std=0.5", "-m", series, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["rows"][0]["rows"] == 777


def test_a_blank_line_in_a_series_holds_its_place_and_stops_no_denoising(command, series, tmp_path):
    x = [f"{3 + np.sin(t / 9):.3f},{100 * np.cos(t / 7):.3f}" for t in range(40)]
    x[20] = x[21] = ""
    (tmp_path / "x.csv").write_text("a,b\n" + "\n".join(x) + "\n\n")
    done = command("run", tmp_path / "x.csv", "-m", series)
    assert done.code == 0
    assert "filled" not in done.out + done.err
    y = (tmp_path / "x.denoised.csv").read_text().split("\n")
    assert [n for n, line in enumerate(y) if not line] == [21, 22, 41, 42]
    assert y[0] == "a,b"
    assert all(before != after for before, after in zip(x, y[1:41], strict=True) if before)
    done = command("eval", tmp_path / "x.denoised.csv", tmp_path / "x.csv", "-m", series, "--json")
    (row,) = json.loads(done.out)["rows"]
    assert (done.code, row["rows"]) == (0, 40)
    assert row["rmse"] != row["noisy_rmse"], "denoised, as run does"


def test_what_is_left_blank_is_not_said_to_be_filled(command, series, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n" + "3,99\n" * 20 + "\n3,\n" + "3,99\n" * 20)
    done = command("run", tmp_path / "x.csv", "-m", series)
    assert done.code == 0
    assert "1 missing value filled" in done.out + done.err
    y = (tmp_path / "x.denoised.csv").read_text().split("\n")
    assert (y[21], y[22][:2]) == ("", "3,")
    assert y[22] != "3,"


@pytest.mark.parametrize("kind", ["table", "series"])
def test_a_column_that_float32_is_too_coarse_for_is_left_out_and_comes_back_as_it_was(command, tmp_path, kind):
    """As are times counted since 1970; a column that never varies is none."""
    rng = np.random.default_rng(0)
    for name, start in (("a", 1_700_000_000), ("b", 1_700_000_500)):
        lines = [f"{start + t},{rng.normal():.3f},2500000" for t in range(200)]
        (tmp_path / "in" / f"{name}.csv").parent.mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.csv").write_text("time,x,still\n" + "\n".join(lines) + "\n")
    train = ["train", tmp_path / "in", "--kind", kind, "--steps", 2, "--threads", 1, "-o"]
    done = command(*train, tmp_path / "m.onnx", "--val", tmp_path / "in" / "b.csv")
    assert done.code == 0, done.err
    assert 'column "time": varies by three millionths' in done.err
    assert ModelFile.read(tmp_path / "m.onnx").card.columns == ("x", "still")
    assert command("run", tmp_path / "in" / "a.csv", "-m", tmp_path / "m.onnx", "-o", tmp_path / "y.csv").code == 0
    before, after = ((tmp_path / path).read_text().splitlines() for path in ("in/a.csv", "y.csv"))
    assert [line.split(",")[0] for line in before] == [line.split(",")[0] for line in after]
    assert [line.split(",")[1] for line in before] != [line.split(",")[1] for line in after]

    x = np.stack([1.7e9 + 5 * np.arange(100), rng.normal(size=100)], axis=int(kind == "table"))
    np.save(tmp_path / "x.npy", x)
    train[1] = tmp_path / "x.npy"
    done = command(*train, tmp_path / "n.onnx")
    assert (done.code, "column 1: varies by" in done.err, "; leave it out" in done.err) == (0, True, True)
    assert ModelFile.read(tmp_path / "n.onnx").card.std[0] != 1

    for day in range(3):  # constant in each file
        lines = [f"{20240101 + day},{1000 + 1e-7 * t:.9f},{rng.normal():.3f}" for t in range(40)]
        (tmp_path / "days").mkdir(exist_ok=True)
        (tmp_path / "days" / f"{day}.csv").write_text("date,fine,x\n" + "\n".join(lines) + "\n")
    train[1] = tmp_path / "days"
    done = command(*train, tmp_path / "d.onnx")
    assert (done.code, 'column "date", "fine": varies by' in done.err) == (0, True)
    assert ModelFile.read(tmp_path / "d.onnx").card.columns == ("x",)

    (tmp_path / "t.csv").write_text("time\n" + "".join(f"{1_700_000_000 + t}\n" for t in range(200)))
    train[1] = tmp_path / "t.csv"
    done = command(*train, tmp_path / "t.onnx")
    assert (done.code, "; subtract the mean" in done.err, done.err.count("\n")) == (1, True, 1)


def test_a_model_of_tables_is_a_plain_onnx_file(trained):
    """Any runtime fills the holes: units and missing values are the graph's business."""
    import onnxruntime

    session = onnxruntime.InferenceSession(trained, providers=["CPUExecutionProvider"])
    x = np.array([[25, 225, np.nan], [np.nan, 175, 1.5]], np.float32)
    (y,) = session.run(None, {"x": x})
    assert y[0, 2] == pytest.approx(2.5, abs=0.3)
    assert y[1, 0] == pytest.approx(15, abs=3)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--loss", "bce"], 2, 'loss bce needs data in [0, 1]; column "temp [C]" holds'),
        (["--fgsm", "0.1"], 2, "--fgsm is for pictures and recordings"),
        (["--noise", "jpeg"], 2, "jpeg is for pictures, and this is a table"),
        (["--arch", "unet"], 2, "unet is not a net for table"),
        (["--loss", "log-mse"], 2, "--loss log-mse is not for tables"),
    ],
)
def test_what_does_not_go_with_tables_is_refused(command, tmp_path, arguments, code, said):
    path = write(tmp_path / "clean.csv", rows(30, 0))
    done = command("train", path, "--kind", "table", "-o", tmp_path / "m.onnx", "--steps", 1, *arguments)
    assert (done.code, said in done.err, done.err.count("\n")) == (code, True, 1), done.err


def test_without_pyarrow_it_says_what_to_install(command, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(20) + b"PAR1")
    done = command("run", tmp_path / "a.parquet", "-m", trained)
    assert (done.code, 'pip install "denoise-cli[tables]"' in done.err) == (3, True)


@pytest.mark.parametrize("spec", ["gaussian", "uniform:width=25"])
def test_the_strength_of_a_picture_is_no_strength_of_a_table(command, tmp_path, spec):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "".join(f"{n},{n * n}\n" for n in range(20)))
    done = command("corrupt", path, "--noise", spec)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "is beyond 10, standard deviations of a column; try 0.5" in done.err
    assert command("corrupt", path, "--noise", "gaussian:std=0.5").code == 0


def test_a_table_that_is_trained_on_like_pictures_is_told_how(command, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    done = command("train", tmp_path / "x.csv", "-o", tmp_path / "m.onnx", "--steps", 1)
    assert (done.code, done.err.count("\n"), "say --kind table" in done.err) == (2, 1, True)


def test_a_clock_comes_back_as_it_was_and_columns_can_be_chosen(command, tmp_path):
    path = tmp_path / "log.csv"
    rng = np.random.default_rng(0)
    path.write_text("id,when,x,y\n" + "".join(f"{i},{i * 60.5},{rng.normal():.3f},1\n" for i in range(40)))
    train = ["train", path, "--kind", "series", "--steps", 2, "--threads", 1, "--patch", 32, "--overwrite"]
    done = command(*train, "-o", tmp_path / "m.onnx")
    assert done.code == 0, done.err
    assert 'column "id", "when": never falls' in done.err
    assert command("run", path, "-m", tmp_path / "m.onnx", "-o", tmp_path / "y.csv").code == 0
    before, after = (
        [line.rsplit(",", 2) for line in p.read_text().splitlines()] for p in (path, tmp_path / "y.csv")
    )
    assert [line[0] for line in before] == [line[0] for line in after]
    assert [line[1] for line in before] != [line[1] for line in after]

    assert command(*train, "--column", "when", "--column", "x", "-o", tmp_path / "m.onnx").code == 0
    assert ModelFile.read(tmp_path / "m.onnx").card.columns == ("when", "x")
    done = command(*train, "--column", "z", "-o", tmp_path / "m.onnx")
    assert (done.code, 'no column "z"' in done.err) == (1, True), done.err
    done = command(*train, "--column", "x", "--column", "x", "-o", tmp_path / "m.onnx")
    assert (done.code, "--column x is given twice" in done.err) == (2, True), done.err
    done = command("train", tmp_path, "--column", "x", "--steps", 2, "-o", tmp_path / "n.onnx")
    assert (done.code, "--column goes with --kind table or series" in done.err) == (2, True), done.err
