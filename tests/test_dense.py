"""Dense and convolutional nets for tables and series, their export, their training on data with holes."""

from __future__ import annotations

import csv
import dataclasses
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from denoise_cli import nets, tabular
from denoise_cli.card import ModelCard
from denoise_cli.corrupt import parse
from denoise_cli.errors import InputError, ModelError, TrainingError, UsageError
from denoise_cli.media import table
from denoise_cli.media.course import Course
from denoise_cli.session import Session
from denoise_cli.signal import Header
from denoise_cli.train import loop
from denoise_cli.train import tables as train_tables
from denoise_cli.train.export import export
from denoise_cli.train.tables import Samples, Scale, Tables
from denoise_cli.workers import Options, Workers

pytestmark = pytest.mark.usefixtures("one_thread")


def options(**given) -> loop.Options:
    return loop.Options(**{"arch": "dense", "noise": "masking:amount=0.3", "loss": "mse", "steps": 1} | given)


def sheet(path: Path, x: np.ndarray, names: str = "abcdefgh") -> Path:
    with path.open("w") as file:
        csv.writer(file).writerows([names[: x.shape[1]], *[["" if np.isnan(v) else v for v in row] for row in x]])
    return path


@pytest.fixture(scope="module")
def series_model(tmp_path_factory) -> Path:
    """An untrained net for two channels, of a short reach."""
    path = tmp_path_factory.mktemp("models") / "series.onnx"
    torch.manual_seed(0)
    net = nets.build("series", {"channels": 2, "width": 6, "dilations": (1, 2)})
    net.standardise([5.0, -3.0], [2.0, 0.1])
    export(net, ModelCard("s", kind="series", channels=2, multiple=4, mean=(5.0, -3.0), std=(2.0, 0.1)), path)
    return path


def test_the_layers_are_those_of_the_text():
    net = nets.build("dense", {"features": 5, "widths": (16, 8), "code": 3})
    sizes = [getattr(net, f"fc{n}").weight.shape for n in range(1, 7)]
    assert sizes == [(16, 10), (8, 16), (3, 8), (8, 3), (16, 8), (5, 16)]
    with pytest.raises(UsageError, match="widths are two numbers"):
        nets.build("dense", {"widths": (1, 2, 3)})


@pytest.mark.parametrize(("arch", "shape"), [("dense", (7, 3)), ("series", (2, 3, 8))])
def test_units_are_outside_and_standard_deviations_inside(arch, shape):
    torch.manual_seed(0)
    size = "features" if arch == "dense" else "channels"
    net, plain = (nets.build(arch, {size: 3}) for _ in range(2))
    plain.load_state_dict(net.state_dict())
    net.standardise([10.0, -1e3, 0.0], [2.0, 1e2, 1e-3])
    z = torch.randn(shape)
    z[0, 0] = torch.nan
    mean, std = (t.reshape(-1, *[1] * (len(shape) - 2)) for t in (net.mean, net.std))
    y = ((net(z * std + mean) - mean) / std).detach()
    assert torch.isfinite(y).all(), "what is missing comes back as a number"
    assert y.numpy() == pytest.approx(plain(z).detach().numpy(), abs=1e-4)
    assert "mean" not in net.state_dict(), "it is the data's, not the weights'"


def test_what_lies_far_off_overflows_nothing():
    net = nets.build("dense", {"features": 2})
    net.standardise([0.0, 0.0], [1e-30, 1.0])
    assert torch.isfinite(net(torch.tensor([[3e38, -3e38]]))).all()


