"""A checkpoint is weights and numbers: one that would run code, or is none at all, is refused and runs nothing."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import denoise, scene, write_png

from denoise_cli import nets
from denoise_cli.errors import DenoiseError
from denoise_cli.train import loop

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
        lambda: loop.initialise(nets.build("conv-dae", NET), path),
        lambda: loop.restore(loop.start(nets.build("conv-dae", NET), options, torch.device("cpu")), options, path),
    ):
        with pytest.raises(DenoiseError) as caught:
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


def test_the_command_says_so_in_one_line(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "m.ckpt"
    path.write_bytes(by_torch(Payload(canary)))
    write_png(tmp_path / "clean" / "a.png", scene(96, 96))
    done = denoise("train", tmp_path / "clean", "-o", tmp_path / "new.onnx", "--init", path, "--steps", 1)
    lines = done.stderr.decode().splitlines()
    assert done.returncode > 0
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert not canary.exists()
    assert not (tmp_path / "new.onnx").exists()
