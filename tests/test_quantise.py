"""A model in integers or halves: near its float form, found where it is wanted, refused where it cannot be."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, write_png

from denoise_cli import models, nets, processor, session
from denoise_cli.card import ModelCard
from denoise_cli.cli import main
from denoise_cli.errors import ModelError, TrainingError, UsageError
from denoise_cli.model_file import ModelFile, with_card
from denoise_cli.models import choose
from denoise_cli.session import Session
from denoise_cli.signal import Header

CARD = ModelCard(
    "tiny",
    channels=3,
    multiple=4,
    noise="gaussian:std=0-55",
    command="denoise train",
    metrics={"a": 1},
    anomaly={"threshold": 0.1},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A float model of random weights, its pictures, and its int8 form."""
    torch = pytest.importorskip("torch")
    from denoise_cli.train.export import export
    from denoise_cli.train.quantise import quantise

    folder = tmp_path_factory.mktemp("quantise")
    (folder / "clean").mkdir()
    for seed in range(3):
        write_png(folder / "clean" / f"{seed}.png", scene(80, 96, seed=seed))
    torch.manual_seed(0)
    net = nets.build("unet", {"widths": (16, 32), "blocks": (1, 1)})
    with torch.no_grad():
        net.head.weight *= 10  # or nothing that is quantised would show
    export(net, CARD, folder / "model.onnx")
    quantise(folder / "model.onnx", folder / "clean", folder / "model.int8.onnx", say=lambda line: None)
    return folder


def test_integers_give_nearly_what_floats_give(folder):
    x = (scene(64, 64, seed=7) + np.random.default_rng(0).normal(0, 0.1, (3, 64, 64))).clip(0, 1)[None]
    floats, integers = (Session(folder / name, "cpu")(x) for name in ("model.onnx", "model.int8.onnx"))
    change = np.sqrt(np.square(floats - x).mean())
    error = np.sqrt(np.square(integers - floats).mean())
    assert change > 0.01, "the net does something"
    assert 0 < error < 0.1 * change


def test_onnxruntime_is_told_where_bytes_overflow(folder, monkeypatch):
    import onnxruntime

    told, add = [], onnxruntime.SessionOptions.add_session_config_entry
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_session_config_entry",
                        lambda self, key, value: (told.append(key), add(self, key, value)))  # fmt: skip
    for fast in (True, False):
        told.clear()
        monkeypatch.setattr(processor, "multiplies_bytes", lambda fast=fast: fast)
        Session(folder / "model.int8.onnx", "cpu")
        assert ("session.x64quantprecision" in told) is not fast


def test_bytes_do_not_overflow_on_any_processor(tmp_path):
    """Pairs of products that are added up in 16 bits, as x86 does without VNNI, fall short by half."""
    torch = pytest.importorskip("torch")
    import onnx

    from denoise_cli.train.export import export
    from denoise_cli.train.quantise import to_integers, write_form

    net = nets.build("dncnn", {"width": 8, "depth": 3})
    with torch.no_grad():
        for layer in net.body[::2]:
            layer.weight.fill_(1 / layer.weight[0].numel())
    export(net, replace(CARD, multiple=1), tmp_path / "m.onnx")
    x = np.full((1, 3, 24, 24), 0.9, np.float32)
    integers = to_integers(onnx.load(tmp_path / "m.onnx"), iter([{"x": x}]))
    write_form(integers, ModelFile.read(tmp_path / "m.onnx"), "int8", tmp_path / "m.int8.onnx", "")
    floats, integers = (Session(tmp_path / name, "cpu")(x) for name in ("m.onnx", "m.int8.onnx"))
    assert np.ptp(floats) > 0.1, "edges are darker than the middle"
    np.testing.assert_allclose(integers, floats, atol=0.02)


