"""Corruptions: closed forms of what they do, specs, and equality between libraries and batches."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from denoise_cli.corrupt import CORRUPTIONS, PICTURES, Chain, Gaussian, Masking, SaltPepper, Span, parse
from denoise_cli.corrupt.draws import draws_for
from denoise_cli.errors import InputError, UsageError
from denoise_cli.signal import Header

HALF = np.full((3, 200, 300), 0.5, np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("spec", "mean", "std"),
    [
        ("gaussian:std=25", 0.5, 25 / 255),
        ("gaussian:std=10,mean=20", 0.5 + 20 / 255, 10 / 255),
        ("uniform:width=30", 0.5, 30 / 255 / 3**0.5),
        ("speckle:std=0.2", 0.5, 0.5 * 0.2),
        ("poisson:peak=100", 0.5, (0.5 / 100) ** 0.5),
        ("salt-pepper:amount=0.2", 0.5, 0.5 * 0.2**0.5),
        ("salt-pepper:amount=0.2,salt=1", 0.6, 0.5 * (0.2 * 0.8) ** 0.5),
        ("masking:amount=0.3", 0.35, 0.5 * (0.3 * 0.7) ** 0.5),
    ],
)
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_mean_and_deviation_are_those_of_the_definition(spec, mean, std, library):
    if library == "numpy":
        noisy = parse(spec)(HALF, rng())
    else:
        noisy = parse(spec)(torch.from_numpy(HALF), torch.Generator().manual_seed(0)).numpy()
    assert noisy.dtype == np.float32
    assert noisy.shape == HALF.shape
    assert noisy.mean() == pytest.approx(mean, abs=0.003)
    assert noisy.std() == pytest.approx(std, rel=0.02)


def test_gaussian_noise_is_independent_between_pixels_and_channels():
    noise = parse("gaussian:std=25")(HALF, rng()) - HALF
    neighbours = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    channels = np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]
    assert abs(neighbours) < 0.01
    assert abs(channels) < 0.02


def test_masking_hits_all_channels_of_a_pixel_and_whole_blocks():
    pixels = Masking(amount=0.3)(HALF, rng())
    assert np.array_equal(pixels[0], pixels[2])
    blocks = Masking(amount=0.5, size=20)(HALF, rng())[0]
    cells = blocks.reshape(10, 20, 15, 20).transpose(0, 2, 1, 3).reshape(150, -1)
    assert np.all(cells.min(1) == cells.max(1))
    assert 0.3 < (cells[:, 0] == 0).mean() < 0.7


def test_salt_and_pepper_leaves_the_rest_alone():
    noisy = SaltPepper(amount=0.1)(HALF, rng())
    assert set(np.unique(noisy)) == {np.float32(0), np.float32(0.5), np.float32(1)}


def test_quantise_clips_and_rounds_as_a_file_does():
    x = np.linspace(-0.5, 1.5, 3000, dtype=np.float32).reshape(3, 10, 100)
    once = parse("quantise")(x)
    assert np.array_equal(once, (x.clip(0, 1) * 255).round() / np.float32(255))
    assert set(np.unique(parse("quantise:bits=1")(x))) == {0.0, 1.0}


def test_jpeg_is_what_pillow_writes_and_gray_keeps_one_channel():
    import io

    from PIL import Image

    from tests.conftest import scene

    x = scene(64, 48)
    coded = io.BytesIO()
    Image.fromarray((x * 255).round().astype(np.uint8).transpose(1, 2, 0)).save(coded, "JPEG", quality=30)
    expected = np.asarray(Image.open(coded)).transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(parse("jpeg:quality=30")(x), expected)
    assert parse("jpeg")(x[:1]).shape == (1, 64, 48)


def test_a_range_is_drawn_for_every_sample_of_a_batch():
    batch = np.broadcast_to(HALF, (6, *HALF.shape))
    for noisy in (
        parse("gaussian:std=0-55")(batch, rng()),
        parse("gaussian:std=0-55")(torch.from_numpy(batch.copy()), torch.Generator().manual_seed(0)).numpy(),
    ):
        levels = (noisy - 0.5).std(axis=(1, 2, 3)) * 255
        assert len(np.unique(levels.round(1))) == 6
        assert levels.max() < 56


def test_probability_hits_a_share_of_the_batch_and_leaves_the_others_as_they_were():
    batch = np.broadcast_to(HALF[:, :4, :4], (2000, 3, 4, 4))
    untouched = (parse("gaussian:p=0.3")(batch, rng()) == 0.5).all(axis=(1, 2, 3)).mean()
    assert untouched == pytest.approx(0.7, abs=0.03)


def test_drawn_fixes_ranges_once_for_all_blocks_of_a_file():
    drawn = parse("gaussian:std=0-55+quantise:p=0.5").drawn(rng(3))
    first, second = (part for part in drawn.parts)
    assert first.std.low == first.std.high
    assert second.p in (Span(0, 0), Span(1, 1))
    assert drawn == parse("gaussian:std=0-55+quantise:p=0.5").drawn(rng(3))


def test_parts_are_applied_in_order():
    bright_then_clip = parse(["gaussian:std=0,mean=255", "quantise"])(HALF)
    assert bright_then_clip.max() == 1
    clip_then_bright = parse(["quantise", "gaussian:std=0,mean=255"])(HALF)
    assert clip_then_bright.max() > 1.4


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_default_specs_print_as_their_name_and_parse_back(name):
    assert str(parse(name)) == name
    assert parse(str(parse(name))) == parse(name)


@pytest.mark.parametrize(
    "spec",
    [
        "gaussian:std=0-55+quantise:p=0.7",
        "gaussian:mean=-10--5",
        "poisson:peak=1-100",
        "masking:amount=0.1-0.5,size=8,value=1",
        "salt-pepper:amount=0.3,salt=0.25,p=0.5",
        "gaussian:snr=-5-20",
        "pink:snr=10+hum:frequency=60,std=0.01-0.1,harmonics=3",
        "clicks:rate=1-9,level=1,width=1+dropouts:length=5+clipping:crest=6,p=0.5",
        "camera:shot=0.0001-0.01,read=1e-06,mosaic=0,chroma=0+jpeg:quality=60-95",
        "gaussian:std=0-55|camera+quantise:p=0.7",
        "jpeg+gaussian:snr=3|pink|camera:luma=0.5",
    ],
)
def test_specs_and_their_text_are_inverses(spec):
    assert str(parse(spec)) == spec
    assert parse(str(parse(spec))) == parse(spec)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gausian", "choose from gaussian"),
        ("gaussian:sdt=3", "choose from std"),
        ("gaussian:std", "lacks a value"),
        ("gaussian:std=-3", "at least 0"),
        ("gaussian:std=9-3", "backwards"),
        ("gaussian:std=nan", "neither a number"),
        ("gaussian:std=1e999", "not finite"),
        ("gaussian:std=1,std=2", "twice"),
        ("salt-pepper:amount=2", "in 0..1"),
        ("jpeg:quality=0", "in 1..100"),
        ("", "unknown noise"),
        ("gaussian:std=3,snr=10", "std or snr, not both"),
        ("uniform:width=3,snr=10", "width or snr, not both"),
        ("clipping:threshold=1,crest=3", "threshold or crest, not both"),
        ("pink:std=2", "in 0..1"),
        ("hum:frequency=0", "at least 1"),
        ("gaussian|", "unknown noise"),
        ("gaussian|+quantise", "unknown noise"),
        ("gaussian|poison", "choose from gaussian"),
        ("gaussian|(camera+jpeg", "parentheses come in pairs"),
        ("gaussian)", "parentheses come in pairs"),
        ("((gaussian)|camera)", "not within each other"),
        ("()", "unknown noise"),
        ("(gaussian)jpeg", "unknown noise"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_choices(spec, said):
    with pytest.raises(UsageError, match=said):
        parse(spec)


def test_the_input_is_never_changed():
    x = HALF.copy()
    for kind in PICTURES:
        kind()(x, rng())
        assert np.array_equal(x, HALF), kind.name


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_one_of_several_is_drawn_for_each_sample_all_equally_often(library):
    noise, batch = parse("masking:amount=1,value=0|masking:amount=1,value=0.2|masking:amount=0"), HALF[:, :2, :2]
    batch = np.broadcast_to(batch, (3000, *batch.shape)).copy()
    if library == "numpy":
        noisy = noise(batch, rng())
    else:
        noisy = noise(torch.from_numpy(batch), torch.Generator().manual_seed(0)).numpy()
    assert np.all(noisy == noisy[:, :1, :1, :1])
    values, counts = np.unique(noisy[:, 0, 0, 0], return_counts=True)
    assert values == pytest.approx([0, 0.2, 0.5])
    assert counts / 3000 == pytest.approx([1 / 3] * 3, abs=0.03)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_of_several_each_is_given_only_the_samples_it_was_drawn_for(library, monkeypatch):
    seen = []

    def apply(self, x, draws):
        seen.append(len(x))
        return x * 0 + self.mean.value

    monkeypatch.setattr(Gaussian, "apply", apply)
    noise, batch = parse("gaussian:mean=1|gaussian:mean=2|gaussian:mean=1"), np.zeros((200, 3, 2, 2), np.float32)
    if library == "numpy":
        noisy = noise(batch, rng())
    else:
        noisy = noise(torch.from_numpy(batch), torch.Generator().manual_seed(0)).numpy()
    assert len(seen) == 2, "equal parts share one call"
    assert sorted(seen) == sorted(np.count_nonzero(noisy[:, 0, 0, 0] == mean) for mean in (1, 2))
    assert sum(seen) == 200
    assert not batch.any()  # what came in is as it was


def test_one_of_several_is_drawn_for_each_file_and_holds_for_all_its_blocks():
    noise = parse("gaussian:std=0,mean=10|gaussian:std=0,mean=20-30+gaussian:std=0,mean=100")
    header, drawn = Header("image", 3, 100, 300), []
    for seed in range(400):
        hit = noise.stream(header, rng(seed))
        first, second = (hit(HALF[:, :2]) for _ in range(2))
        assert np.array_equal(first, second)
        drawn.append(float(first.mean() - 0.5) * 255 - 100)
    assert np.isclose(drawn, 10, atol=1e-3).mean() == pytest.approx(0.5, abs=0.08)
    assert max(drawn) <= 30.001
    assert len({round(x, 3) for x in drawn}) > 150  # the range of the second is drawn as ever


def test_a_bar_binds_closer_than_a_plus():
    first, second = parse("gaussian|speckle:p=0.5+quantise").parts
    assert (str(first), str(second)) == ("gaussian|speckle:p=0.5", "quantise")
    assert len(first.parts) == 2


def test_parentheses_keep_a_chain_together():
    spec = "gaussian:std=0,mean=10|(gaussian:std=0,mean=20+gaussian:std=0,mean=30)+gaussian:std=0,mean=100"
    noise = parse(spec)
    assert str(noise) == spec
    assert str(parse(str(noise))) == spec
    assert [float(one.mean.low) for one in noise.each()] == [10, 20, 30, 100]
    header = Header("image", 3, 100, 300)
    drawn = {round(float(noise.stream(header, rng(s))(HALF).mean() - 0.5) * 255) for s in range(20)}
    assert drawn == {110, 150}
    batch = np.broadcast_to(HALF[:, :2, :2], (200, 3, 2, 2)).copy()
    levels = ((noise(batch, rng())[:, 0, 0, 0] - 0.5) * 255).round()
    assert set(levels) == {110, 150}
    assert set(
        ((noise(torch.from_numpy(batch), torch.Generator().manual_seed(0))[:, 0, 0, 0] - 0.5) * 255)
        .round()
        .tolist()
    ) == {110, 150}
    assert len(parse("(gaussian+camera)").parts[0].parts) == 2
    assert parse("(gaussian)") == parse("gaussian")
    silence = np.zeros((1, 800, 1), np.float32)
    sound = parse("gaussian:std=0,mean=0.1|(gaussian:std=0,mean=0.1+gaussian:std=0,mean=0.2)")
    heard = {
        round(float(sound.stream(Header("audio", 1, 800, rate=8000), rng(s))(silence).mean()), 3) for s in range(20)
    }
    assert heard == {0.1, 0.3}
    with pytest.raises(UsageError, match="snr is for recordings"):
        parse("gaussian|(camera+gaussian:snr=3)")(HALF, rng())


def test_one_of_several_fits_a_file_if_all_do_and_asks_for_a_level_if_any_does():
    picture, recording = Header("image", 3, 8, 8), Header("audio", 1, 800, rate=8000)
    parse("gaussian|camera").check(picture)
    with pytest.raises(InputError, match="camera is for pictures"):
        parse("gaussian:std=0.1|camera").check(recording)
    assert parse("pink|hum:snr=3").asks_level
    assert not parse("pink|hum").asks_level
    with pytest.raises(UsageError, match="gaussian: snr is for recordings"):
        parse("gaussian|gaussian:snr=3")(HALF, rng())


def test_one_of_several_is_drawn_for_recordings_too():
    header, silence = Header("audio", 1, 800, rate=8000), np.zeros((1, 800, 1), np.float32)
    noise = parse("gaussian:std=0,mean=0.1|gaussian:std=0,mean=0.2+gaussian:std=0.001")
    levels = [float(noise.stream(header, rng(seed))(silence).mean()) for seed in range(40)]
    assert {round(level, 2) for level in levels} == {0.1, 0.2}


@pytest.mark.parametrize("rows", [16, 7, 100])
def test_masked_blocks_go_on_where_a_picture_is_cut_and_begin_anew_with_a_frame(rows):
    header = Header("image", 1, 50, 64, frames=2)
    whole = parse("masking:size=10,amount=0.5").stream(header, rng(3))
    cut = parse("masking:size=10,amount=0.5").stream(header, rng(3))
    for _ in range(2):
        frame = np.ones((1, 50, 64), np.float32)
        wanted = whole(frame)
        pieces = [cut(frame[:, top : top + rows]) for top in range(0, 50, rows)]
        assert np.array_equal(np.concatenate(pieces, axis=1), wanted)
        cells = wanted[0].reshape(5, 10, 64)
        assert (cells == cells[:, :1]).all()
        assert 0 < wanted.mean() < 1


def test_a_range_of_sizes_reaches_both_ends():
    noise, ones = parse("masking:size=1-3,amount=0.5"), np.ones((1, 12, 12), np.float32)
    sides = {Masking(size="1-3")._side(draws_for(ones, rng(seed))) for seed in range(50)}
    assert sides == {1, 2, 3}
    runs = set()
    for seed in range(40):
        hit = parse("masking:size=1-3,amount=0.5").stream(Header("image", 1, 12, 12), rng(seed))(ones)[0] == 0
        edges = np.flatnonzero(np.diff(hit.astype(int), axis=0).any(axis=1)) + 1
        runs.add(int(np.gcd.reduce(edges)))
    assert runs == {1, 2, 3}, "of files too"
    assert noise(ones, rng()).mean() < 1


def test_blocks_far_larger_than_the_picture_take_no_memory():
    tracemalloc.start()
    try:
        parse("masking:size=1e8").stream(Header("image", 1, 64, 64), rng())(np.ones((1, 64, 64), np.float32))
        header = Header("audio", 1, 64, rate=48_000)
        parse("masking:size=1e7").stream(header, rng())(np.ones((1, 64, 1), np.float32))
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_each_size_of_a_range_is_as_likely_in_files(monkeypatch):
    sizes = []
    real = Masking._whole
    monkeypatch.setattr(Masking, "_whole", lambda self, u: sizes.append(real(self, u)) or sizes[-1])
    for seed in range(2000):
        parse("masking:size=1-4").stream(Header("image", 1, 4, 4), rng(seed))
    counts = np.bincount(sizes)[1:]
    assert len(counts) == 4
    assert np.abs(counts - 500).max() < 100, "five standard deviations"


@pytest.mark.parametrize("spec", ["clipping:crest=10000", "clipping:crest=-201", "gaussian:snr=201"])
def test_decibels_beyond_all_measure_are_refused(spec):
    with pytest.raises(UsageError, match=r"must be in -200\.\.200"):
        parse(spec)


def test_a_hum_that_no_sample_could_show_is_refused():
    header = Header("audio", 1, 800, rate=8000)
    with pytest.raises(InputError, match="hum: 4000 Hz is not below 4000 Hz"):
        parse("hum:frequency=4000").check(header)
    parse("hum:frequency=3999-9000").check(header)
    with pytest.raises(InputError, match="hum is for recordings"):
        parse("hum:frequency=4000").check(Header("image", 3, 8, 8))


def test_chain_prints_its_parts():
    assert str(Chain((Gaussian(std=5), Gaussian(std=7)))) == "gaussian:std=5+gaussian:std=7"


@pytest.mark.parametrize("spec", ["pink", "brown", "hum", "clicks", "dropouts", "clipping"])
def test_noise_of_recordings_is_not_for_pictures(spec):
    with pytest.raises(UsageError, match="for recordings"):
        parse(spec)(HALF, rng())


def test_an_snr_is_not_for_pictures():
    with pytest.raises(UsageError, match="gaussian: snr is for recordings, std for pictures"):
        parse("gaussian:snr=10")(HALF, rng())


@pytest.mark.parametrize("spec", ["gaussian:std=0-55+salt-pepper:p=0.5", "speckle+poisson+jpeg+masking:size=4"])
def test_a_stream_of_blocks_is_what_the_drawn_chain_gives_block_after_block(spec):
    header = Header(kind="image", channels=3, length=200, width=300)
    one, other = rng(5), rng(5)
    hit, drawn = parse(spec).stream(header, one), parse(spec).drawn(other)
    for top in range(0, 200, 64):
        block = HALF[:, top : top + 64]
        assert np.array_equal(hit(block), drawn(block, other))
