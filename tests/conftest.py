"""Shared fixtures: small pictures that the tests draw themselves, a tiny model, and the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# A shell starts what it runs in the background with SIGINT ignored, and every command that is started from there
# inherits that. The tests send it and expect an answer, wherever they run.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


def scene(height: int, width: int, channels: int = 3, seed: int = 0, grain: float = 0.02) -> np.ndarray:
    """A picture with smooth shading, edges and grain: (C, H, W) float32 in [0, 1], on 8-bit levels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    planes = []
    for c in range(channels):
        shade = 0.5 + 0.25 * np.sin(x / (17 + 3 * c)) + 0.2 * np.cos(y / (11 + c))
        shade[(x // 24 + y // 16).astype(int) % 5 == c % 5] *= 0.6
        planes.append(shade + grain * rng.standard_normal((height, width)))
    return (np.clip(planes, 0, 1) * 255).round().astype(np.float32) / 255


def write_png(path: Path, x: np.ndarray) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    levels = (x.clip(0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0))).save(path)
    return path


def read_png(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        levels = np.asarray(image)
    return levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree of three colour pictures and a gray one, of odd sizes."""
    root = tmp_path / "photos"
    write_png(root / "a.png", scene(70, 91, seed=1))
    write_png(root / "sub" / "b.png", scene(64, 64, seed=2))
    write_png(root / "sub" / "deep" / "c.png", scene(33, 120, seed=3))
    write_png(root / "gray.png", scene(48, 50, 1, seed=4))
    return root


def _export(path: Path, channels: int, noise_map: bool = False) -> Path:
    import torch

    from denoise_cli.card import ModelCard
    from denoise_cli.nets import build, config_of
    from denoise_cli.train.export import export

    torch.manual_seed(0)
    net = build("unet", {"channels": channels, "widths": (8, 16), "blocks": (1, 1), "noise_map": noise_map})
    for told in net.told:
        torch.nn.init.normal_(told.bias.weight, std=0.1)
    card = ModelCard(
        path.stem, channels=channels, multiple=net.multiple, noise_input=noise_map, arch="unet", net=config_of(net)
    )
    export(net, card, path)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained colour model: it changes pictures, quickly, and always alike."""
    return _export(tmp_path_factory.mktemp("models") / "tiny.onnx", 3)


@pytest.fixture(scope="session")
def gray_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _export(tmp_path_factory.mktemp("models") / "gray.onnx", 1)


@pytest.fixture(scope="session")
def sigma_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that takes a noise level."""
    return _export(tmp_path_factory.mktemp("models") / "sigma.onnx", 3, noise_map=True)


@pytest.fixture(scope="session")
def voice_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained model for recordings at 16 kHz: one fixed mask for each frequency, about a half."""
    import torch

    from denoise_cli.card import ModelCard
    from denoise_cli.nets import build, config_of
    from denoise_cli.train.export import export

    path = tmp_path_factory.mktemp("models") / "voice.onnx"
    net = build("band-mixer", {"stem": 4, "channels": 8, "mixed": 4, "dilations": (1, 2)})
    with torch.no_grad():
        net.head.bias.fill_(0.1)
    card = ModelCard("voice", kind="audio", rate=16_000, multiple=256, arch="band-mixer", net=config_of(net))
    export(net, card, path)
    return path


def denoise(
    *args: object, stdin: bytes | None = b"", cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "denoise_cli", *(a if isinstance(a, Path | bytes) else str(a) for a in args)],
        input=stdin, capture_output=True, cwd=cwd, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
    )  # fmt: skip


@pytest.fixture
def one_thread():
    """Torch on one thread, where sums have one order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
