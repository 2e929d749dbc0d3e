"""`denoise run`: files, folders and pipes; what exists, what fails, what is reported."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pyvips
import soundfile
from conftest import ROOT, denoise, read_png, scene, write_png
from PIL import Image

from denoise_cli import pictures, shipped
from denoise_cli.corrupt import parse
from denoise_cli.errors import printable
from denoise_cli.media import image

TREE = ["a.png", "gray.png", "sub/b.png", "sub/deep/c.png"]


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def contents(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in tree(root)}


def write_deep_tiff(path: Path) -> Path:
    """A 16-bit RGB TIFF, compressed and with a resolution."""
    levels = (scene(60, 70).transpose(1, 2, 0) * 65535).round().astype(np.uint16)
    image = pyvips.Image.new_from_array(levels).copy(interpretation="rgb16", xres=11.8, yres=11.8)
    image.tiffsave(str(path), compression="deflate")
    return path


@pytest.fixture
def run(command, model):
    return lambda *arguments: command("run", *arguments, "-m", model)


# --- What is written --------------------------------------------------------------------------------------


def test_a_folder_is_mirrored_and_its_files_are_left_alone(run, folder):
    before = contents(folder)
    done = run(folder)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"denoise: 4 files, 0 failed -> {folder}.denoised/; ")
    assert done.err.count("\n") == 1
    target = folder.with_name("photos.denoised")
    assert tree(target) == TREE
    assert contents(folder) == before
    for name in TREE:
        x, y = read_png(folder / name), read_png(target / name)
        assert x.shape == y.shape
        assert not np.array_equal(x, y)


def test_a_file_is_written_beside_itself_and_the_same_every_time(run, folder):
    assert run(folder / "a.png").code == 0
    first = (folder / "a.denoised.png").read_bytes()
    assert run(folder / "a.png", "-o", folder.parent / "new" / "b.png", "--threads", 1).code == 0
    assert (folder.parent / "new" / "b.png").read_bytes() == first


def test_the_suffix_of_the_output_decides_its_format(run, folder):
    assert run(folder / "a.png", "-o", folder.parent / "a.tif").code == 0
    assert run(folder / "a.png", "-o", folder.parent / "a.png").code == 0
    with Image.open(folder.parent / "a.tif") as image:
        assert image.format == "TIFF"
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1), read_png(folder.parent / "a.png"))


def test_files_and_folders_go_into_one_output(run, folder, tmp_path):
    extra = write_png(tmp_path / "extra.png", scene(20, 20))
    assert run(folder / "sub", extra, "-o", tmp_path / "out").code == 0
    assert tree(tmp_path / "out") == ["b.png", "deep/c.png", "extra.png"]


def test_denoise_denoise_is_run(command, model, folder):
    assert command("run", folder / "a.png", "-m", model, "-o", folder / "1.png").code == 0
    assert command("denoise", folder / "a.png", "-m", model, "-o", folder / "2.png").code == 0
    assert (folder / "1.png").read_bytes() == (folder / "2.png").read_bytes()


def test_strength_zero_gives_the_pixels_back(run, folder):
    assert run(folder, "--strength", 0).code == 0
    for name in TREE:
        assert np.array_equal(read_png(folder / name), read_png(folder.with_name("photos.denoised") / name))


def test_an_ensemble_is_another_answer_and_stands_in_the_report(command, model, tmp_path):
    noisy = write_png(tmp_path / "a.png", scene(40, 48))
    done = command("run", noisy, "-m", model, "-o", tmp_path / "8.png", "--ensemble", 8, "--json")
    assert done.code == 0
    assert json.loads(done.out)["ensemble"] == 8
    assert command("run", noisy, "-m", model, "-o", tmp_path / "1.png").code == 0
    assert not np.array_equal(read_png(tmp_path / "1.png"), read_png(tmp_path / "8.png"))
    assert command("run", noisy, "-m", model, "-o", tmp_path / "3.png", "--ensemble", 5).code == 2


def test_a_pattern_that_the_shell_left_alone_is_expanded(run, folder, tmp_path):
    assert run(folder / "**" / "*.png", "-o", tmp_path / "out").code == 0
    assert tree(tmp_path / "out") == ["a.png", "b.png", "c.png", "gray.png"]
    assert run(folder / "nothing*.png").code == 1


def test_names_come_from_a_file(run, folder, tmp_path):
    (tmp_path / "names").write_text(f"{folder / 'a.png'}\r\n\n{folder / 'gray.png'}\n")
    assert run("--files-from", tmp_path / "names", "-o", tmp_path / "out").code == 0
    assert tree(tmp_path / "out") == ["a.png", "gray.png"]


def test_files_of_a_list_lie_as_they_do_below_the_folder_they_share(run, folder, tmp_path):
    nested = sorted(folder.rglob("*.png"))
    (tmp_path / "names").write_text("".join(f"{path}\n" for path in nested))
    (tmp_path / "other.png").write_bytes((folder / "a.png").read_bytes())
    assert run("--files-from", tmp_path / "names", tmp_path / "other.png", "-o", tmp_path / "out").code == 0
    made = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.png"))
    assert made == sorted([*(path.relative_to(folder) for path in nested), Path("other.png")])


def test_a_file_that_is_named_and_in_a_folder_that_is_named_is_done_once(run, folder, tmp_path):
    done = run(folder / "a.png", folder, "-o", tmp_path / "out")
    assert (done.code, "4 files, 0 failed" in done.err) == (0, True), done.err


def test_an_empty_output_is_refused(run, folder):
    done = run(folder / "a.png", "-o", "")
    assert (done.code, done.err) == (2, "denoise: -o is empty\n")


def test_black_and_white_has_no_noise_before_nor_after(run, tmp_path):
    dots = (np.random.default_rng(0).random((1, 64, 64)) > 0.5).astype(np.float32)
    source = write_png(tmp_path / "dots.png", dots)
    assert run(source, "--report", tmp_path / "r.json", "--strength", 0.02).code == 0
    (row,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert (row["noise_before"], row["noise_after"]) == (0, 0)


def test_names_come_from_a_pipe_be_they_utf_8_or_not(folder, tmp_path, model):
    odd = os.fsencode(folder) + b"/odd \xff\x0b.png"
    Path(os.fsdecode(odd)).write_bytes((folder / "a.png").read_bytes())
    done = denoise("run", "--files-from", "-", "-o", tmp_path / "out", "-m", model,
                   stdin=odd + b"\n" + os.fsencode(folder / "gray.png") + b"\n")  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"")
    names = [os.fsencode(path.name) for path in (tmp_path / "out").iterdir()]
    assert sorted(names) == [b"gray.png", b"odd \xff\x0b.png"]


# --- What is there already --------------------------------------------------------------------------------


def test_finished_files_of_a_folder_are_skipped(run, folder):
    run(folder)
    target = folder.with_name("photos.denoised")
    whole = contents(target)
    (target / "sub/b.png").unlink()
    (target / "a.png").write_bytes(b"mine")
    done = run(folder)
    assert done.code == 0
    assert done.err.startswith(f"denoise: 1 file, 0 failed, 3 skipped -> {folder}.denoised/; ")
    assert contents(target) == whole | {"a.png": b"mine"}
    done = run(folder)
    assert (done.code, done.err) == (
        0,
        "denoise: nothing to do: 4 files are finished already (--on-exists overwrite does them again)\n",
    )  # fmt: skip
    assert run(folder, "-q").err == ""


def test_an_output_that_a_named_file_would_overwrite_is_refused(run, folder):
    target = folder / "a.denoised.png"
    target.write_bytes(b"mine")
    done = run(folder / "a.png", folder / "gray.png")
    assert done.code == 2
    assert str(target) in done.err
    assert "--on-exists" in done.err
    assert (target.read_bytes(), (folder / "gray.denoised.png").exists()) == (b"mine", False)


@pytest.mark.parametrize(
    ("choice", "code", "replaced"), [("error", 2, False), ("skip", 0, False), ("overwrite", 0, True)]
)
@pytest.mark.parametrize("whole_folder", [False, True])
def test_on_exists_decides(run, folder, choice, code, replaced, whole_folder):
    target = folder.with_name("photos.denoised") / "a.png" if whole_folder else folder / "a.denoised.png"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(b"mine")
    assert run(folder if whole_folder else folder / "a.png", "--on-exists", choice).code == code
    assert (target.read_bytes() != b"mine") == replaced


def test_two_inputs_with_one_output_are_refused_before_any_work(run, folder, tmp_path):
    other = write_png(tmp_path / "other" / "a.png", scene(20, 20))
    done = run(folder / "a.png", other, "-o", tmp_path / "out")
    assert done.code == 2
    assert str(folder / "a.png") in done.err
    assert str(other) in done.err
    assert not (tmp_path / "out").exists()


def test_an_input_is_never_its_own_output(run, folder):
    before = contents(folder)
    assert run(folder / "a.png", "-o", folder / "a.png", "--on-exists", "overwrite").code == 2
    assert contents(folder) == before


def test_a_dry_run_refuses_what_the_run_would(command, folder):
    done = command("run", folder, "-n", "-m", "image", "--std", 25)
    assert (done.code, done.out, "is blind" in done.err) == (2, "", True)
    assert command("run", folder, "-n", "-m", "nonesuch").code == 3


def test_a_dry_run_says_what_it_would_do_and_does_nothing(run, folder):
    target = folder.with_name("photos.denoised")
    write_png(target / "a.png", scene(9, 9))
    done = run(folder, "--dry-run")
    assert done.code == 0
    assert sorted(done.out.splitlines()) == [
        f"skip\t{folder / 'a.png'}\t{target / 'a.png'}",
        *(f"write\t{folder / name}\t{target / name}" for name in TREE[1:]),
    ]
    assert tree(target) == ["a.png"]
    assert run(folder, "absent", "-n", "-o", folder.parent / "out").code == 1
    done = run(folder, "-n", "--json")
    assert (done.code, done.out) == (2, "")
    assert not (folder.parent / "out").exists()


# --- What fails -------------------------------------------------------------------------------------------


def test_one_bad_file_is_one_line_and_the_others_are_done(run, folder):
    (folder / "sub" / "bad.png").write_text("no picture\n")
    done = run(folder)
    assert done.code == 1
    bad, summary = done.err.splitlines()
    assert bad.startswith(f"denoise: {folder / 'sub' / 'bad.png'}: ")
    assert summary.startswith(f"denoise: 5 files, 1 failed -> {folder}.denoised/; ")
    assert tree(folder.with_name("photos.denoised")) == TREE


def test_bad_files_of_all_kinds_stop_nothing(run, folder):
    whole = (folder / "a.png").read_bytes()
    faults = {"empty.png": b"", "cut.png": whole[: len(whole) // 2], "head.png": whole[:40], "text.jpg": b"hello",
              "noise.tif": b"II*\0" + bytes(range(200)), "zip.webp": b"RIFF\xff\xff\xff\x7fWEBPVP8 "}  # fmt: skip
    for name, content in faults.items():
        (folder / name).write_bytes(content)
    done = run(folder)
    assert done.code == 1
    assert tree(folder.with_name("photos.denoised")) == TREE
    lines = done.err.splitlines()
    assert len(lines) == len(faults) + 1
    for name in faults:
        assert sum(line.startswith(f"denoise: {folder / name}: ") for line in lines) == 1


def test_a_missing_input_is_named_and_the_others_are_done(run, folder, tmp_path):
    done = run(folder / "a.png", tmp_path / "absent.png", "-o", tmp_path / "out")
    assert done.code == 1
    assert f"denoise: {tmp_path / 'absent.png'}: no such file or folder\n" in done.err
    assert tree(tmp_path / "out") == ["a.png"]
    done = run(tmp_path / "absent.png")
    assert done.code == 1
    assert done.err.count("\n") == 1


def test_an_empty_folder_is_no_error(run, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty")
    assert (done.code, done.err) == (0, "denoise: no pictures or recordings found\n")


def test_a_name_cannot_fake_a_line(run, folder):
    odd = folder / "x\ndenoise: all is well\x1b[31m.png"
    odd.write_text("no picture")
    done = run(folder)
    assert done.code == 1
    assert len(done.err.splitlines()) == 2


def test_a_model_that_is_not_there_exits_3_before_any_output(command, folder):
    done = command("run", folder, "-m", "absent")
    assert done.code == 3
    assert 'no model "absent"' in done.err
    text = folder / "text.onnx"
    text.write_text("no model")
    done = command("run", folder, "-m", text)
    assert (done.code, str(text) in done.err) == (3, True)
    assert not folder.with_name("photos.denoised").exists()


def test_a_device_that_is_not_there_exits_3_with_the_mend(run, folder, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    done = run(folder, "-d", "cuda")
    assert done.code == 3
    assert "pip install" in done.err
    assert run(folder, "-d", "tpu").code == 2


def test_a_blind_model_takes_no_std(run, command, folder, sigma_model):
    done = run(folder / "a.png", "--std", 25)
    assert (done.code, "blind" in done.err) == (2, True)
    assert command("run", folder / "a.png", "--std", 25, "-m", sigma_model).code == 0
    done = command("run", folder, "--std", 25)  # the models that ship are blind
    assert (done.code, "blind" in done.err) == (2, True)
    assert not folder.with_name("photos.denoised").exists()


def test_with_std_a_file_gets_a_model_that_may_be_told(
    command, folder, tmp_path, monkeypatch, sigma_model, gray_model
):
    for name, model in (("image", sigma_model), ("gray", gray_model)):
        shutil.copy(model, tmp_path / f"{name}.onnx")
    monkeypatch.setattr(shipped, "FOLDERS", (tmp_path,))
    done = command("run", folder, "--std", 25, "--report", tmp_path / "r.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "r.json").read_text())["model"] == "sigma"
    shutil.copy(ROOT / "models" / "speech.onnx", tmp_path)
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    soundfile.write(mixed / "voice.wav", np.zeros(1600), 16_000)
    done = command("run", mixed, "--std", 25)
    assert (done.code, '"speech" is blind' in done.err) == (2, True)
    assert not (tmp_path / "mixed.denoised").exists(), "refused before any work"
    done = command("run", folder / "gray.png", "--report", tmp_path / "s.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "s.json").read_text())["model"] == "gray"


def test_an_output_folder_that_is_a_file_is_refused(run, folder, tmp_path):
    (tmp_path / "file").write_text("")
    assert run(folder, "-o", tmp_path / "file").code == 2
    assert run(folder, "-o", tmp_path / "file" / "inside").code == 2


# --- What is reported -------------------------------------------------------------------------------------


def test_json_says_what_was_done(run, folder, tmp_path):
    (folder / "bad.png").write_text("no picture")
    done = run(folder, tmp_path / "absent", "--json", "-o", tmp_path / "out")
    document = json.loads(done.out)
    assert done.code == 1
    assert (document["files"], document["failed"], document["skipped"]) == (6, 2, 0)
    assert (document["model"], document["strength"]) == ("tiny", 1.0)
    rows = {Path(row["input"]).name: row for row in document["results"]}
    assert [name for name, row in rows.items() if row["status"] == "failed"] == ["bad.png", "absent"]
    assert rows["absent"]["error"] == "no such file or folder"
    assert rows["a.png"]["output"] == str(tmp_path / "out" / "a.png")
    assert rows["a.png"]["pixels"] == 70 * 91
    assert rows["a.png"]["noise_before"] > 0
    assert {"noise_after", "residual", "seconds"} <= set(rows["a.png"])


def test_json_of_a_run_with_nothing_to_do_is_json_too(run, folder):
    run(folder)
    document = json.loads(run(folder, "--json").out)
    assert (document["files"], document["skipped"]) == (0, 4)
    assert [row["status"] for row in document["results"]] == ["skipped"] * 4


def test_a_report_says_of_no_file_more_than_is_known(run, tmp_path, model):
    (tmp_path / "bad.wav").write_bytes(b"RIFF no recording")
    assert run(tmp_path / "bad.wav", "--report", tmp_path / "r.json").code == 1
    (row,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert (row["status"], row["kind"], row["pixels"]) == ("failed", None, None)
    out = write_png(tmp_path / "x.png", scene(20, 20))
    done = denoise("run", "-", "-o", out, "-m", model, "--on-exists", "skip", "--json", stdin=b"")
    assert json.loads(done.stdout)["results"][0]["input"] == "-"


def test_without_a_name_each_picture_gets_the_model_for_its_noise(command, tmp_path):
    (tmp_path / "in").mkdir()
    hills = read_png(ROOT / "docs/clean/hills.png")[:, :320, :400] / 255
    for name, channels, spec in (
        ("a", 3, "gaussian:std=15"),
        ("b", 3, "poisson:peak=30"),
        ("c", 1, "gaussian:std=15"),
    ):
        noisy = parse(spec)(hills[:channels], np.random.default_rng(0))
        write_png(tmp_path / "in" / f"{name}.png", noisy.clip(0, 1))
    done = command("run", tmp_path / "in", "--report", tmp_path / "r.json", "-v")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert [row["model"] for row in report["results"]] == ["image-white", "image", "gray-white"]
    assert report["model"] == "gray-white, image, image-white"
    assert ", by gray-white" in done.err
    scored = command("eval", tmp_path / "in", tmp_path / "in", "--json")
    document = json.loads(scored.out)
    assert document["model"] == report["model"]
    assert [row["model"] for row in document["rows"]] == ["image-white", "image", "gray-white"]


def test_reports_hold_the_noise_before_and_after(run, tmp_path):
    noisy = 0.5 + np.random.default_rng(0).normal(0, 20 / 255, (3, 128, 128)).astype(np.float32)
    write_png(tmp_path / "in" / "n.png", noisy)
    assert run(tmp_path / "in", "--report", tmp_path / "r.json", "--strength", 0).code == 0
    assert run(tmp_path / "in", "--report", tmp_path / "r.CSV", "-o", tmp_path / "2", "--strength", 0).code == 0
    (row,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert row["noise_before"] == row["noise_after"] == pytest.approx(20, rel=0.1)
    assert row["residual"] == 0
    assert row["model"]
    (line,) = csv.DictReader((tmp_path / "r.CSV").read_text().splitlines())
    assert float(line["noise_before"]) == row["noise_before"]
    assert list(line) == list(row)


def test_a_single_file_that_fails_is_one_line(run, tmp_path):
    (tmp_path / "bad.png").write_text("no picture\n")
    for name in ("bad.png", "absent.png"):
        done = run(tmp_path / name)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert name in done.err


def test_verbose_is_a_line_for_every_file_and_quiet_is_none(run, folder):
    done = run(folder, "-v")
    assert done.err.count(" MP in 0.") == 5
    assert done.err.count(", noise ") == 4
    assert run(folder, "-q", "--on-exists", "overwrite").err == ""


def test_compare_draws_before_and_after(run, folder, tmp_path):
    assert run(folder, "--compare", tmp_path / "sheets").code == 0
    assert tree(tmp_path / "sheets") == [f"{name}.compare.png" for name in TREE]
    with Image.open(tmp_path / "sheets" / "a.png.compare.png") as image:
        assert image.width > 91
        assert image.height >= 70


def test_the_quality_of_a_jpeg_is_chosen(run, tmp_path):
    picture = write_png(tmp_path / "x.png", scene(60, 80))
    sizes = []
    for quality in ([], ["--quality", 20], ["--quality", 95]):
        out = tmp_path / f"y{len(sizes)}.jpg"
        assert run(picture, "-o", out, *quality).code == 0
        sizes.append(out.stat().st_size)
    assert sizes[0] == sizes[2] > 1.5 * sizes[1]
    assert run(picture, "-o", tmp_path / "z.jpg", "--quality", 101).code == 2


def test_sheets_do_not_lie_among_the_pictures_of_a_folder(run, folder, tmp_path):
    before = tree(folder)
    done = run(folder, "--compare", (folder / TREE[-1]).parent / ".." / "..")
    assert (done.code, tree(folder)) == (2, before)
    assert "is an input: the next run would take its sheets for pictures" in done.err
    assert run(folder / "a.png", "-o", tmp_path / "y.png", "--compare", folder).code == 0


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_gray_picture_is_compared_with_itself_in_colour(run, tmp_path, suffix):
    picture = write_png(tmp_path / "x.png", scene(60, 80, 1))
    done = run(picture, "-o", tmp_path / f"y{suffix}", "--compare", tmp_path / "sheets")
    assert (done.code, tree(tmp_path / "sheets")) == (0, ["x.png.compare.png"])


def test_a_sheet_that_a_stopped_run_has_not_drawn_is_drawn_by_the_next(run, folder, tmp_path):
    sheets = tmp_path / "sheets"
    assert run(folder).code == 0
    assert run(folder, "--compare", sheets).code == 0
    assert tree(sheets) == [f"{name}.compare.png" for name in TREE]
    first = (sheets / "a.png.compare.png").read_bytes()
    (sheets / "a.png.compare.png").unlink()
    kept = sheets / f"{TREE[1]}.compare.png"
    kept.write_bytes(b"looked at")
    assert run(folder, "--compare", sheets).code == 0
    assert (sheets / "a.png.compare.png").read_bytes() == first
    assert kept.read_bytes() == b"looked at"


def test_sheets_inside_the_input_are_no_inputs(run, folder):
    for _ in range(2):
        assert run(folder, "--compare", folder / "sheets").code == 0
    assert tree(folder.with_name("photos.denoised")) == TREE
    assert len(tree(folder / "sheets")) == len(TREE)


def test_sheets_are_drawn_of_pictures_that_a_limit_was_raised_for(run, tmp_path, monkeypatch):
    picture, read, asked = write_png(tmp_path / "x.png", scene(40, 40)), image.read, []

    def noted(path, *, limits):
        asked.append(limits.pixels)
        return read(path, limits=limits)

    monkeypatch.setattr(image, "read", noted)
    done = run(picture, "-o", tmp_path / "y.png", "--max-pixels", 10**9, "--compare", tmp_path / "sheets")
    assert (done.code, asked) == (0, [10**9] * 2)


def test_pictures_that_would_be_compared_in_one_place_are_refused_before_any_work(run, folder, tmp_path):
    other = write_png(tmp_path / "other" / "a.png", scene(20, 20))
    done = run(folder, other.parent, "--compare", tmp_path / "sheets")
    assert done.code == 2
    assert "photos/a.png" in done.err
    assert str(other) in done.err
    assert not folder.with_name("photos.denoised").exists()


def test_a_picture_that_cannot_be_compared_is_named_and_the_report_still_written(
    run, folder, tmp_path, monkeypatch
):
    save = pictures.save

    def blocked(page, path):
        if path.name == "a.png.compare.png":
            path.mkdir()  # a folder that is there before the run begins is refused
        save(page, path)

    (tmp_path / "sheets").mkdir()
    monkeypatch.setattr(pictures, "save", blocked)
    done = run(folder, "--compare", tmp_path / "sheets", "--report", tmp_path / "r.json")
    assert done.code == 1
    assert done.err.startswith(f"denoise: {folder / 'a.png'}: denoised, but not compared: ")
    assert len(tree(folder.with_name("photos.denoised"))) == 4
    assert len(tree(tmp_path / "sheets")) == 3
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["files"], report["failed"]) == (4, 1)
    shutil.rmtree(tmp_path / "sheets")
    (tmp_path / "sheets").mkdir()
    done = run(folder, "--compare", tmp_path / "sheets", "--report", tmp_path / "r.json")
    assert done.code == 1, "the pictures are done, the sheets are not"
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["failed"], report["skipped"]) == (1, 3)
    assert [row["status"] for row in report["results"]] == ["failed", "skipped", "skipped", "skipped"]


@pytest.mark.parametrize("option", [("--report", "r.json"), ("--compare", "")])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(run, folder, tmp_path, option):
    (tmp_path / "file").write_text("")
    done = run(folder / "a.png", option[0], tmp_path / "file" / option[1])
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert not (folder / "a.denoised.png").exists()


def test_a_report_is_written_over_no_input_and_no_output(run, folder, tmp_path):
    rename = folder / "a.png"
    before = contents(folder)
    for report in (folder / "x.json", tmp_path / "x.csv"):
        report.write_bytes(rename.read_bytes())
    inside = run(folder, folder / "x.json", "-o", tmp_path / "out", "--report", folder / "x.json")
    assert (inside.code, "is the input" in inside.err) == (2, True)
    linked = tmp_path / "linked.json"
    linked.hardlink_to(rename)
    assert run(folder, "--report", linked).code == 2
    both = run(rename, "-o", tmp_path / "y.csv", "--report", tmp_path / "y.csv")
    assert (both.code, "is the output" in both.err) == (2, True)
    assert not (tmp_path / "y.csv").exists()
    assert {name: data for name, data in contents(folder).items() if name != "x.json"} == before


@pytest.mark.parametrize("name", ["o.txt", "o.TXT", "o.json", "o.onnx", "o.png.bak", "o.\x1b"])
@pytest.mark.parametrize("piped", [False, True])
def test_an_output_called_like_no_format_of_ours_is_refused(run, folder, tmp_path, name, piped):
    done = run("-" if piped else folder / "a.png", "-o", tmp_path / name)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f'unknown suffix "{printable(Path(name).suffix)}"; choose from ' in done.err
    assert ".png" in done.err
    assert (".wav" in done.err) == piped  # a pipe may hold either
    assert not (tmp_path / name).exists()


def test_an_output_may_be_called_like_its_input_in_any_case_or_have_no_suffix(run, folder, tmp_path):
    odd = folder / "a.DAT"
    odd.write_bytes((folder / "a.png").read_bytes())
    for name in ("o.dat", "o", ".hidden", "o.PNG"):
        assert run(odd, "-o", tmp_path / name).code == 0
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    assert run(folder / "a.png", "-o", tmp_path / "o.JPG").code == 0
    assert (tmp_path / "o.JPG").read_bytes()[:3] == b"\xff\xd8\xff"
    assert run(odd).code == 0
    (tmp_path / "new.txt").mkdir()
    assert run(folder / "a.png", "-o", tmp_path / "new.txt").code == 0
    assert run(folder / "a.png", "-o", f"{tmp_path / 'other.txt'}/").code == 0
    assert tree(tmp_path / "new.txt") == tree(tmp_path / "other.txt") == ["a.png"]


def test_a_picture_is_written_neither_as_a_recording_nor_as_a_table(run, folder, tmp_path):
    for name, said in (("o.wav", "as wav"), ("o.csv", "as .csv")):
        done = run(folder / "a.png", "-o", tmp_path / name)
        assert (done.code, f"a picture cannot be written {said}" in done.err, done.err.count("\n")) == (1, True, 1)
        assert not (tmp_path / name).exists()


def test_a_file_that_is_no_list_of_names_is_refused_in_one_line(run, folder, tmp_path, model):
    (tmp_path / "print0").write_bytes(bytes(folder / "a.png") + b"\0" + bytes(folder / "gray.png") + b"\0")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "x.gif")
    lists = {folder / "a.png": "format png", tmp_path / "x.gif": "format gif", tmp_path / "print0": "NUL",
             model: "NUL"}  # fmt: skip
    for path, said in lists.items():
        done = run("--files-from", path)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"--files-from {path}: " in done.err
        assert said in done.err


def test_a_list_may_begin_with_a_name_that_looks_like_a_picture_or_is_not_there(run, folder, tmp_path):
    (tmp_path / "names").write_text(f"BM.png\nP6 \n{folder / 'a.png'}\n")
    done = run("--files-from", tmp_path / "names", "-o", tmp_path / "out")
    assert (done.code, tree(tmp_path / "out")) == (1, ["a.png"])
    assert "BM.png: no such file" in done.err


def test_names_that_hold_nul_are_named_and_the_others_done(run, folder, tmp_path):
    (tmp_path / "names").write_bytes(b"\xef\xbb\xbf" + bytes(folder / "a.png") + b"\na\0/*\n")
    done = run("--files-from", tmp_path / "names", "-o", tmp_path / "out")
    assert (done.code, tree(tmp_path / "out")) == (1, ["a.png"])
    assert "a\\x00/*: " in done.err


@pytest.mark.parametrize(("option", "value"), [("--threads", 513), ("--tile", 63), ("--batch", 0)])
def test_a_number_beyond_reason_is_refused(run, folder, option, value):
    done = run(folder, option, value)
    assert (done.code, f"{option} must be in" in done.err) == (2, True)


def test_what_goes_to_a_pipe_cannot_be_compared(folder, tmp_path, model):
    done = denoise("run", folder / "a.png", "-o", "-", "--compare", tmp_path / "sheets", "-m", model)
    assert (done.returncode, done.stdout) == (2, b"")


def test_nothing_is_left_in_the_home_or_among_the_temporary_files(folder, tmp_path, model):
    """The runtime would leave an identifier and what it reports of its use there."""
    place = tmp_path / "empty"
    place.mkdir()
    env = {"HOME": str(place), "TMPDIR": str(place), "XDG_CACHE_HOME": str(place), "CI": ""}
    assert denoise("run", folder / "a.png", "-m", model, env=env).returncode == 0
    assert tree(place) == []


# --- Pipes ------------------------------------------------------------------------------------------------


def test_a_pipe_gives_the_bytes_of_the_file(run, folder, model):
    run(folder / "a.png")
    done = denoise("run", "-", "-m", model, stdin=(folder / "a.png").read_bytes())
    assert done.returncode == 0
    assert done.stdout == (folder / "a.denoised.png").read_bytes()
    assert b"\x1b" not in done.stderr


def test_a_pipe_keeps_sixteen_bits(run, tmp_path, model):
    source = write_deep_tiff(tmp_path / "deep.tif")
    assert run(source).code == 0
    written = (tmp_path / "deep.denoised.tif").read_bytes()
    done = denoise("run", "-", "-q", "-m", model, stdin=source.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == written
    image = pyvips.Image.new_from_buffer(written, "")
    assert image.format == "ushort"
    assert len(np.unique(image.numpy() & 255)) > 200  # levels between those of 8 bits


def test_a_file_goes_to_stdout_and_stdin_to_a_file(folder, tmp_path, model):
    data = (folder / "a.png").read_bytes()
    out = denoise("run", folder / "a.png", "-o", "-", "-m", model)
    assert denoise("run", "-", "-o", tmp_path / "y.png", "-m", model, stdin=data).stdout == b""
    assert out.stdout == (tmp_path / "y.png").read_bytes()


@pytest.mark.parametrize(
    ("stdin", "code", "named"),
    [(b"", 2, b"standard input is empty"), (b"no picture\n", 1, b"not a picture")],
)
def test_a_pipe_of_nothing_good_is_one_line(stdin, code, named, model):
    done = denoise("run", "-", "-q", "-m", model, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, b"")
    assert named in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_json_and_a_picture_do_not_share_stdout(folder, model):
    done = denoise("run", "-", "--json", "-m", model, stdin=(folder / "a.png").read_bytes())
    assert (done.returncode, done.stdout) == (2, b"")


def shell(line: str, folder: Path, model: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in `folder`, where $denoise is the command and $m the option that names the model."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "denoise": f"{sys.executable} -m denoise_cli", "m": f"-m {model}"}
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, timeout=120, check=False, env=env)


@pytest.mark.parametrize(
    "arguments",
    ["run a.png -o - $m", "run a.png -n", "run a.png --json -q $m", "corrupt a.png --std 5 -o -", "--version",
     "run --help", "eval a.png a.png --baseline noisy"],
)  # fmt: skip
def test_a_closed_pipe_ends_quietly(arguments, folder, model):
    done = shell(f"(sleep 0.5; $denoise {arguments}; echo rc $? >&2) | true", folder, model)
    assert done.stderr == b"rc 141\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("run - $m <&-", 2), ("run a.png -o - $m >&-", 2), ("run a.png --json $m >&-", 2), ("run a.png $m >&-", 0),
     ("run absent.png $m 2>&-", 1)],
)  # fmt: skip
def test_a_closed_stream_is_no_crash(arguments, code, folder, model):
    done = shell(f"$denoise {arguments}", folder, model)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"denoise: ") or "2>" in arguments


# --- Interrupted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [(signal.SIGINT, 130, "denoise: interrupted\n"), (signal.SIGTERM, 143, "denoise: terminated\n"),
     (signal.SIGKILL, -9, "")],
)  # fmt: skip
def test_an_interrupted_run_goes_on_where_it_was(run, tmp_path, model, sent, code, said):
    for n in range(40):
        write_png(tmp_path / "in" / f"{n}.png", scene(200, 300, seed=n))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "denoise_cli", "run", tmp_path / "in", "-o", out, "-m", model, "--threads", "1"],
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    give_up = time.monotonic() + 60
    while not list(out.glob("*.png")) and time.monotonic() < give_up:
        time.sleep(0.01)
    process.send_signal(sent)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err.decode()) == (code, said)
    assert 0 < len(list(out.glob("[0-9]*.png"))) < 40
    if sent != signal.SIGKILL:
        assert not list(out.glob(".*"))
    assert run(tmp_path / "in", "-o", out).code == 0
    assert run(tmp_path / "in", "-o", tmp_path / "clean").code == 0
    assert contents(out) == contents(tmp_path / "clean")
