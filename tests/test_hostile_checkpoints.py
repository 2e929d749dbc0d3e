"""A checkpoint is weights and numbers: one that would run code, or is none at all, is refused and runs nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import denoise, scene, write_png
from safetensors import safe_open
from safetensors.torch import save as to_safetensors

from denoise_cli import nets
from denoise_cli.errors import ModelError
from denoise_cli.train import checkpoint, loop

NET = {"channels": 3, "width": 2}


class Payload:
    """Opens a file for writing when it is unpickled: harmless, and it shows."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple:
        return open, (str(self.canary), "w")


def zipped(payload: Payload) -> bytes:
    """The form of torch.save, by hand."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"model": payload}, protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return file.getvalue()


def by_torch(payload: Payload) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": payload}, file)
    return file.getvalue()


def by_numpy(payload: Payload) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    return file.getvalue()


RUNNING: dict[str, Callable[[Payload], bytes]] = {
    "pickle": lambda payload: pickle.dumps({"state_dict": payload}),
    "zip": zipped,
    "torch": by_torch,
    "numpy": by_numpy,
}
GARBAGE = {
    "empty": b"",
    "text": b"not a checkpoint\n",
    "json": b'{"step": 1}',
    "half a zip": b"PK\x03\x04" + bytes(20),
    "a header of 2^63 bytes": b"\xff" * 7 + b"\x7f{}",
    "noise": np.random.default_rng(0).bytes(4096),
}


def both(path: Path) -> list[str]:
    """The lines with which a start from the checkpoint, and a resume, are refused."""
    options = loop.Options(arch="conv-dae", net=NET, steps=1)
    messages = []
    for use in (
        lambda: checkpoint.initialise(nets.build("conv-dae", NET), path),
        lambda: checkpoint.restore(
            loop.start(nets.build("conv-dae", NET), options, torch.device("cpu")), options, path
        ),
    ):
        with pytest.raises(ModelError) as caught:
            use()
        messages.append(str(caught.value))
    return messages


@pytest.mark.parametrize("form", RUNNING)
def test_a_checkpoint_that_would_run_code_runs_nothing(form, tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "m.ckpt"
    path.write_bytes(RUNNING[form](Payload(canary)))
    for message in both(path):
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
    assert not canary.exists()


def test_the_payload_is_live(tmp_path):
    pickle.loads(RUNNING["pickle"](Payload(tmp_path / "canary")))["state_dict"].close()
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_checkpoint_is_refused_in_a_line(name, tmp_path):
    path = tmp_path / "m.ckpt"
    path.write_bytes(GARBAGE[name])
    for message in both(path):
        assert message.startswith(f"{path}: ")
        assert "\n" not in message


@pytest.mark.parametrize("option", ["--init", "--resume"])
def test_what_is_no_checkpoint_is_refused_before_torch_is_loaded(option, tmp_path):
    write_png(tmp_path / "clean/a.png", scene(64, 64))
    canary, path = tmp_path / "canary", tmp_path / "m.ckpt"
    path.write_bytes(RUNNING["zip"](Payload(canary)))
    given = ["--init", str(path), "-o", str(tmp_path / "new.onnx")]
    if option == "--resume":
        given = ["--resume", "-o", str(path.with_suffix(".onnx"))]
    command = ["train", str(tmp_path / "clean"), *given]
    code = (
        "import sys; from denoise_cli.cli import main\n"
        f"code = main({command!r}); sys.exit(99 if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith(f"denoise: {path}: not a checkpoint of ")
    assert done.stderr.count("\n") == 1
    assert not canary.exists()


LIES = {
    "options are a list": lambda t, a: a.update(options=[1]),
    "scalars are a list": lambda t, a: a.update(scalars=[]),
    "the step is a text": lambda t, a: a.update(step="x"),
    "the step is negative": lambda t, a: a.update(step=-5),
    "the time is not a number": lambda t, a: a.update(elapsed=float("nan")),
    "the curve is a text": lambda t, a: a.update(curve="x"),
    "weights are not finite": lambda t, a: next(iter(t.values())).fill_(float("nan")),
    "an unknown parameter": lambda t, a: t.update({"optimiser.99.mean": torch.zeros(1)}),
    "a wrong shape": lambda t, a: t.update({"optimiser.0.mean": torch.zeros(7)}),
    "a text for a number": lambda t, a: a["scalars"].update({"0.step": "x"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_checkpoint_that_lies_about_itself_is_not_resumed(lie, tmp_path):
    options, path = loop.Options(arch="conv-dae", net=NET, steps=1), tmp_path / "m.ckpt"

    def begin():
        return loop.start(nets.build("conv-dae", NET), options, torch.device("cpu"))

    checkpoint.save(begin(), options, path)
    checkpoint.restore(begin(), options, path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["denoise"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    LIES[lie](tensors, about)
    path.write_bytes(to_safetensors(tensors, {"denoise": json.dumps(about)}))
    with pytest.raises(ModelError, match="not a checkpoint of this run"):
        checkpoint.restore(begin(), options, path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.ckpt")
    with pytest.raises(ModelError, match="not a regular file"):
        checkpoint.initialise(nets.build("conv-dae", NET), tmp_path / "m.ckpt")


def test_the_command_says_so_in_one_line(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "m.ckpt"
    path.write_bytes(by_torch(Payload(canary)))
    write_png(tmp_path / "clean" / "a.png", scene(96, 96))
    done = denoise("train", tmp_path / "clean", "-o", tmp_path / "new.onnx", "--init", path, "--steps", 1)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 3
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert not canary.exists()
    assert not (tmp_path / "new.onnx").exists()