def test_a_model_for_series_gives_the_same_in_pieces_as_at_once(series_model, monkeypatch):
    session = Session(series_model, "cpu")
    card = session.card
    assert (card.kind, card.multiple) == ("series", 4)
    rng = np.random.default_rng(0)
    x = (np.array([[5.0], [-3.0]]) + rng.standard_normal((2, 403)) * [[2], [0.1]]).astype(np.float32)
    x[:, 100:120] = np.nan
    whole = session(np.pad(x, ((0, 0), (0, 1)), constant_values=np.nan)[None])[0][:, :403]
    monkeypatch.setattr(tabular, "CORE", 100)
    workers = Workers(session, Options(threads=1))
    try:
        blocks = [x[:, s : s + 57, None] for s in range(0, 403, 57)]
        pieces = tabular.rows(blocks, Header("series", 2, 403), workers, Options(), impute=False)
        y = np.concatenate([y for _, y in pieces], axis=1)[:, :, 0]
        assert np.abs((y - whole) / [[2], [0.1]]).max() < 1e-5
        filled = tabular.rows(blocks, Header("series", 2, 403), workers, Options(), impute=True)
        z = np.concatenate([y for _, y in filled], axis=1)[:, :, 0]
        half = tabular.rows(blocks, Header("series", 2, 403), workers, Options(strength=0.5), impute=False)
        h = np.concatenate([y for _, y in half], axis=1)[:, :, 0]
    finally:
        workers.stop()
    known = ~np.isnan(x)
    assert np.array_equal(z[known], x[known]), "what is known stays, to the bit"
    assert np.array_equal(z[~known], y[~known])
    assert h[known] == pytest.approx((x[known] + y[known]) / 2, abs=1e-5)
    assert np.array_equal(h[~known], y[~known]), "half of nothing is nothing"


def test_the_reach_of_the_series_net_is_its_halo_and_hardly_less():
    net = nets.build("series", {"channels": 1, "width": 4, "dilations": (1, 2)})
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0 if p.ndim > 1 else 0.0)
    x = torch.zeros(1, 1, 400)
    changed = []
    for at in range(200, 204):  # every phase of the grid
        y = x.clone()
        y[..., at] = 1
        where = (net(y) != net(x)).flatten().nonzero().flatten()
        changed += [at - int(where.min()), int(where.max()) - at]
    assert net.halo - 2 * net.multiple <= max(changed) <= net.halo


def test_cards_of_tables_are_checked():
    card = ModelCard("t", kind="table", channels=2, columns=("a", "b [m]"), mean=(0.0, 1.0), std=(1.0, 2.0))
    assert ModelCard.from_json(card.to_json()) == card
    layout = card.layout
    assert layout is not None
    assert (layout.kind, layout.columns, layout.count) == ("table", ("a", "b [m]"), 2)
    assert ModelCard("x").layout is None
    ModelCard("t", kind="table", channels=4096)
    for change, said in [
        ({"mean": (0.0,)}, "mean has 1 entries"),
        ({"mean": (0.0, float("nan"))}, "finite"),
        ({"mean": (0.0, "1")}, "finite"),
        ({"std": (1.0, 0.0)}, "above 0"),
        ({"std": "ab"}, "not a list"),
        ({"columns": ("a", "b\n")}, "one line"),
        ({"columns": ("a",)}, "1 entries"),
        ({"kind": "image"}, "is for tables"),
    ]:
        values = {"kind": "table", "channels": 2, "columns": ("a", "b"), "mean": (0.0, 1.0), "std": (1.0, 2.0)}
        with pytest.raises(ModelError, match=said):
            ModelCard("t", **(values | change))


def test_mean_and_deviation_are_those_of_the_known_values():
    rng = np.random.default_rng(0)
    x = (1e5 + 3 * rng.standard_normal((2, 500))).astype(np.float32)
    x[0, ::3] = np.nan
    x[1] = 7
    scale = Scale.of([x[:, :200], x[:, 200:]])
    assert scale.mean == pytest.approx([np.nanmean(x[0].astype(float)), 7])
    assert scale.std == pytest.approx([np.nanstd(x[0].astype(float)), 1])


