"""Anomalies: the area under the curve against scikit-learn's, the threshold's promise, and what the card keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import scene, write_png
from model_files import build
from onnx import helper

from denoise_cli import denoise
from denoise_cli.card import ModelCard
from denoise_cli.errors import ModelError, UsageError
from denoise_cli.evaluate import anomaly
from denoise_cli.media.files import Job
from denoise_cli.metrics import ErrorMeter, exceeds, mse
from denoise_cli.model_file import ModelFile, with_card
from denoise_cli.session import Session


@pytest.fixture
def halving(tmp_path: Path) -> Path:
    """A model for gray pictures that gives back half of what it sees: bright pictures score high."""
    return build(
        tmp_path / "half.onnx",
        [helper.make_node("Mul", ["x", "half"], ["y"])],
        {"x": (onnx.TensorProto.FLOAT, ["N", 1, "H", "W"])},
        ["N", 1, "H", "W"],
        card=ModelCard("half", channels=1),
        constants={"half": np.float32([0.5])},
    )


def flat(path: Path, level: float) -> Path:
    return write_png(path, np.full((1, 8, 8), level, np.float32))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Dark pictures are normal and bright ones are not; one of each test kind lies among the other."""
    for n in range(20):
        flat(tmp_path / "normal" / f"{n:02}.png", (1 + n) / 51)
    for n, level in enumerate((3, 9, 15, 45)):
        flat(tmp_path / "test" / "normal" / f"{n}.png", level / 51)
    for n, level in enumerate((10, 40, 50)):
        flat(tmp_path / "test" / "bright" / f"{n}.png", level / 51)
    return tmp_path / "normal", tmp_path / "test"


# --- Numbers ----------------------------------------------------------------------------------------------


def by_pairs(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """The definition: every pair, equal ones count half."""
    return float(np.mean([(a > n) + 0.5 * (a == n) for a in anomalous for n in normal]))


def test_the_file_that_a_threshold_comes_from_is_not_above_it():
    score = 1.0012477772264788e-4
    assert not exceeds(score * (1 + 3e-14), score)  # the same errors, added up in other blocks
    assert exceeds(score * 1.0001, score)


@pytest.mark.parametrize("levels", [3, 10, 10**6])
def test_the_area_is_that_of_all_pairs_and_of_scikit_learn_ties_and_all(levels):
    rng = np.random.default_rng(levels)
    for n, m in ((1, 1), (7, 3), (40, 55)):
        normal = rng.integers(0, levels, n).astype(float)
        anomalous = rng.integers(0, levels, m) + levels / 7 // 1
        ours = anomaly.auc(normal, anomalous)
        assert ours == pytest.approx(by_pairs(normal, anomalous), abs=1e-12)
        sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
        labels = np.r_[np.zeros(n), np.ones(m)]
        assert ours == pytest.approx(sklearn.roc_auc_score(labels, np.r_[normal, anomalous]), abs=1e-12)


def test_the_area_of_what_is_known():
    assert anomaly.auc(np.array([1.0, 2]), np.array([3.0, 4])) == 1
    assert anomaly.auc(np.array([3.0, 4]), np.array([1.0, 2])) == 0
    assert anomaly.auc(np.array([5.0, 5]), np.array([5.0])) == 0.5
    with pytest.raises(ValueError, match="both kinds"):
        anomaly.auc(np.array([]), np.array([1.0]))


@pytest.mark.parametrize(("count", "rate"), [(99, 0.01), (19, 0.05), (50, 0.1), (30, 0.33)])
def test_a_new_normal_file_is_above_the_threshold_at_most_as_often_as_asked_for(count, rate):
    """Each of n + 1 scores in turn plays the new file: an average over all orders, exact, without chance."""
    scores = np.random.default_rng(count).permutation(count + 1).astype(float)
    alarms = [new > anomaly.threshold(np.delete(scores, index), rate) for index, new in enumerate(scores)]
    assert np.mean(alarms) <= rate
    assert np.mean(alarms) > rate - 1 / (count + 1) - 1e-12, "and hardly less often"


def test_too_few_normal_files_are_refused_with_how_many_it_takes():
    with pytest.raises(UsageError, match="takes at least 99 normal files, and there are 98"):
        anomaly.threshold(np.arange(98.0), 0.01)
    assert anomaly.threshold(np.arange(99.0), 0.01) == 98
    for rate in (0, 1, -0.5):
        with pytest.raises(UsageError, match="above 0 and below 1"):
            anomaly.threshold(np.arange(99.0), rate)


def test_the_meter_is_the_mean_squared_error_in_units_of_the_columns_without_what_is_missing():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 3, 10, 4), dtype=np.float32)
    meter = ErrorMeter()
    for part in (slice(0, 3), slice(3, 10)):
        meter.add(x[:, part], y[:, part])
    assert meter.mean() == pytest.approx(mse(x, y), rel=1e-5)

    scaled = ErrorMeter((1.0, 10.0, 100.0))
    scaled.add(x, y)
    weights = np.array([1, 10, 100.0]).reshape(3, 1, 1)
    assert scaled.mean() == pytest.approx(np.mean(((x - y) / weights) ** 2), rel=1e-5)

    x[1, 2, 3] = np.nan
    holed = ErrorMeter()
    holed.add(x, y)
    assert holed.mean() == pytest.approx(np.nanmean((x - y) ** 2), rel=1e-5)
    assert ErrorMeter().mean() == 0


