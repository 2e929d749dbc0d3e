"""Corruptions in other people's training: as a transform of one sample, and of a batch on its device."""

from __future__ import annotations

import pickle

import pytest
from conftest import ROOT

from denoise_cli import corrupt

torch = pytest.importorskip("torch")


class Digits(torch.utils.data.Dataset):
    """Gray squares, with the transform that a torchvision dataset would be given."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.transform(torch.full((1, 16, 16), 0.5)), index


def test_a_corruption_is_a_transform_that_torchs_own_seed_rules():
    noise = corrupt.parse("gaussian:std=50+quantise")
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(noise(torch.full((3, 32, 32), 0.5)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].shape == (3, 32, 32)
    assert drawn[0].dtype == torch.float32
    assert 0 <= drawn[0].min() < drawn[0].max() <= 1, "quantise clips"
    assert drawn[0].std() == pytest.approx(50 / 255, rel=0.06)


def test_every_sample_of_a_batch_has_its_own_strength():
    torch.manual_seed(0)
    x = torch.full((64, 1, 48, 48), 0.5)
    spread = (corrupt.parse("gaussian:std=0-100")(x) - x).flatten(1).std(1) * 255
    assert spread.min() < 15
    assert spread.max() > 85
    assert spread.mean() == pytest.approx(50, abs=12)


@pytest.mark.parametrize("spec", ["salt-pepper:amount=0.3", "masking:amount=0.5", "speckle", "poisson", "uniform"])
def test_others_keep_shape_and_leave_the_original_alone(spec):
    x = torch.rand(4, 3, 24, 24)
    before = x.clone()
    y = corrupt.parse(spec)(x)
    assert y.shape == x.shape
    assert torch.equal(x, before)
    assert not torch.equal(y, x)


def test_workers_of_a_loader_draw_apart():
    noise = corrupt.parse("gaussian:std=25")
    assert pickle.loads(pickle.dumps(noise)) == noise
    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(Digits(noise), batch_size=4, num_workers=2)
    first, second = (batch for batch, _ in loader)
    samples = torch.cat([first, second])
    assert len({sample.flatten()[0].item() for sample in samples}) == 8, "no two samples have the same noise"


def test_the_example_of_the_guide_runs():
    text = (ROOT / "docs" / "augmentation.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(compile(code, "augmentation.md", "exec"), names)
    assert names["noisy"].shape == names["batch"].shape
    assert not torch.equal(names["noisy"], names["batch"])