def test_what_is_missing_counts_nothing_in_the_loss():
    clean = np.array([[0.0, 2.0, np.nan], [1.0, np.nan, np.nan]], np.float32).T
    scale = Scale(np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    stream = Samples([clean.T], scale, parse("masking:amount=1"), options(batch_size=3), "table")
    noisy, target, _ = stream.pair(scale.inwards(clean.T).T, torch.device("cpu"), torch.Generator())
    assert torch.isnan(noisy).all()
    assert np.array_equal(target.numpy(), clean, equal_nan=True)
    output = torch.zeros(3, 2, requires_grad=True)
    loss = stream.judged(torch.nn.functional.mse_loss)(output, target)
    # Known are 0, 2 and 1; in standard deviations the errors are 0 / 2, 2 / 2 and 1 / 1.
    assert loss.item() == pytest.approx((0 + 1 + 1) / 3)
    loss.backward()
    assert torch.isfinite(output.grad).all()
    nothing = stream.judged(torch.nn.functional.mse_loss)(output, torch.full((3, 2), torch.nan))
    assert nothing.item() == 0


def test_a_batch_depends_on_seed_and_step_alone_and_short_series_end_in_a_gap():
    data = [np.arange(8, dtype=np.float32)[None], np.arange(100, dtype=np.float32)[None]]
    scale = Scale(np.zeros(1), np.ones(1))

    def make(seed: int) -> Samples:
        settings = options(batch_size=64, patch=16, seed=seed)
        return Samples(data, scale, parse("gaussian"), settings, "series")

    batch = make(0).batch(3)
    assert np.array_equal(batch, make(0).batch(3), equal_nan=True)
    assert not np.array_equal(batch, make(1).batch(3), equal_nan=True)
    assert batch.shape == (64, 1, 16)
    short = np.isnan(batch[:, 0, 8:]).all(1)
    assert 0 < short.sum() < 20, "a file of 8 among 108 samples"
    assert np.isfinite(batch[:, 0, :8]).all()


def test_rows_are_held_out_and_those_of_which_nothing_is_known_are_left_out(tmp_path):
    x = np.random.default_rng(0).standard_normal((200, 3))
    x[:10] = np.nan
    task = Tables(sheet(tmp_path / "a.csv", x), options())
    assert task.data[0].shape == (3, 171)
    assert task.held[0].shape == (3, 19)
    assert (task.count, task.names) == (171, ("a", "b", "c"))
    assert task.options.net["features"] == 3
    everything = np.concatenate([task.data[0], task.held[0]], axis=1)
    assert sorted(everything[0]) == sorted(x[10:, 0].astype(np.float32)), "no row is in both"


def test_of_a_series_the_end_is_held_out(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(2000.0).reshape(2, 1000))
    task = Tables(tmp_path / "a.npy", options(arch="series", patch=64), kind="series")
    assert (task.data[0].shape, task.held[0].shape) == ((2, 900), (2, 100))
    assert task.held[0][0, 0] == 900
    assert task.options.net["channels"] == 2


def test_a_file_with_other_columns_is_left_out_and_named(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    x = np.random.default_rng(0).standard_normal((30, 2))
    sheet(folder / "a.csv", x)
    sheet(folder / "b.csv", x, "xy")
    sheet(folder / "c.csv", x[:, ::-1], "ba")
    task = Tables(folder, options())
    said: list[str] = []
    task.load(nets.build("dense", task.options.net), torch.device("cpu"), said.append)
    assert any("b.csv" in line and 'no column "a"' in line for line in said)
    assert np.array_equal(*(np.sort(np.concatenate([task.data[n], task.held[n]], 1), axis=1) for n in (0, 1)))


@pytest.mark.parametrize(("kind", "arch"), [("table", "dense"), ("series", "series")])
def test_many_rows_are_validated_in_pieces_and_the_score_is_that_of_all(tmp_path, monkeypatch, kind, arch):
    x = np.random.default_rng(0).standard_normal((2560, 2))
    path = sheet(tmp_path / "a.csv", x)
    for cells in (1 << 18, 128):
        monkeypatch.setattr(train_tables, "CELLS", cells)
        monkeypatch.setattr(train_tables, "LONGEST", cells)
        task = Tables(path, options(arch=arch, patch=64), kind=kind)
        task.load(net := nets.build(arch, task.options.net).eval(), torch.device("cpu"), lambda line: None)
        if cells == 1 << 18:
            assert len(task.examples) == 1
            continue
        assert len(task.examples) == (4 if kind == "table" else 2)
        clean = np.concatenate([c.reshape(-1, 2) if kind == "table" else c[0].T for c, _ in task.examples])
        inside = task.scale.inwards(task.held[0]).T
        assert np.array_equal(clean, np.repeat(inside, 4, axis=0) if kind == "table" else inside)
        errors = [(task._infer(net, n) - c)[n != c] for c, n in task.examples]
        wanted = -10 * np.log10(np.mean(np.square(np.concatenate(errors))))
        assert task.validate(net) == pytest.approx(wanted, rel=1e-5)


def test_tables_held_out_that_cannot_be_read_end_no_training(tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(5):
        sheet(tmp_path / "in" / f"{n}.csv", np.random.default_rng(n).standard_normal((30, 2)))
    (tmp_path / "in" / "0.csv").write_text("a,b\n1,2\n3\n")  # the one that is held out
    said: list[str] = []
    task = Tables(tmp_path / "in", options())
    task.load(nets.build("dense", task.options.net), torch.device("cpu"), said.append)
    assert any("0.csv" in line for line in said)
    assert any("nothing is validated" in line for line in said)
    with pytest.raises(UsageError, match=r"--val .*0\.csv: nothing in it can be read"):
        Tables(tmp_path / "in", options(), tmp_path / "in" / "0.csv")


def test_what_cannot_be_trained_on_is_refused(tmp_path):
    x = np.random.default_rng(0).standard_normal((30, 2))
    path = sheet(tmp_path / "a.csv", x)
    with pytest.raises(TrainingError, match='more than one column "a"'):
        Tables(sheet(tmp_path / "twice.csv", x, "aa"), options())
    with pytest.raises(UsageError, match="poisson"):
        Tables(path, options(noise="poisson"))
    with pytest.raises(UsageError, match="--loss spectral is not for tables"):
        Tables(path, options(loss="spectral"))
    with pytest.raises(UsageError, match=r"loss bce needs data in \[0, 1\]; column \"a\" holds -"):
        Tables(path, options(loss="bce"))
    (tmp_path / "b.csv").write_text("a,b\nx,y\n")
    with pytest.raises(TrainingError, match="nothing to train on"):
        Tables(tmp_path / "b.csv", options())
    task = Tables(sheet(tmp_path / "c.csv", np.random.default_rng(0).random((30, 2))), options(loss="bce"))
    assert task.options.net["sigmoid"] is True
    assert (task.scale.mean == 0).all()
    assert (task.scale.std == 1).all()


def test_a_table_is_not_run_with_other_columns(series_model):
    session = Session(series_model, "cpu")
    workers = Workers(session, Options(threads=1))
    try:
        with pytest.raises(InputError, match="has 3 columns, and the model takes 2"):
            list(tabular.rows([np.zeros((3, 4, 1), np.float32)], Header("series", 3, 4), workers, Options(), False))
    finally:
        workers.stop()


def test_a_net_learns_to_fill_what_follows_from_the_rest(tmp_path):
    """b = 2 a and c = -a: any one column tells the others, so masking must become nearly harmless."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal(1000)
    x = np.stack([a, 2 * a + 100, -a], 1)
    x[rng.random(x.shape) < 0.1] = np.nan
    task = Tables(
        sheet(tmp_path / "a.csv", x),
        options(noise="masking:amount=0.3", optimiser="adamw", lr=3e-3, steps=150, batch_size=128, ema=0.9),
    )
    torch.manual_seed(0)
    net = nets.build("dense", {**task.options.net, "widths": (32, 16), "code": 4})
    state = loop.start(net, task.options, torch.device("cpu"))
    task.load(net, torch.device("cpu"), lambda line: None)
    loop.train(state, task.options, task.stream)
    trained = loop.averaged(state)
    y = trained(torch.tensor([[1.0, np.nan, -1.0], [-1.0, 98.0, np.nan]])).detach().numpy()
    assert y[0, 1] == pytest.approx(102, abs=0.5)
    assert y[1, 2] == pytest.approx(1, abs=0.25)
    score = task.validate(trained)
    assert score is not None
    assert score > 6, "dB below the standard deviation; the mean of each column gives 0"


def test_reading_a_table_for_training_takes_the_whole_file(tmp_path):
    x = np.random.default_rng(0).standard_normal((50, 2))
    path = sheet(tmp_path / "a.csv", x)
    whole = table.read(path)
    assert whole.extras["names"] == ["a", "b"]
    assert np.abs(whole.data[:, :, 0].T - x).max() < 1e-6
    with closing(table.open_table(path.open("rb"), "a.csv")) as source:
        assert isinstance(source, table.TableSource)


def clocked(path: Path, n: int = 30) -> Path:
    """Seconds since 1970 over months, twice each; a number of the row, with a hole; a value; some stages."""
    x = np.random.default_rng(0).standard_normal((n, 4))
    times = 1_600_000_000 + np.cumsum(1 + 1e6 * np.random.default_rng(1).random(n)).round()
    x[:, 0] = times[np.arange(n) // 2]
    x[:, 1] = 100 - np.arange(n)
    x[:, 3] = np.arange(n) // 6
    x[3, 1] = np.nan
    return sheet(path, x)


def test_a_column_that_counts_the_rows_is_left_out_where_none_is_chosen(tmp_path):
    path = clocked(tmp_path / "a.csv")
    for kind, arch in (("table", "dense"), ("series", "series")):
        task = Tables(path, options(arch=arch, patch=64), kind=kind)
        assert task.names == ("c", "d")
        assert [len(x) for x in task.data] == [2]
        said: list[str] = []
        task.load(nets.build(arch, task.options.net), torch.device("cpu"), said.append)
        assert any('column "a", "b": never falls, or never rises' in line and "--column" in line for line in said)
    assert Tables(path, options(), taken=("c", "b")).names == ("c", "b")
    task = Tables(sheet(tmp_path / "clocks.csv", np.stack([np.arange(30), np.arange(30) * 7], 1)), options())
    task.load(nets.build("dense", task.options.net), torch.device("cpu"), said.append)
    assert task.names == ("a", "b")
    assert 'column "a", "b"' in said[-2]
    assert said[-2].endswith("as there is no other, it is modelled")
    assert Tables(clocked(tmp_path / "short.csv", 19), options()).names == ("a", "b", "c", "d"), "too few to tell"


def test_every_file_has_a_say_in_what_counts_the_rows(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    clocked(folder / "1.csv")
    x = np.random.default_rng(0).standard_normal((30, 4))
    x[:, 0] = -np.arange(30)
    sheet(folder / "2.csv", x)
    assert Tables(folder, options()).names == ("b", "c", "d"), (
        "one clock ran backwards, one number of rows did not run"
    )


def test_columns_are_chosen_by_name(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    x = np.random.default_rng(0).standard_normal((30, 3))
    sheet(folder / "1.csv", x, "abc")
    sheet(folder / "2.csv", x, "cxa")
    task = Tables(folder, options(), taken=("c", "a"))
    assert task.card()["columns"] == ("c", "a")
    assert [len(x) for x in task.data] == [2, 2], "both files have them"
    with pytest.raises(TrainingError, match='no column "z"'):
        Tables(folder, options(), taken=("z",))
    np.save(tmp_path / "x.npy", x)
    for taken in (("a", "b", "c"), ("a",)):
        with pytest.raises(TrainingError, match="its columns have no names"):
            Tables(tmp_path / "x.npy", options(), taken=taken)


def test_the_course_of_a_file_is_that_of_its_parts():
    x = np.random.default_rng(0).integers(0, 3, (60, 4)).astype(np.float64)
    x[:, 1] = np.arange(60)
    x[np.random.default_rng(1).random(x.shape) < 0.3] = np.nan
    x[:, 3] = np.nan
    whole = Course.of(x)
    for cuts in ([20, 40], [1, 2, 3], [0, 59]):
        course = Course.of(x[:0])
        for part in np.split(x, cuts):
            course = course.then(Course.of(part))
        for field in dataclasses.fields(Course):
            assert np.array_equal(getattr(course, field.name), getattr(whole, field.name), equal_nan=True), (
                field.name
            )
    assert (whole.falls[1], whole.stays[1], whole.rises[1]) == (0, 0, whole.known[1] - 1)
