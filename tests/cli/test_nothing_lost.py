"""Whatever a command reads, model, mask, list or noise as much as its inputs, it writes nothing over it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import scene, write_png

from denoise_cli import shipped
from denoise_cli.model_file import ModelFile


@pytest.fixture
def place(tmp_path: Path, model: Path, gray_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with pictures, a stack, a recording, a list of names, a mask and models."""
    for name in ("clean/0.png", "clean/z.sheet.png", "clean/z.curve.png", "test/normal/1.png", "test/odd/2.png"):
        write_png(tmp_path / name, scene(40, 48))
    write_png(tmp_path / "mask.png", np.zeros((1, 40, 48), np.float32))
    shutil.copy(model, tmp_path / "m.onnx")
    shutil.copy(gray_model, tmp_path / "gray.onnx")
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 24, 24), np.uint8))
    soundfile.write(tmp_path / "n.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 16_000)
    shutil.copy(tmp_path / "n.wav", tmp_path / "x.wav")
    (tmp_path / "names.csv").write_text("clean/0.png\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ANOMALY = "eval --anomaly clean --test test -m m.onnx --false-alarm-rate 0.5"
OVER = "--on-exists overwrite"


@pytest.mark.parametrize(
    "line",
    [
        f"{ANOMALY} --csv clean/0.png",
        f"{ANOMALY} --csv test/odd/2.png",
        f"{ANOMALY} --csv m.onnx",
        f"{ANOMALY} --csv m.onnx --store",
        "eval a.npz:x --noise gaussian:std=25 -m gray.onnx --csv a.npz",
        f"run clean/0.png -m m.onnx -o m.onnx {OVER}",
        f"run clean/0.png -m m.onnx --mask mask.png -o mask.png {OVER}",
        "run --files-from names.csv -m m.onnx -o out --report names.csv",
        f"run --files-from names.csv -m m.onnx -o names.csv {OVER}",
        f"corrupt x.wav --noise-file n.wav --snr 3 -o n.wav {OVER}",
        "train clean -o clean/z.onnx --arch conv-dae --steps 1 --patch 16 --batch-size 1 --overwrite",
    ],
)
def test_what_is_read_is_not_written_over(command, place, line):
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    done = command(*line.split())
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is the input" in done.err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("line", ["run clean/0.png -m m -o {}", "eval clean --noise gaussian -m m --csv {}"])
def test_a_shipped_models_name_is_free_and_its_files_are_not(command, place, monkeypatch, line):
    (place / "shipped").mkdir()
    monkeypatch.setattr(shipped, "FOLDERS", (place / "shipped",))
    for name in ("m.onnx", "m.int8.onnx"):
        shutil.copy("m.onnx", place / "shipped" / name)
        (place / f"link to {name}").symlink_to(place / "shipped" / name)
    over = OVER.split() if line.startswith("run") else []
    for target in ("shipped/m.onnx", "shipped/m.int8.onnx", "link to m.onnx", "link to m.int8.onnx"):
        done = command(*(target if word == "{}" else word for word in line.split()), *over)
        assert (done.code, "is the input" in done.err) == (2, True)
        assert ModelFile.read(place / target).card.name == "tiny"
    assert command(*line.format("m").split()).code == 0
    assert (place / "m").stat().st_size > 0
    (place / "m.onnx").rename(place / "m")  # now that is what is read
    done = command(*line.format("m").split(), *over)
    assert (done.code, "is the input" in done.err) == (2, True)


@pytest.mark.parametrize(
    "line",
    [
        "quantise m.onnx clean -o {} --overwrite",
        "eval clean --noise gaussian:std=25 -m m.onnx --csv {}",
        "run clean -m m.onnx -o out --report {}.json",
    ],
)
@pytest.mark.parametrize(("make", "said"), [(os.mkdir, "is a folder"), (os.mkfifo, "not a regular file")])
def test_a_folder_or_a_pipe_in_the_place_of_an_output_is_refused_before_any_work(command, place, line, make, said):
    line = line.format("d.onnx")
    make(line.split()[-1] if line.endswith(".json") else "d.onnx")
    done = command(*line.split())
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err
    assert not (place / "out").exists()


def test_a_report_of_a_run_with_nothing_left_to_do_still_names_every_file(command, place):
    for _ in range(2):
        assert command("run", "clean", "-m", "m.onnx", "-o", "out", "--report", "r.json", "--quiet").code == 0
    document = json.loads((place / "r.json").read_text())
    assert (document["files"], document["skipped"]) == (0, 3)
    assert {(row["input"], row["status"]) for row in document["results"]} == {
        (f"clean/{name}", "skipped") for name in ("0.png", "z.sheet.png", "z.curve.png")
    }


@pytest.mark.parametrize("option", ["--precision int8", "--tile 64", "--metrics snr", "--ensemble 2"])
def test_anomalies_refuse_what_would_have_no_effect(command, place, option):
    done = command(*f"{ANOMALY} {option}".split())
    assert (done.code, "leave --metrics, --tile, --ensemble and --precision out" in done.err) == (2, True)


def test_a_table_has_no_full_scale(command, place):
    (place / "t.csv").write_text("a\n1\n2\n")
    done = command("corrupt", "t.csv", "--kind", "table", "--std", "0.5fs")
    assert (done.code, "no full scale" in done.err) == (2, True)


def test_a_table_of_scores_goes_to_a_file(command, place):
    done = command("eval", "clean", "--noise", "gaussian:std=25", "-m", "m.onnx", "--csv", "-")
    assert (done.code, "--json" in done.err) == (2, True)
    assert not (place / "-").exists()
