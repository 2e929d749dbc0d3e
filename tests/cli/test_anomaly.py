"""`denoise eval --anomaly` finds the threshold and stores it; `run --flag-anomalies` marks what is above."""

from __future__ import annotations

import json

import pytest
from conftest import scene, write_png
from test_anomaly import flat, folders, halving

from denoise_cli.model_file import ModelFile

__all__ = ["folders", "halving"]  # fixtures


def test_found_stored_and_flagged(command, halving, folders, tmp_path):
    normal, test = folders
    done = command("eval", "--anomaly", normal, "--test", test, "-m", halving, "--false-alarm-rate", 0.05,
                   "--store", "--json", "--csv", tmp_path / "rows.csv")  # fmt: skip
    assert done.code == 0
    about = json.loads(done.out)
    limit = (20 / 51 / 2) ** 2  # the highest of twenty: 5 % of 21 is one
    assert about["threshold"] == pytest.approx(limit)
    assert about["auc"] == pytest.approx(9 / 12)  # of 10, 40, 50 against 3, 9, 15, 45
    assert (about["false_alarms"], about["detected"]) == (0.25, pytest.approx(2 / 3))
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + 20 + 7
    stored = ModelFile.read(halving).card.anomaly
    assert (stored["threshold"], stored["false_alarm_rate"]) == (about["threshold"], 0.05)

    out = tmp_path / "out"
    done = command("run", test, "-m", halving, "-o", out, "--flag-anomalies", "--report", tmp_path / "r.json")
    assert done.code == 0
    rows = json.loads((tmp_path / "r.json").read_text())["results"]
    flagged = {row["input"].removeprefix(f"{test}/"): row["anomaly"] for row in rows}
    assert flagged == {
        "bright/0.png": False, "bright/1.png": True, "bright/2.png": True,
        "normal/0.png": False, "normal/1.png": False, "normal/2.png": False, "normal/3.png": True,
    }  # fmt: skip
    scores = {row["file"]: row["score"] for row in about["rows"]}
    for row in rows:
        assert row["score"] == pytest.approx(scores[row["input"].removeprefix(f"{test}/")], rel=1e-5)
    assert f"{test / 'bright' / '2.png'}: anomalous, score 0.24" in done.err
    assert "3 anomalous" in done.err


def test_a_table_is_printed_where_no_json_is_asked_for(command, halving, folders):
    done = command("eval", "--anomaly", folders[0], "--test", folders[1], "-m", halving, "--false-alarm-rate", 0.05)
    printed = dict(line.split("\t") for line in done.out.splitlines())
    assert printed["ROC AUC"] == "0.75"
    assert printed["normal files"] == "20"
    assert not ModelFile.read(halving).card.anomaly


def test_what_cannot_be_read_is_named_and_the_others_go_on(command, halving, folders):
    (folders[0] / "bad.png").write_text("no picture\n")
    done = command("eval", "--anomaly", folders[0], "-m", halving, "--false-alarm-rate", 0.05)
    assert done.code == 1
    assert "bad.png" in done.err
    assert "threshold\t" in done.out


@pytest.mark.parametrize("normal", [True, False])
def test_where_no_file_can_be_read_each_is_named_and_it_exits_1(command, halving, folders, tmp_path, normal):
    before = halving.read_bytes()
    bad = sorted((folders[0] if normal else folders[1]).rglob("*.png"))
    for path in bad:
        path.write_text("no picture\n")
    done = command("eval", "--anomaly", folders[0], "--test", folders[1], "-m", halving, "--false-alarm-rate", 0.05,
                   "--store", "--csv", tmp_path / "rows.csv")  # fmt: skip
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == len(bad)
    assert all(path.name in line for path, line in zip(bad, sorted(done.err.splitlines()), strict=True))
    assert halving.read_bytes() == before
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize(("kind", "said"), [("normal", "no normal file"), ("bright", "no anomalous file")])
def test_where_the_files_of_one_kind_cannot_be_read_it_says_so_and_exits_1(command, halving, folders, kind, said):
    bad = list((folders[1] / kind).iterdir())
    for path in bad:
        path.write_text("no picture\n")
    done = command("eval", "--anomaly", folders[0], "--test", folders[1], "-m", halving, "--false-alarm-rate", 0.05)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", len(bad) + 1)
    assert f"{said} that can be read" in done.err


def test_without_a_threshold_nothing_can_be_flagged(command, halving, folders, tmp_path):
    done = command("run", folders[1], "-m", halving, "-o", tmp_path / "out", "--flag-anomalies")
    assert done.code == 3
    assert 'model "half" has no threshold for anomalies; denoise eval --anomaly --store gives it one' in done.err
    done = command("run", folders[1], "-m", halving, "-o", tmp_path / "out", "--flag-anomalies", "--strength", 0.5)
    assert (done.code, "leave --strength" in done.err) == (2, True)


def test_a_report_without_flags_has_empty_fields(command, halving, tmp_path):
    write_png(tmp_path / "x.png", scene(8, 8, 1))
    assert command("run", tmp_path / "x.png", "-m", halving, "--report", tmp_path / "r.json").code == 0
    (row,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert (row["score"], row["anomaly"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--anomaly", "normal"], "-m MODEL.onnx"),
        (["--anomaly", "normal", "-m", "half.onnx"], "takes at least 99 normal files, and there are 20"),
        (["--anomaly", "absent", "-m", "half.onnx"], "absent: no such file"),
        (["--anomaly", "normal", "-m", "half.onnx", "--sweep", "std=5"], "--anomaly goes with"),
        (["--anomaly", "normal", "-m", "image", "--store"], "copy it first"),
        (["--test", "normal"], "go with --anomaly"),
        ([], "--anomaly NORMAL"),
        (["--anomaly", "normal", "-m", "half.onnx", "--false-alarm-rate", "0.05", "--test", "normal"], "no normal"),
    ],
)
def test_wrong_usage_is_one_line(command, halving, folders, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    done = command("eval", *arguments)
    assert (done.code, done.out) == (2, "")
    assert named in done.err
    assert done.err.count("\n") == 1


def test_a_model_is_left_alone_where_nothing_comes_of_it(command, halving, folders):
    before = halving.read_bytes()
    flat(folders[1] / "x.png", 0.5)
    command(
        "eval", "--anomaly", folders[0], "--test", folders[0], "-m", halving, "--store", "--false-alarm-rate", 0.05
    )
    assert halving.read_bytes() == before


def test_an_impossible_rate_is_refused_before_a_file_is_read(command, halving, tmp_path):
    done = command("eval", "--anomaly", tmp_path / "none", "-m", halving, "--false-alarm-rate", 2)
    assert (done.code, "must be above 0 and below 1, not 2" in done.err) == (2, True)
