"""`denoise eval` of recordings: tables, JSON, CSV, sheets, thresholds; and of folders that hold both kinds."""

from __future__ import annotations

import csv
import importlib
import json

import numpy as np
import pytest
from conftest import scene, write_png
from PIL import Image
from test_evaluate_sounds import RATE, melody, spoiled, write

from denoise_cli.evaluate import sounds
from denoise_cli.metrics import speech

QUICK = ("--metrics", "si-sdr,seg-snr,lsd")


@pytest.fixture
def pair(tmp_path):
    """Folders of noisy and of clean recordings."""
    for name, seconds, std in (("a.wav", 1.0, 0.02), ("sub/b.wav", 1.5, 0.1)):
        write(tmp_path / "clean" / name, melody(seconds))
        write(tmp_path / "noisy" / name, spoiled(melody(seconds), std))
    return tmp_path / "noisy", tmp_path / "clean"


@pytest.fixture
def score(command):
    return lambda *arguments: command("eval", "--baseline", "noisy", *arguments)


def table(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_a_file_has_a_line_before_and_one_after(command, pair, monkeypatch):
    module = importlib.import_module("denoise_cli.cli.evaluate")  # by its name alone it is the command
    monkeypatch.setattr(module, "_denoiser", lambda *_: lambda noisy: noisy.data / 2)
    done = command("eval", *pair, "--metrics", "si-sdr,snr,lsd")
    assert (done.code, done.err) == (0, "")
    head, *rows = table(done.out)
    assert head == ["file", "signal", "SI-SDR dB", "SNR dB", "LSD dB", "RTF"]
    assert [row[:2] for row in rows] == [
        [name, signal] for name in ("a.wav", "sub/b.wav", "mean of 2") for signal in ("noisy", "denoised")
    ]
    for noisy, denoised in zip(rows[::2], rows[1::2], strict=True):
        assert float(denoised[2]) == pytest.approx(float(noisy[2]), abs=0.02)  # SI-SDR, up to rounding to 16 bits
        assert float(denoised[3]) < 6.1  # SNR: half of the signal is missing
        assert noisy[5] == "-"
        assert float(denoised[5]) < 0.1
    for column in (2, 3, 4):
        values = [float(row[column]) for row in rows]
        assert values[4] == pytest.approx((values[0] + values[2]) / 2, abs=0.011)


def test_a_baseline_has_one_line_a_file(score, pair):
    rows = table(score(*pair, *QUICK).out)[1:]
    assert [row[:2] for row in rows] == [[name, "noisy"] for name in ("a.wav", "sub/b.wav", "mean of 2")]
    assert float(rows[0][2]) - float(rows[1][2]) == pytest.approx(20 * np.log10(5), abs=1)


def test_json_and_csv_hold_the_same_rows(score, pair, tmp_path):
    done = score(*pair, *QUICK, "--json", "--csv", tmp_path / "rows.csv")
    document = json.loads(done.out)
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [{k: str(v) for k, v in row.items()} for row in document["rows"]] == rows
    first = document["rows"][0]
    assert (first["file"], first["kind"], first["samples"], first["rate"]) == ("a.wav", "audio", RATE, RATE)
    assert {"noisy_si_sdr", "si_sdr", "lsd", "seconds", "real_time_factor"} <= set(first)
    assert document["mean"][0]["kind"] == "audio"
    assert document["mean"][0]["si_sdr"] == pytest.approx(
        np.mean([row["si_sdr"] for row in document["rows"]]), abs=1e-4
    )


def test_a_sweep_gives_a_line_a_value(score, pair):
    head, *rows = table(score(pair[1], "--sweep", "std=0.01,0.1", *QUICK).out)
    assert head[:2] == ["noise", "signal"]
    assert [row[0] for row in rows] == ["std=0.01", "std=0.1"]
    assert float(rows[0][2]) - float(rows[1][2]) == pytest.approx(20, abs=0.5)


def test_a_mixed_folder_gives_two_tables_and_one_csv(score, pair, tmp_path):
    for folder in pair:
        write_png(folder / "z.png", scene(40, 40))
    done = score(*pair, *QUICK, "--csv", tmp_path / "rows.csv", "--sheet", tmp_path / "sheet.png")
    assert done.code == 0
    pictures, recordings = done.out.split("\n\n")
    assert table(pictures)[0] == ["file", "noisy dB", "noisy SSIM", "PSNR dB", "SSIM", "s/MP"]
    assert [row[0] for row in table(pictures)[1:]] == ["z.png", "mean of 1"]
    assert table(recordings)[-1][:2] == ["mean of 2", "noisy"]
    rows = {row["file"]: row for row in csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())}
    assert rows["z.png"]["si_sdr"] == rows["a.wav"]["psnr"] == ""
    assert rows["z.png"]["pixels"] == "1600"
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.height > 2 * 190 + 40


def test_the_sheet_shows_spectrograms(score, pair, tmp_path):
    assert score(*pair, *QUICK, "--sheet", tmp_path / "s.png").code == 0
    with Image.open(tmp_path / "s.png") as image:
        assert image.width > 3 * 380
        assert image.height > 2 * 190


def test_a_missed_threshold_exits_1(score, pair):
    assert score(*pair, *QUICK, "--fail-under", "si-sdr=3").code == 0
    done = score(*pair, *QUICK, "--fail-under", "si_sdr=25")
    assert (done.code, "si-sdr" in done.err, "is under 25" in done.err) == (1, True, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*QUICK, "--fail-under", "psnr=20"], "there are no pictures"),
        ([*QUICK, "--fail-under", "snr=20"], "not among the metrics"),
        (["--fail-under", "lsd=2"], "write psnr=28"),
        (["--metrics", "si-sdr,mos"], "choose from si-sdr"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(score, pair, arguments, said):
    done = score(*pair, *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err


def test_metrics_of_pictures_are_not_chosen(command, folder):
    done = command("eval", folder, "--noise", "gaussian", "--baseline", "noisy", *QUICK)
    assert (done.code, done.out) == (2, "")


def test_missing_packages_are_said_once_and_refused_by_name(score, pair, monkeypatch):
    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    done = score(*pair)
    assert done.code == 0
    assert done.err == (
        'denoise: left out: STOI, ESTOI, PESQ-WB, PESQ-NB; run: pip install "denoise-cli[speech]"\n'
    )
    assert "PESQ-WB" not in done.out
    done = score(*pair, "--metrics", "stoi")
    assert (done.code, done.out) == (3, "")
    assert 'pip install "denoise-cli[speech]"' in done.err


@pytest.mark.skipif(len(sounds.installed()) < 8, reason="needs pesq (which needs a compiler) and pystoi")
def test_all_metrics_are_in_the_table_and_what_pesq_refuses_is_said(score, pair):
    for folder in pair:
        write(folder / "short.wav", melody(0.2))
    done = score(*pair)
    assert done.code == 0
    assert "short.wav: no PESQ-WB, PESQ-NB: shorter than a quarter of a second" in done.err
    rows = table(done.out)
    assert len(rows[0]) == 11
    (short,) = (row for row in rows if row[:2] == ["short.wav", "noisy"])
    assert short[6:10] == ["-"] * 4
    assert all(len(row) == 11 for row in rows)


def test_pairs_that_do_not_match_are_named_and_the_others_are_scored(score, pair):
    write(pair[0] / "a.wav", melody(0.5))
    done = score(*pair, *QUICK)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "a.wav: noisy has 8000 samples" in done.err
    assert table(done.out)[-1][0] == "mean of 1"