# --- Files ------------------------------------------------------------------------------------------------


def test_the_score_of_a_file_is_the_mean_squared_difference_to_what_the_model_gives(halving, folders):
    session = Session(halving, "cpu")
    scored = list(anomaly.scores(folders[1], session, denoise.Options()))
    assert [(item.name, item.label) for item in scored][:4] == [(f"bright/{n}.png", "bright") for n in range(3)] + [
        ("normal/0.png", "normal")
    ]
    assert [item.score for item in scored[:3]] == pytest.approx([(level / 51 / 2) ** 2 for level in (10, 40, 50)])


def test_a_stack_is_scored_as_its_pictures_are(halving, tmp_path):
    x = (np.stack([scene(8, 8, 1, seed=n)[0] for n in range(5)]) * 255).round().astype(np.uint8)
    np.savez(tmp_path / "x.npz", normal=x[:2], other=x[2:], y=np.arange(5))
    for n, picture in enumerate(x):
        write_png(tmp_path / ("normal" if n < 2 else "other") / f"{n}.png", picture[None] / 255)
    session, options = Session(halving, "cpu"), denoise.Options()
    stacked = list(anomaly.scores(tmp_path / "x.npz", session, options))
    assert [item.label for item in stacked] == ["normal"] * 2 + ["other"] * 3
    for kind in ("normal", "other"):
        files = [item.score for item in anomaly.scores(tmp_path / kind, session, options)]
        assert files == pytest.approx([item.score for item in stacked if item.label == kind], rel=1e-6)


@pytest.mark.parametrize("impute", [None, True, False])
def test_known_values_of_a_table_with_holes_are_judged_too(tmp_path, impute):
    """A model that halves what it knows: it never gives 30 back, whether or not 30 is kept in the output."""
    model = build(
        tmp_path / "table.onnx",
        [
            helper.make_node("IsNaN", ["x"], ["gone"]),
            helper.make_node("Where", ["gone", "zero", "x"], ["known"]),
            helper.make_node("Mul", ["known", "half"], ["y"]),
        ],
        {"x": (onnx.TensorProto.FLOAT, ["N", 2])},
        ["N", 2],
        card=ModelCard("half", kind="table", channels=2, anomaly={"threshold": 100.0}),
        constants={"half": np.float32([0.5]), "zero": np.float32([0])},
    )
    (tmp_path / "x.csv").write_text("a,b\n10,20\n30,\n")
    session, score = Session(model, "cpu"), (5**2 + 10**2 + 15**2) / 3
    (scored,) = anomaly.scores(tmp_path / "x.csv", session, denoise.Options())
    assert scored.score == pytest.approx(score)
    job = Job(tmp_path / "x.csv", tmp_path / "y.csv", Path("x.csv"))
    (result,) = denoise.run([job], session, denoise.Options(flag=True, impute=impute))
    assert (result.error, result.anomaly, result.filled) == (None, True, 1)
    assert result.score == pytest.approx(score)
    known = "10,20\n30,0\n" if impute is not False else "5,10\n15,0\n"
    assert (tmp_path / "y.csv").read_text() == f"a,b\n{known}"


def test_the_card_is_all_that_storing_changes(halving):
    from dataclasses import replace

    file = ModelFile.read(halving)
    about = anomaly.stored(file.card, 0.25, 0.01, 99, 0.5)
    changed = ModelFile.parse(with_card(file, replace(file.card, anomaly=about)), halving)
    assert changed.card.anomaly["threshold"] == 0.25
    assert replace(changed.card, anomaly={}) == file.card
    before, after = (onnx.load_model_from_string(one.data) for one in (file, changed))
    del before.metadata_props[:], after.metadata_props[:]
    assert before == after


@pytest.mark.parametrize("limit", [-1.0, float("nan"), "high", None, True])
def test_a_card_with_an_impossible_threshold_is_refused(limit):
    with pytest.raises(ModelError, match="threshold for anomalies"):
        ModelCard("x", anomaly={"threshold": limit})
