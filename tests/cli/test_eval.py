"""`denoise eval`: the table, its other forms, and the exit codes that a script relies on."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from conftest import ROOT, read_png, scene, write_png
from PIL import Image


@pytest.fixture
def score(command, model):
    return lambda *arguments: command("eval", *arguments, *([] if "--baseline" in arguments else ["-m", model]))


@pytest.fixture
def noisy(command, folder):
    assert command("corrupt", folder, "--std", 25).code == 0
    return folder.with_name("photos.noisy")


def table(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_what_cannot_be_done_is_refused_before_any_work(command, folder, tmp_path, model):
    (tmp_path / "file").write_text("")
    assert command("eval", folder, "--noise", "gaussian", "-m", model, "--baseline", "noisy").code == 2
    for option in ("--csv", "--sheet"):
        done = command(
            "eval", folder, "--noise", "gaussian", "--baseline", "noisy", option, tmp_path / "file/x.png"
        )
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)


def test_a_table_or_a_sheet_is_written_over_no_input(score, folder, noisy):
    before = (folder / "a.png").read_bytes(), (noisy / "sub/b.png").read_bytes()
    for arguments in (
        (folder / "a.png", "--noise", "gaussian", "--csv", folder / "a.png"),
        (noisy, folder, "--csv", noisy / "sub/b.png"),
        (noisy, folder, "--sheet", folder / "a.png"),
        (noisy, folder, "--sheet", folder / "new.png", "--csv", folder / "new.png"),
    ):
        done = score(*arguments)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert " is the " in done.err
    (folder / "a.csv").symlink_to("a.png")
    done = score(folder / "a.png", "--noise", "gaussian", "--csv", folder / "a.csv")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    (folder / "holiday.jpg").write_bytes(b"a photograph")
    done = score(folder / "a.png", "--noise", "gaussian", "--csv", folder / "holiday.jpg")
    assert (done.code, "is there already, and is no .csv" in done.err) == (2, True)
    assert (folder / "holiday.jpg").read_bytes() == b"a photograph"
    assert ((folder / "a.png").read_bytes(), (noisy / "sub/b.png").read_bytes()) == before
    assert not (folder / "new.png").exists()


def test_a_threshold_that_is_no_number_is_refused(score, folder, noisy):
    assert score(noisy, folder, "--fail-under", "psnr=nan").code == 2


def test_pairs_of_folders_give_a_line_a_file_and_the_mean(score, folder, noisy):
    done = score(noisy, folder)
    assert (done.code, done.err) == (0, "")
    head, *rows, mean = table(done.out)
    assert head == ["file", "noisy dB", "noisy SSIM", "PSNR dB", "SSIM", "s/MP"]
    assert [row[0] for row in rows] == ["a.png", "gray.png", "sub/b.png", "sub/deep/c.png"]
    assert mean[0] == "mean of 4"
    for column in range(1, 5):
        assert float(mean[column]) == pytest.approx(np.mean([float(row[column]) for row in rows]), abs=0.006)
    assert float(mean[1]) == pytest.approx(20.17, abs=0.5)  # 20 log10(255 / 25), and a little for the clipping


def test_two_files_are_scored_too(score, folder, noisy):
    _, row, mean = table(score(noisy / "a.png", folder / "a.png").out)
    assert row[1:] == mean[1:]
    assert row[0] == "a.png"


def test_the_noise_made_here_is_that_of_corrupt(score, folder, noisy):
    made = table(score(folder, "--noise", "gaussian:std=25", "--baseline", "noisy").out)
    read = table(score(noisy, folder, "--baseline", "noisy").out)
    assert [row[:5] for row in made] == [row[:5] for row in read]
    other = table(score(folder, "--noise", "gaussian:std=25", "--baseline", "noisy", "--seed", 1).out)
    assert [row[:5] for row in other] != [row[:5] for row in read]


def test_a_picture_called_a_recording_is_none(score, folder, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.wav").write_bytes((folder / "a.png").read_bytes())
    done = score(tmp_path / "in", "--noise", "gaussian:std=0.1", "--baseline", "noisy")
    assert done.code == 1
    assert "not a recording in a format that we read" in done.err


def test_a_sweep_names_a_file_that_it_cannot_score_once(score, folder, tmp_path):
    (folder / "bad.wav").write_bytes((ROOT / "samples/voice.wav").read_bytes())
    done = score(folder, "--sweep", "std=15,25,50")
    assert (done.code, done.err.count("bad.wav")) == (1, 1)


def test_the_baseline_scores_the_input_itself(score, folder, noisy):
    for row in table(score(noisy, folder, "--baseline", "noisy").out)[1:]:
        assert row[1:3] == row[3:5]


def test_json_and_csv_hold_the_same_rows(score, folder, noisy, tmp_path):
    done = score(noisy, folder, "--json", "--csv", tmp_path / "rows.csv")
    document = json.loads(done.out)
    assert (document["model"], document["files"], document["failed"]) == ("tiny", 4, 0)
    assert {row["model"] for row in document["rows"]} == {"tiny"}
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [{k: str(v) for k, v in row.items()} for row in document["rows"]] == rows
    assert document["mean"][0]["psnr"] == pytest.approx(
        np.mean([row["psnr"] for row in document["rows"]]), abs=1e-4
    )


def test_a_picture_without_an_ssim_has_a_dash_an_empty_cell_and_null(score, tmp_path):
    for name, side in (("big.png", 40), ("small.png", 8)):
        write_png(tmp_path / "in" / name, scene(side, side))
    line = (tmp_path / "in", "--noise", "gaussian:std=25", "--csv", tmp_path / "rows.csv")
    done = score(*line, "--sheet", tmp_path / "sheet.png")
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert "small.png: no SSIM" in done.err
    big, small, mean = table(done.out)[1:]
    assert (small[2], small[4], mean[2], mean[4]) == ("-", "-", big[2], big[4])
    assert float(mean[3]) == pytest.approx((float(big[3]) + float(small[3])) / 2, abs=0.011)
    cells = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))[1]
    assert (cells["ssim"], cells["noisy_ssim"], float(cells["psnr"]) > 5) == ("", "", True)
    document = json.loads(score(*line, "--json").out)
    assert (document["failed"], document["rows"][1]["ssim"]) == (0, None)
    assert document["mean"][0]["ssim"] == pytest.approx(document["rows"][0]["ssim"], abs=1e-5)
    alone = (tmp_path / "in" / "small.png", "--noise", "gaussian:std=25")
    assert json.loads(score(*alone, "--json").out)["mean"][0]["ssim"] is None
    done = score(*alone, "--fail-under", "ssim=0.1")
    assert (done.code, "no file has a ssim" in done.err) == (1, True)


def test_a_sweep_names_a_bad_file_once(score, folder):
    (folder / "bad.png").write_text("no picture\n")
    write_png(folder / "small.png", scene(8, 8))
    done = score(folder, "--sweep", "std=15,25,50", "--json")
    assert done.code == 1
    bad, small = sorted(done.err.splitlines(), key=lambda line: "small.png" in line)
    assert "bad.png" in bad
    assert "small.png: no SSIM" in small
    document = json.loads(done.out)
    assert (document["files"], document["failed"], len(document["rows"])) == (6, 1, 15)


def test_a_sweep_gives_a_line_a_value_and_less_noise_scores_better(score, folder):
    head, *rows = table(score(folder, "--sweep", "std=5,15,50").out)
    assert (head[0], [row[0] for row in rows]) == ("noise", ["std=5", "std=15", "std=50"])
    psnrs = [float(row[1]) for row in rows]
    assert psnrs == pytest.approx([34.2, 24.6, 14.5], abs=0.8)
    document = json.loads(score(folder, "--sweep", "std=5,15", "--json").out)
    assert [mean["noise"] for mean in document["mean"]] == ["std=5", "std=15"]
    assert len(document["rows"]) == 8


def test_the_sheet_shows_original_noisy_and_denoised(score, folder, noisy, tmp_path):
    assert score(noisy, folder, "--sheet", tmp_path / "new" / "s.png").code == 0
    with Image.open(tmp_path / "new" / "s.png") as image:
        assert image.format == "PNG"
        assert image.width > 2 * 91
        assert image.height > 4 * 33


@pytest.mark.parametrize(("threshold", "code"), [("psnr=15", 0), ("psnr=30", 1), ("ssim=0.01", 0), ("ssim=1", 1)])
def test_a_missed_threshold_exits_1(score, folder, noisy, threshold, code):
    done = score(noisy, folder, "--baseline", "noisy", "--fail-under", threshold)
    assert done.code == code
    assert ("is under" in done.err) == bool(code)
    assert done.out


@pytest.mark.parametrize(("thresholds", "code"), [(("psnr=15", "ssim=0.01"), 0), (("psnr=30", "ssim=0.01"), 1),
                                                  (("ssim=0.01", "psnr=30"), 1)])  # fmt: skip
def test_of_several_thresholds_each_one_holds(score, folder, noisy, thresholds, code):
    given = [word for text in thresholds for word in ("--fail-under", text)]
    assert score(noisy, folder, "--baseline", "noisy", *given).code == code


def test_a_threshold_holds_for_the_worst_value_of_a_sweep(score, folder):
    arguments = (folder, "--baseline", "noisy", "--sweep", "std=50,5", "--fail-under")
    assert score(*arguments, "psnr=14").code == 0
    assert score(*arguments, "psnr=20").code == 1


def test_strength_zero_scores_as_the_input(score, folder, noisy):
    for row in table(score(noisy, folder, "--strength", 0).out)[1:]:
        assert row[1:3] == row[3:5]


def test_a_file_that_cannot_be_scored_is_named_and_the_others_are_scored(score, folder, noisy):
    (noisy / "a.png").write_text("no picture\n")
    write_png(noisy / "gray.png", scene(20, 20, 1))
    done = score(noisy, folder)
    assert done.code == 1
    assert len(done.err.splitlines()) == 2
    assert str(noisy / "a.png") in done.err
    assert "gray.png: noisy is 20x20" in done.err
    assert table(done.out)[-1][0] == "mean of 2"


def test_nothing_that_can_be_scored_exits_1(score, folder):
    (folder / "bad.png").write_text("no picture\n")
    done = score(folder / "bad.png", folder / "bad.png")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1


def test_files_without_a_partner_are_refused_before_any_work(score, folder, noisy):
    write_png(noisy / "stray.png", scene(20, 20))
    done = score(noisy, folder)
    assert (done.code, done.out) == (2, "")
    assert str(noisy / "stray.png") in done.err


def test_a_missing_model_exits_3(command, folder):
    done = command("eval", folder, "--noise", "gaussian", "-m", "absent")
    assert (done.code, done.out) == (3, "")


def test_a_model_that_is_told_the_noise_level(command, folder, sigma_model, model):
    done = command("eval", folder, "--noise", "gaussian:std=25", "--std", 25, "-m", sigma_model)
    assert done.code == 0
    assert command("eval", folder, "--noise", "gaussian:std=25", "--std", 25, "-m", model).code == 2


def test_quiet_prints_no_table(score, folder, noisy):
    done = score(noisy, folder, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_evaluation_leaves_its_inputs_alone(score, folder, noisy):
    before = {path: read_png(path) for path in [*folder.rglob("*.png"), *noisy.rglob("*.png")]}
    score(noisy, folder)
    assert {*folder.rglob("*"), *noisy.rglob("*")} >= set(before)
    assert len([*folder.rglob("*.*"), *noisy.rglob("*.*")]) == len(before)
    assert all(np.array_equal(read_png(path), x) for path, x in before.items())
