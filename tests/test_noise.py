"""How noise passes through layers: every law against draws, integrals and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import ROOT

from denoise_cli import gaussian
from denoise_cli.errors import UsageError
from denoise_cli.noise import drawing, moments
from denoise_cli.noise.activations import Affine, LeakyReLU, ReLU, Sigmoid, Tanh
from denoise_cli.noise.density import Law
from denoise_cli.noise.layers import FORMS, Conv, MaxPool, parse, propagate, spell
from denoise_cli.noise.moments import Moments
from denoise_cli.noise.sampling import draw, ks_distance
from denoise_cli.noise.settings import KINDS

SETTINGS = 20


def worst_distance(kind: str, count: int) -> float:
    distances, index = [], list(KINDS).index(kind)
    for seed in range(SETTINGS):
        layers, mu, sigma = KINDS[kind](np.random.default_rng([index, seed, 0]))
        samples = draw(layers, mu, sigma, count, np.random.default_rng([index, seed, 1]))[-1]
        step = propagate(layers, mu, sigma)[-1]
        assert step.exact
        distances.append(ks_distance(samples, step.law))
    return max(distances)


def test_the_kinds_are_those_of_the_paper_and_compositions():
    assert {"conv", "relu", "leaky-relu", "tanh", "sigmoid", "maxpool"} < set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_law(kind):
    assert worst_distance(kind, 4000) < 2.2 / math.sqrt(4000)  # one in 16,000 by chance


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_million_draws_are_within_0_005_of_the_law(kind):
    assert worst_distance(kind, 1_000_000) < 0.005


@pytest.mark.parametrize("sigma", [25, 200, 2000])
@pytest.mark.parametrize(
    "layers", [[Tanh()], [Sigmoid()], [Sigmoid(), Tanh()], [ReLU(), Tanh()], [MaxPool(2), Sigmoid()]]
)
def test_draws_have_the_law_where_the_activation_saturates_at_both_ends(layers, sigma):
    samples = draw(layers, 0, sigma, 4000, np.random.default_rng(5))[-1]
    assert ks_distance(samples, propagate(layers, 0, sigma)[-1].law) < 2.2 / math.sqrt(4000)
    wrong = propagate(layers, 0.25 * sigma, sigma)[-1].law
    assert ks_distance(samples, wrong) > 0.05


def test_sigmoid_is_right_to_the_last_digits_near_0():
    right = [math.exp(-700), math.exp(-40), 0.5, 1]
    assert Sigmoid()(np.array([-700.0, -40, 0, 40])) == pytest.approx(right, rel=1e-13, abs=0)
    assert Sigmoid()(np.array([-1e9, 1e9])).tolist() == [0, 1]


def test_the_distance_tells_a_wrong_law():
    samples = draw([ReLU()], 0, 1, 4000, np.random.default_rng(0))[-1]
    assert ks_distance(samples, Law()) == pytest.approx(0.5, abs=0.02)  # without the atom at 0
    assert ks_distance(samples, Law(0.2, 1, 1, (ReLU(),))) > 0.05
    pooled = draw([MaxPool(2)], 0, 1, 4000, np.random.default_rng(0))[-1]
    assert ks_distance(pooled, Law(0, 1, 3)) > 0.1


# --- Integrals --------------------------------------------------------------------------------------------


def integral(law: Law, weight=np.ones_like) -> tuple[float, float]:
    """Of weight times density by Gauss-Legendre between quantiles, with the atom; and the probability it covers.

    Left out is what lies so near to the ends of tanh and sigmoid that floating point cannot tell it from them.
    """
    ends = np.logspace(-14, -2, 60)
    inner = law.quantile(np.unique(np.concatenate([ends, np.linspace(0.01, 0.99, 200), 1 - ends])))
    for end in law.quantile([0.0, 1.0]):
        inner = inner[np.abs(inner - end) > (1e-9 if law.atom is None or end != law.atom[0] else -1)]
    kinks = [0.0, 0.5] + [m.shift for m in law.maps if isinstance(m, Affine)]
    edges = np.unique([*inner, *(k for k in kinks if inner[0] < k < inner[-1])])
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    y = middle + half * nodes
    total = float((half * weights * law.density(y) * weight(y)).sum())
    if law.atom is not None:
        total += law.atom[1] * float(weight(np.array([law.atom[0]]))[0])
    return total, float(law.cdf(edges[-1]) - law.cdf_left(edges[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_density_and_atom_integrate_to_the_distribution_function_and_to_the_moments(kind):
    whole = 0
    for seed in range(SETTINGS):
        layers, mu, sigma = KINDS[kind](np.random.default_rng([seed, 2]))
        law = propagate(layers, mu, sigma)[-1].law
        total, covered = integral(law)
        assert total == pytest.approx(covered, abs=2e-6), (law, seed)
        if covered < 1 - 1e-8:
            continue
        whole += 1
        assert total == pytest.approx(1, abs=2e-6)
        mean, std = law.moments.mean, law.moments.std
        assert integral(law, lambda y: y)[0] == pytest.approx(mean, abs=1e-5 * (abs(mean) + std)), (law, seed)
        square = integral(law, lambda y: (y - mean) ** 2)[0]  # noqa: B023
        assert square == pytest.approx(std**2, rel=1e-4), (law, seed)
    assert whole >= SETTINGS // 2


def beyond_the_atom(law: Law) -> np.ndarray:
    atom = law.atom[1] if law.atom else 0.0
    return atom + (1 - atom) * np.linspace(0.05, 0.95, 19)


@pytest.mark.parametrize("kind", KINDS)
def test_density_is_the_derivative_of_the_distribution_function(kind):
    layers, mu, sigma = KINDS[kind](np.random.default_rng([3, 3]))
    law = propagate(layers, mu, sigma)[-1].law
    y = law.quantile(beyond_the_atom(law))
    y = y[np.abs(y - law.quantile(1.0)) > 1e-4]  # at the end of tanh the density changes within any step
    h = 1e-6 * law.moments.std
    slope = (law.cdf(y + h) - law.cdf(y - h)) / (2 * h)
    assert len(y) > 5
    assert slope == pytest.approx(law.density(y), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_quantile_is_the_inverse_of_the_distribution_function(kind):
    layers, mu, sigma = KINDS[kind](np.random.default_rng([4, 4]))
    law = propagate(layers, mu, sigma)[-1].law
    p = beyond_the_atom(law)
    assert law.cdf(law.quantile(p)) == pytest.approx(p, abs=1e-9)


def test_the_atom_is_a_step_of_the_distribution_function():
    law = Law(0.3, 2.0).through(ReLU()).largest_of(3).through(Sigmoid())
    assert law.atom == pytest.approx((0.5, float(gaussian.cdf(-0.15)) ** 3))
    assert law.cdf_left(0.5) == 0
    assert law.cdf(0.5) == pytest.approx(law.atom[1])
    assert law.density([0.4, 0.5]).tolist() == [0, 0]


def test_a_relu_that_is_never_reached_has_no_atom_and_one_that_always_acts_is_nothing_else():
    assert Law().through(Sigmoid()).through(ReLU()).atom is None
    always = Law().through(Sigmoid()).through(Affine(1.0, -2.0)).through(ReLU())
    assert always.atom == (0.0, 1.0)
    assert always.moments.std == 0
    shifted = Law().through(Sigmoid()).through(Affine(2.0295, -0.2784)).through(ReLU())
    assert shifted.atom[0] == 0  # to the bit, though the way back and forth rounds


def test_max_pooling_changes_places_with_what_never_decreases():
    first = propagate(parse("tanh,maxpool(5),leaky-relu(0.3)"), 0.4, 1.3)[-1].law
    last = propagate(parse("maxpool(5),tanh,leaky-relu(0.3)"), 0.4, 1.3)[-1].law
    y = np.linspace(-0.29, 0.99, 50)
    assert first.cdf(y) == pytest.approx(last.cdf(y), abs=1e-15)


@pytest.mark.parametrize(("activation", "one", "two"), [(Tanh(), 0.45, 0.55), (Sigmoid(), 1.9, 2.1)])
def test_a_wide_gaussian_comes_out_with_two_humps(activation, one, two):
    """As the docstrings say: tanh beyond a variance of 1/2, the sigmoid beyond 2."""

    def humps(variance: float) -> int:
        law = Law(0, math.sqrt(variance)).through(activation)
        slope = np.diff(law.density(law.quantile(np.linspace(0.001, 0.999, 4000))))
        return int(((slope[:-1] > 0) & (slope[1:] <= 0)).sum())

    assert (humps(one), humps(two)) == (1, 2)


# --- Moments ----------------------------------------------------------------------------------------------


def test_rectified_gaussian():
    mean, variance = moments.rectified(0, 3)
    assert mean == pytest.approx(3 / math.sqrt(2 * math.pi))
    assert variance == pytest.approx(9 * (0.5 - 0.5 / math.pi))


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0, 2.0])
def test_closed_moments_of_both_relus_agree_with_quadrature(alpha):
    for mu, sigma in [(0, 1), (1.5, 0.7), (-1.5, 0.7), (30, 0.1), (-30, 0.1), (0.01, 40)]:
        known = Law(mu, sigma).through(LeakyReLU(alpha) if alpha else ReLU()).moments
        mean, variance = moments.leaky_rectified(mu, sigma, alpha)
        assert mean == pytest.approx(known.mean, rel=1e-9, abs=1e-12)
        assert variance == pytest.approx(known.std**2, rel=1e-8, abs=1e-12)


def test_noise_that_has_died_stays_dead():
    mean, variance = moments.leaky_rectified([-2.0, 0.0, 2.0], [0.0, 0.0, 0.0], 0.1)
    assert mean == pytest.approx([-0.2, 0, 2])
    assert variance.tolist() == [0, 0, 0]
    assert [float(v) for v in moments.larger_of_two((1.0, 0.0), (2.0, 0.0))] == [2, 0]


def test_largest_of_two_and_three_in_closed_form_and_the_means_of_four_and_five():
    for n in (1, 2, 3):
        known = Law(0.7, 1.5, n).moments
        mean, variance = moments.largest(n)
        assert known.mean == pytest.approx(0.7 + 1.5 * mean, abs=1e-12)
        assert known.std**2 == pytest.approx(2.25 * variance, abs=1e-12)
    assert moments.largest(4) is None
    four = 6 / math.pi**1.5 * math.atan(math.sqrt(2))  # David and Nagaraja, sec. 3.2
    five = 5 / (4 * math.sqrt(math.pi)) + 15 / (2 * math.pi**1.5) * math.asin(1 / 3)
    assert Law(n=4).moments.mean == pytest.approx(four, abs=1e-12)
    assert Law(n=5).moments.mean == pytest.approx(five, abs=1e-12)


def test_larger_of_two_unequal_correlated_normals_against_draws():
    rng = np.random.default_rng(0)
    for rho in (-0.8, 0.0, 0.9):
        pair = rng.multivariate_normal([0.5, -0.2], [[4, 2 * rho], [2 * rho, 1]], 400_000).max(axis=1)
        mean, variance = moments.larger_of_two((0.5, 4.0), (-0.2, 1.0), rho)
        assert pair.mean() == pytest.approx(mean, abs=0.01)
        assert pair.var() == pytest.approx(variance, rel=0.01)
    two = moments.larger_of_two((0.0, 1.0), (0.0, 1.0))
    assert two == pytest.approx(moments.largest(2))


def test_smooth_maps_by_hermite_agree_with_quadrature_that_knows_the_bends():
    for activation in (Tanh(), Sigmoid()):
        known = Law(0.4, 0.5).through(activation).moments
        mean, variance = moments.smooth(activation, 0.4, 0.5)
        assert mean == pytest.approx(known.mean, abs=1e-9)
        assert variance == pytest.approx(known.std**2, abs=1e-8)
    assert Law(0, 5).through(Sigmoid()).moments.mean == pytest.approx(0.5, abs=1e-14)


def test_correlated_inputs_of_a_convolution():
    mixing = np.array([[1, 0, 0], [0.5, 2, 0], [-1, 0.3, 0.7]])
    covariance, mean, weights = mixing @ mixing.T, [1, -2, 0.5], [0.2, -1, 3]
    centre, variance = moments.combination(weights, mean, covariance, bias=0.25)
    assert centre == pytest.approx(0.2 + 2 + 1.5 + 0.25)
    samples = (np.random.default_rng(0).normal(size=(20_000, 3)) @ mixing.T + mean) @ weights + 0.25
    assert ks_distance(samples, Law(centre, math.sqrt(variance))) < 2 / math.sqrt(20_000)
    assert moments.combination([1, 2], 0.0, [1.0, 4.0]) == (0, 17)
    assert moments.combination([1, 2], 3.0, 2.0) == (9, 10)


def test_cumulants_of_a_weighted_sum_against_all_cases_of_coins():
    p, weights = 0.3, [1.0, -0.5, 2.0]
    coin = Moments.of(np.array([0.0, 1.0]), np.array([1 - p, p]))
    cases = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1)
    chances = np.prod(np.where(cases == 1, p, 1 - p), axis=0)
    exact = Moments.of(np.array(weights) @ cases + 0.1, chances)
    found = moments.weighted_sum(weights, coin, bias=0.1)
    for name in ("mean", "std", "skewness", "kurtosis"):
        assert getattr(found, name) == pytest.approx(getattr(exact, name)), name


def test_what_is_no_longer_exact_says_so_and_keeps_its_moments():
    layers = parse("relu,conv(0.5,0.3,0.2),relu")
    steps = propagate(layers, 0.2, 1)
    assert [step.exact for step in steps] == [True, True, False, False]
    samples = draw(layers, 0.2, 1, 200_000, np.random.default_rng(0))[2]
    seen = Moments.of(samples)
    for name in ("mean", "std", "skewness", "kurtosis"):
        assert getattr(steps[2].moments, name) == pytest.approx(getattr(seen, name), abs=0.03), name
    assert ks_distance(samples, steps[2].law) > 0.05  # a Gaussian it is not
    many = propagate(parse("relu,conv(100*0.1)"))[-1]
    assert many.moments.skewness == pytest.approx(steps[1].moments.skewness / 10, rel=0.5)  # the limit theorem


def test_one_weight_keeps_a_law_exact_if_it_is_positive():
    assert propagate(parse("relu,conv(0.5,bias=1)"))[-1].exact
    assert propagate(parse("relu,conv(0.5,bias=1)"))[-1].law.atom == (1.0, 0.5)
    assert not propagate(parse("relu,conv(-0.5)"))[-1].exact


# --- Specs ------------------------------------------------------------------------------------------------


def some_layers(rng: np.random.Generator) -> list:
    def one():
        kind = rng.integers(6)
        if kind == 0:
            weights = np.repeat(rng.normal(size=3) * 10.0 ** rng.integers(-9, 9), rng.integers(1, 4, 3))
            return Conv(tuple(weights.tolist()), float(rng.choice([0.0, 0.1, -1e-7, 3.0])))
        if kind == 1:
            return LeakyReLU(float(rng.uniform(0.001, 2)))
        return MaxPool(int(rng.integers(1, 100))) if kind == 2 else [ReLU(), Tanh(), Sigmoid()][kind - 3]

    return [one() for _ in range(rng.integers(1, 6))]


def test_parse_and_spell_are_inverses():
    rng = np.random.default_rng(0)
    for _ in range(300):
        layers = some_layers(rng)
        assert parse(spell(layers)) == layers
        assert spell(parse(spell(layers))) == spell(layers)


def test_specs_as_people_write_them():
    assert parse(" Conv( 3*0.5, 1e-1 , bias=-2 ) , ReLU, leaky_relu, maxpool(2x2)") == [
        Conv((0.5, 0.5, 0.5, 0.1), -2.0), ReLU(), LeakyReLU(0.01), MaxPool(4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("", "choose from conv, relu"),
        ("relu,,tanh", "choose from"),
        ("gelu", 'unknown layer "gelu"; choose from conv'),
        ("relu(1)", "write relu"),
        ("conv", "write conv("),
        ("conv()", "write conv("),
        ("conv(a)", '"conv(a)"'),
        ("conv(1,bias=x)", "write conv("),
        ("conv(1,bias=1,bias=2)", "write conv("),
        ("conv(0*3)", "write conv("),
        ("conv(999999999999*1)", "write conv("),
        ("conv(60000*1,60000*1)", "65536"),
        ("conv(0,0)", "all weights are 0"),
        ("conv(nan)", "must be in"),
        ("conv(1", "brackets"),
        ("conv(1))", "brackets"),
        ("conv((1))", "brackets"),
        ("leaky-relu(0)", "must be positive"),
        ("leaky-relu(-0.1)", "must be positive"),
        ("leaky-relu(1,2)", "write leaky-relu"),
        ("maxpool", "write maxpool"),
        ("maxpool(0)", "not 0"),
        ("maxpool(2.5)", "write maxpool"),
        ("maxpool(99999x99999)", "65536"),
    ],
)
def test_a_wrong_spec_is_named_with_what_would_be_right(spec, named):
    with pytest.raises(UsageError) as caught:
        parse(spec)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("mu", "sigma"), [(0, 0), (0, -1), (math.nan, 1), (0, math.inf)])
def test_what_is_no_normal_distribution_is_refused(mu, sigma):
    with pytest.raises(UsageError, match="a sigma in 1e-09"):
        propagate([ReLU()], mu, sigma)


def test_too_many_draws_are_refused_and_noise_that_is_gone_cannot_be_summed():
    with pytest.raises(UsageError, match="lower --samples"):
        draw(parse("maxpool(65536)"), 0, 1, 1_000_000, np.random.default_rng(0))
    with pytest.raises(UsageError, match="left no noise"):
        propagate(parse("sigmoid,conv(1,bias=-2),relu,conv(1,1)"))


def test_draws_do_not_depend_on_how_they_are_cut(monkeypatch):
    from denoise_cli.noise import sampling

    layers = parse("conv(0.5,0.5),maxpool(3)")
    whole = draw(layers, 0, 1, 1000, np.random.default_rng(0))
    monkeypatch.setattr(sampling, "CHUNK", 60)
    cut = draw(layers, 0, 1, 1000, np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip(whole, cut, strict=True))


def test_the_picture_holds_a_panel_for_each_layer_and_the_stem_of_the_atom():
    layers = parse("relu,tanh,conv(2*0.5)")
    page = drawing.page(propagate(layers), draw(layers, 0, 1, 2000, np.random.default_rng(0)))
    assert page.size == (1280, 760)
    stem = np.all(np.asarray(page) == (0xD5, 0x5E, 0x00), axis=-1)
    assert stem[:380, 640:].sum() > 100  # relu
    assert stem[380:, :640].sum() > 100  # tanh keeps the atom
    assert stem[:380, :640].sum() == stem[380:, 640:].sum() == 0


def test_every_picture_of_the_gallery_is_on_the_page_with_its_command(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from make_noise_gallery import GALLERY

    page = (ROOT / "docs/noise.md").read_text()
    assert len(GALLERY) >= 8
    assert {name for layers, *_ in GALLERY.values() for name in FORMS if name in layers} == set(FORMS)
    for name, (layers, mu, sigma) in GALLERY.items():
        assert (ROOT / "docs/noise" / f"{name}.png").exists()
        assert f"](noise/{name}.png)" in page
        assert f'--layers "{layers}" --mu {mu} --sigma {sigma}' in page
        assert parse(layers)