def test_the_file_holds_bytes_and_its_card_says_so(folder):
    assert (folder / "model.int8.onnx").stat().st_size < 0.6 * (folder / "model.onnx").stat().st_size
    card = Session(folder / "model.int8.onnx", "cpu").card
    assert card.precision == "int8"
    assert card.metrics == {}, "those of the float model are not its own"
    assert card.anomaly == {}, "nor is its threshold"
    assert (card.name, card.halo, card.noise) == (
        "tiny",
        Session(folder / "model.onnx", "cpu").card.halo,
        CARD.noise,
    )


def test_halves_give_what_floats_give_to_a_part_of_a_step(folder, tmp_path):
    from denoise_cli.train.half import halve

    for name in ("model.onnx", "model.int8.onnx"):
        shutil.copy(folder / name, tmp_path)
    assert main(["quantise", str(tmp_path / "model.onnx"), "--to", "fp16", "-q"]) == 0
    assert (tmp_path / "model.fp16.onnx").stat().st_size < 0.6 * (folder / "model.onnx").stat().st_size
    card = ModelFile.read(tmp_path / "model.fp16.onnx").card
    assert (card.precision, card.metrics, card.anomaly, card.halo) == (
        "fp16", {}, {}, Session(folder / "model.onnx", "cpu").card.halo,
    )  # fmt: skip
    x = (scene(64, 64, seed=7) + np.random.default_rng(0).normal(0, 0.1, (3, 64, 64))).clip(0, 1)[None]
    floats, halves = (Session(choose(str(tmp_path / "model.onnx"), p), "cpu")(x) for p in ("float", "fp16"))
    assert 0 < np.abs(halves - floats).max() < 1 / 255
    with pytest.raises(ModelError, match="not a float model for pictures"):
        halve(tmp_path / "model.int8.onnx", tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


def test_a_net_that_finds_nothing_gives_sixteen_bits_back_from_halves(tmp_path):
    torch = pytest.importorskip("torch")
    from denoise_cli.train.export import export
    from denoise_cli.train.half import halve

    net = nets.build("unet", {"widths": (8,), "blocks": (1,)})
    with torch.no_grad():
        net.head.weight.zero_()
    export(net, ModelCard("still", multiple=net.multiple), tmp_path / "m.onnx")
    halve(tmp_path / "m.onnx", tmp_path / "m.fp16.onnx")
    x = (np.arange(3 * 32 * 32, dtype=np.float32) * 21 / 65535).reshape(1, 3, 32, 32)
    assert np.array_equal(Session(tmp_path / "m.fp16.onnx", "cpu")(x), x)


def test_the_bottleneck_of_halves_is_float_and_propagate_looks_into_floats(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    from denoise_cli.halves import Halves
    from denoise_cli.train.export import export
    from denoise_cli.train.half import halve

    torch.manual_seed(0)
    net = nets.build("conv-dae", {"channels": 1, "width": 4})
    card = ModelCard("c", channels=1, multiple=4, latent=net.latent, latent_stride=net.latent_stride)
    export(net, card, tmp_path / "m.onnx")
    halve(tmp_path / "m.onnx", tmp_path / "m.fp16.onnx")
    x = scene(16, 16, 1)[None]
    whole, halves = (Halves(tmp_path / name, "cpu") for name in ("m.onnx", "m.fp16.onnx"))
    assert np.abs(whole.encode(x) - halves.encode(x)).max() < 0.01
    write_png(tmp_path / "x.png", x[0])
    assert main(["propagate", str(tmp_path / "m.fp16.onnx"), str(tmp_path / "x.png"), "--std", "9"]) == 2
    assert "is in fp16; propagate looks into the float form" in capsys.readouterr().err


def test_a_model_for_recordings_is_said_to_have_no_such_form():
    with pytest.raises(ModelError, match="speech has no int8 form: only models for pictures have one"):
        choose("speech", "int8")


def test_propagate_refuses_bytes_and_a_lost_threshold_is_told(folder, tmp_path, capsys):
    write_png(tmp_path / "x.png", scene(16, 16))
    assert main(["propagate", str(folder / "model.int8.onnx"), str(tmp_path / "x.png"), "--std", "9"]) == 2
    assert "is in int8; propagate looks into the float form" in capsys.readouterr().err
    for card, said in ((CARD, True), (replace(CARD, anomaly={}), False)):
        float_ = tmp_path / f"{said}.onnx"
        float_.write_bytes(with_card(ModelFile.read(folder / "model.onnx"), card))
        assert main(["quantise", str(float_), "--to", "fp16"]) == 0
        assert ("threshold for anomalies is not that of this form" in capsys.readouterr().err) is said


def test_where_the_gpu_cannot_be_opened_the_form_for_it_is_not_taken(folder, tmp_path, monkeypatch):
    from denoise_cli.train.half import halve

    class FellBack(Session):
        def __init__(self, file, device, threads):
            super().__init__(file, "cpu", threads)
            self.fell_back = device != "cpu"

    shutil.copy(folder / "model.onnx", tmp_path / "image.onnx")
    halve(tmp_path / "image.onnx", tmp_path / "image.fp16.onnx")
    monkeypatch.setattr(session.shipped, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(models, "has_cuda", lambda *device: True)
    monkeypatch.setattr(processor, "multiplies_bytes", lambda: False)
    assert choose("image").name == "image.fp16.onnx"
    monkeypatch.setattr(models, "Session", FellBack)
    served = models.Models(None)(Header.picture((3, 8, 8)))
    assert served.path.name == "image.onnx"


@pytest.mark.parametrize("options", [[], ["clean", "--to", "fp16"]])
def test_ranges_are_for_integers_alone(folder, capsys, options):
    line = ["quantise", str(folder / "model.onnx"), *(str(folder / o) if o == "clean" else o for o in options)]
    assert main([*line, "--overwrite"]) == 2
    assert "pictures" in capsys.readouterr().err
    assert not (folder / "model.fp16.onnx").exists()


def test_what_cannot_be_quantised_is_refused(folder, tmp_path):
    from denoise_cli.train.quantise import quantise

    with pytest.raises(ModelError, match="not a float model"):
        quantise(folder / "model.int8.onnx", folder / "clean", tmp_path / "again.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no pictures"):
        quantise(folder / "model.onnx", tmp_path / "empty", tmp_path / "none.onnx")
    assert list(tmp_path.glob("*.onnx")) == []
    for output in ("-o", folder / "model.onnx", "--overwrite"), ():
        before = (folder / "model.onnx").read_bytes()
        assert main(["quantise", str(folder / "model.onnx"), str(folder / "clean"), *map(str, output)]) == 2
        assert (folder / "model.onnx").read_bytes() == before
    with pytest.raises(ModelError, match="unknown precision"):
        replace(CARD, precision="int3")


def test_damaged_pictures_are_left_out_and_where_none_is_left_it_speaks_of_ranges(folder, tmp_path, capsys):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "bad.png").write_text("no picture\n")
    line = ["quantise", str(folder / "model.onnx"), str(tmp_path / "clean"), "-o", str(tmp_path / "m.onnx"), "-q"]
    assert main(line) == 1
    skipped, reason = capsys.readouterr().err.splitlines()
    assert "left out: " in skipped
    assert reason == f"denoise: {tmp_path / 'clean'}: no picture that can be read to take ranges from"
    assert not (tmp_path / "m.onnx").exists()
    shutil.copy(folder / "clean" / "0.png", tmp_path / "clean")
    assert main(line) == 0, "as in a training"
    assert capsys.readouterr().err.splitlines() == [skipped]


def test_a_path_is_itself_and_a_name_is_what_suits_the_device(folder, tmp_path, monkeypatch):
    from denoise_cli.train.half import halve

    path = str(folder / "model.onnx")
    monkeypatch.setattr(session.shipped, "FOLDERS", (folder,))
    for fast in (True, False):
        monkeypatch.setattr(processor, "multiplies_bytes", lambda fast=fast: fast)
        assert choose(path).name == choose(path, "float").name == "model.onnx"
        assert choose(path, "int8").name == choose("model", "int8").name == "model.int8.onnx"
        assert choose(str(folder / "model.int8.onnx"), "int8").name == "model.int8.onnx"
        assert choose("model", "float").name == "model.onnx"
        assert choose("model", "auto", "cpu").name == ("model.int8.onnx" if fast else "model.onnx")
    with pytest.raises(ModelError, match="is in int8; name the float model"):
        choose(str(folder / "model.int8.onnx"), "float")
    assert session.shipped.names() == ["model"]
    monkeypatch.setattr(models, "has_cuda", lambda: True)
    assert choose("model", "auto").name == "model.onnx", "a GPU asks for fp16, and there is none"
    shutil.copy(folder / "model.onnx", tmp_path / "model.onnx")
    halve(tmp_path / "model.onnx", tmp_path / "model.fp16.onnx")
    monkeypatch.setattr(session.shipped, "FOLDERS", (tmp_path,))
    assert choose("model", "auto").name == choose("model", "auto", "cuda").name == "model.fp16.onnx"
    assert choose("model", "auto", "cpu").name == "model.onnx"
    assert choose(str(tmp_path / "model.onnx")).name == "model.onnx"


def test_an_int8_form_of_what_the_model_was_before_is_not_taken(folder, tmp_path, monkeypatch):
    float_, int8 = (Path(shutil.copy(folder / name, tmp_path)) for name in ("model.onnx", "model.int8.onnx"))
    file = ModelFile.read(float_)
    float_.write_bytes(with_card(file, replace(file.card, anomaly={"threshold": 0.5})))
    assert choose(str(float_), "int8") == int8, "a card that has been written to is the same model"
    torch = pytest.importorskip("torch")
    from denoise_cli.train.export import export

    torch.manual_seed(1)
    export(nets.build("unet", {"widths": (16, 32), "blocks": (1, 1)}), CARD, float_)
    with pytest.raises(ModelError, match=r"model\.int8\.onnx was made from another model\.onnx"):
        choose(str(float_), "int8")
    monkeypatch.setattr(session.shipped, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(processor, "multiplies_bytes", lambda: True)
    assert choose("model", "auto", "cpu") == float_
    file = ModelFile.read(int8)
    training = {key: value for key, value in file.card.training.items() if key != "quantised_from"}
    int8.write_bytes(with_card(file, replace(file.card, training=training)))
    assert choose(str(float_), "int8") == int8, "one that does not say is believed"


def test_a_precision_that_is_not_there_is_never_replaced_by_another(folder, tmp_path):
    alone = shutil.copy(folder / "model.onnx", tmp_path / "alone.onnx")
    with pytest.raises(ModelError, match="no int8 form"):
        choose(str(alone), "int8")
    with pytest.raises(UsageError, match="choose from auto, float, int8, fp16"):
        choose(str(alone), "int7")


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_vnni sse\n", True),
        ("flags : fpu avx_vnni\n", True),
        ("Features\t: fp asimd asimddp\n", True),
        ("flags : fpu avx2 sse4_2\nbugs : avx512_vnni\n", False),
        ("", False),
    ],
)
def test_a_processor_says_what_it_can(tmp_path, monkeypatch, text, fast):
    monkeypatch.setattr(processor.platform, "system", lambda: "Linux")
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert processor.multiplies_bytes.__wrapped__(path) is fast
    assert processor.multiplies_bytes.__wrapped__(tmp_path / "none") is False
    assert processor.multiplies_halves.__wrapped__(path) is False
    path.write_text(text.replace("flags : ", "flags : amx_bf16 ").replace("asimd ", "asimd bf16 "))
    assert processor.multiplies_halves.__wrapped__(path) is (path.read_text() != text)
