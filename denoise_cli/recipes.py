"""Trainings by name: what ``denoise train --recipe NAME`` fills in where the command line says nothing. Data only.

Options are named and spelled as those of ``denoise train``. A recipe of several stages is that many trainings; each
starts from the averaged weights of the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from denoise_cli.errors import UsageError, choice


@dataclass(frozen=True)
class Recipe:
    """Options by name. A stage overrides `options`; every stage names the same ones."""

    about: str  # one line
    options: Mapping[str, Any]
    stages: tuple[Mapping[str, Any], ...] = ({},)
    average_of: tuple[str, ...] = ()  # recipes whose models are averaged; there is no training beyond theirs
    begins_with: str = ""  # the recipe whose model is trained on

    @property
    def made_of(self) -> tuple[str, ...]:
        """The recipes whose models it needs."""
        return self.average_of or ((self.begins_with,) if self.begins_with else ())


# Adam and its rate as in Keras, of which the text's program is one; MNIST is never turned or mirrored: a 6 is no 9.
_MNIST = {
    "arch": "latent-dae", "loss": "mse", "optimiser": "adam", "lr": 1e-3, "batch_size": 32, "epochs": 10.0,
    "augment": False,
}  # fmt: skip

_WHITE, _NONE = "gaussian:std=0-55", "gaussian:std=0"
_CLEAR, _SEEN = f"{_WHITE}+quantise:p=0.7", "camera+jpeg:quality=60-95,p=0.5+quantise:p=0.7"
_BLOTCHED = "(camera:chroma=2-6+jpeg:quality=75-97)"
_SENT = f"({_WHITE}+jpeg:quality=60-95)"
_AFTER = ["jpeg:quality=60-95,p=0.15", "quantise:p=0.7"]
_UNET = {"arch": "unet", "optimiser": "muon", "amp": True}
_SMALL = {"net": ["widths=32,64,128", "blocks=2,2,3"], "channels": 3, "gray": 0.4, "loss": "charbonnier",
          "noise": [_CLEAR]}  # fmt: skip
_COMMON = (  # where all nets for pictures begin
    {**_SMALL, "max_time": "72m", "batch_size": 32, "patch": 64, "lr": 7e-3, "ema": 0.999, "seed": 1},
    {**_SMALL, "max_time": "13m30s", "batch_size": 8, "patch": 160, "lr": 3e-3, "ema": 0.998, "seed": 2},
    {**_SMALL, "max_time": "60m", "batch_size": 8, "patch": 160, "lr": 5e-3, "ema": 0.999, "seed": 3},
)
_DEEPER = {"net": ["widths=32,64,128", "blocks=2,2,4"], "loss": "log-mse"}
_PLAIN = {
    "noise": ["gaussian:std=2-55", "quantise:p=0.8"],
    "gray": 0.0,
    "batch_size": 4,
    "patch": 160,
    "ema": 0.999,
}
_COLOUR = {**_DEEPER, "channels": 3, "gray": 0.1, "batch_size": 8, "ema": 0.999}
_IN_GRAY = {**_DEEPER, "channels": 1, "gray": 0.0, "noise": [_CLEAR],
            "max_time": "62m", "batch_size": 8, "patch": 160, "lr": 5e-3, "ema": 0.999, "seed": 5}  # fmt: skip

RECIPES: dict[str, Recipe] = {
    "mnist-latent16": Recipe(
        "MNIST: latent vector of 16, noise N(0.5, 0.5) of full scale, clipped; MSE, Adam, 10 epochs",
        {**_MNIST, "noise": ["gaussian:std=0.5fs,mean=0.5fs", "quantise"]},
    ),
    "mnist-latent16-range": Recipe(
        "the same, with the noise's std drawn from 0 to 1 of full scale for every picture",
        {**_MNIST, "noise": ["gaussian:std=0-1fs,mean=0.5fs", "quantise"]},
    ),
    "mnist-latent16-plain": Recipe(
        "the same without noise: a plain autoencoder",
        {**_MNIST, "noise": ["gaussian:std=0"]},
    ),
    "mnist-conv": Recipe(
        "MNIST: convolutions 32-32 down, 32-32 up, sigmoid, BCE, noise N(0, 0.5) of full scale, clipped",
        {**_MNIST, "arch": "conv-dae", "loss": "bce", "noise": ["gaussian:std=0.5fs", "quantise"]},
    ),
    "mnist-dense": Recipe(
        "MNIST: six dense layers, 512-256-64 and back, sigmoid, BCE, noise N(0, 0.5) of full scale, clipped",
        {**_MNIST, "arch": "dense-dae", "loss": "bce", "noise": ["gaussian:std=0.5fs", "quantise"]},
    ),
    "image": Recipe(
        "models/image.onnx: the same beginning as gray, then 150 minutes with camera noise and drawings; two cores",
        _UNET,
        (
            *_COMMON,
            # As it was run. `|` binds closer than `+`, so this is several noises on top of each other: harder than
            # was meant. The last two stages have one of them at a time.
            {**_COLOUR, "noise": ["|".join([_CLEAR] * 3 + [_SEEN] * 2)],
             "max_time": "48m", "patch": 144, "lr": 5e-3, "seed": 6},
            {**_COLOUR, "noise": ["|".join([_WHITE] * 5 + [_NONE] + ["camera"] * 2), *_AFTER],
             "max_time": "32m", "patch": 160, "lr": 3e-3, "seed": 9},
            {**_COLOUR, "noise": ["|".join([_WHITE] * 4 + [_NONE] + ["camera"] * 2 + [_BLOTCHED]), *_AFTER],
             "max_time": "70m", "patch": 160, "lr": 4e-3, "seed": 11},
        ),
    ),
    "image-white": Recipe(
        "models/image-white.onnx: the first two stages of image, then white noise only, six hours of one core",
        _UNET,
        # As it was run: the last stages in float, with 30 and with 60 of the 120 drawings, every fourth and second.
        (*_COMMON[:2], {**_DEEPER, **_PLAIN, "channels": 3, "max_time": "105m", "lr": 3e-3, "seed": 21},
         {**_DEEPER, **_PLAIN, "channels": 3, "max_time": "132m", "lr": 2e-3, "seed": 23},
         {**_DEEPER, **_PLAIN, "channels": 3, "max_time": "100m", "lr": 1e-3, "seed": 41}),
    ),
    "image-best": Recipe(
        "not trained yet, for a GPU: four times the operations of image, the same noise; two hours",
        {**_UNET, "net": ["widths=64,128,256", "blocks=2,2,4"], "channels": 3, "gray": 0.2, "loss": "log-mse",
         "noise": ["|".join([_WHITE] * 5 + [_NONE] + ["camera"] * 2 + [_BLOTCHED]), *_AFTER]},
        ({"max_time": "90m", "batch_size": 64, "patch": 128, "lr": 7e-3, "ema": 0.999, "seed": 31},
         {"max_time": "30m", "batch_size": 32, "patch": 192, "lr": 2e-3, "ema": 0.999, "seed": 32}),
    ),
    "gray": Recipe(
        "models/gray.onnx: the same beginning, then three hours in gray, the last two with drawings; two cores",
        _UNET,
        (
            *_COMMON,
            _IN_GRAY,
            {**_DEEPER, "channels": 1, "gray": 0.0,
             "noise": ["|".join([_WHITE] * 6 + [_NONE, "camera", _SENT]), "quantise:p=0.8"],
             "max_time": "26m", "batch_size": 8, "patch": 160, "lr": 3e-3, "ema": 0.999, "seed": 12},
            # As it was run: 2,063 steps on one thread, in float, of a processor without bfloat16; ten minutes of
            # two cores with it. To its end in 40 minutes, then gone on from there (--resume).
            {**_DEEPER, "channels": 1, "gray": 0.0,
             "noise": ["|".join([_WHITE] * 8 + [_NONE, "camera", _SENT]), "quantise:p=0.8"],
             "max_time": "105m", "batch_size": 8, "patch": 160, "lr": 2e-3, "ema": 0.998, "seed": 13},
        ),
    ),
    "gray-white": Recipe(
        "models/gray-white.onnx: as gray before it saw drawings, then white noise only, three hours of one core",
        _UNET,
        (
            *_COMMON,
            _IN_GRAY,
            # As it was run: in float, with 30 of the 120 drawings, every fourth.
            {**_DEEPER, **_PLAIN, "channels": 1, "max_time": "55m", "lr": 2e-3, "seed": 22},
            {**_DEEPER, **_PLAIN, "channels": 1, "max_time": "112m", "lr": 1.5e-3, "seed": 52},
        ),
    ),
    "int8": Recipe(
        "the int8 form of a model for pictures that --init names: 18 minutes of one core",
        {"precision": "int8", "optimiser": "muon", "lr": 1e-3, "amp": True, "batch_size": 8, "patch": 160,
         "gray": 0.1, "ema": 0.998, "max_time": "18m"},
    ),
    "speech": Recipe(
        "models/speech.onnx: speech-mean, then eight hours on one core with music too; give it --noise-dir",
        # As it was run: in float on one thread. Music lay in the folder of the noise, cut to 11 s; for the last two
        # stages more noise, too (docs/training-data.md). Before those Muon trained the inner ends of the two nets,
        # PESQ's symmetric part weighed less, and noises had their own speed.
        {"kind": "audio", "loss": "perceptual", "optimiser": "muon", "batch_size": 4, "patch": 65536, "amp": True},
        ({"max_time": "105m", "lr": 2e-3, "seed": 32, "keep": 0.0},
         {"max_time": "120m", "lr": 2e-3, "seed": 33, "keep": 0.5},
         {"max_time": "82m", "lr": 2e-3, "seed": 34, "keep": 0.5},
         {"max_time": "70m", "lr": 1.5e-3, "seed": 36, "keep": 0.25},
         # Voices and noises up to the end of the band, which LQ had cut off; the level and the floor of PESQ.
         {"max_time": "93m", "lr": 1.5e-3, "seed": 40, "keep": 0.5}),
        begins_with="speech-mean",
    ),
    "speech-mean": Recipe(
        "what speech begins with: the mean of speech-deep and speech-fast; give it --noise-dir",
        {"kind": "audio"}, average_of=("speech-deep", "speech-fast"),
    ),
    "speech-deep": Recipe(
        "the larger net in models/speech.onnx: 83 minutes on two cores, then 247 on one; give it --noise-dir",
        {"kind": "audio", "arch": "band-mixer", "loss": "spectral", "optimiser": "muon", "batch_size": 4,
         "patch": 65536, "amp": True, "keep": 0.0},
        # As it was run: the third stage in float, and only from there on voices made brighter (mixing.py); the
        # last one on a processor with bfloat16, where it had four times as many steps.
        ({"max_time": "41m", "lr": 7e-3, "seed": 1}, {"max_time": "42m", "lr": 5e-3, "seed": 3},
         {"max_time": "132m", "lr": 2.5e-3, "seed": 8},
         {"max_time": "115m", "lr": 5e-3, "loss": "perceptual", "seed": 9}),
    ),
    "speech-fast": Recipe(
        "models/speech-fast.onnx: a third of the cost; 520 minutes on one core; give it --noise-dir",
        {"kind": "audio", "arch": "band-mixer", "optimiser": "muon", "batch_size": 4, "patch": 65536,
         "net": ["channels=32", "mixed=32", "stem=12", "dilations=1,2,4,8,16,32"]},
        ({"max_time": "70m", "lr": 7e-3, "loss": "spectral", "seed": 1, "keep": 0.0},
         {"max_time": "100m", "lr": 6e-3, "loss": "perceptual", "seed": 2, "keep": 0.0},
         # As it was run: only from here on voices made brighter (mixing.py). The two after that with --amp, on a
         # processor with bfloat16.
         {"max_time": "21m", "lr": 3e-3, "loss": "perceptual", "seed": 7, "keep": 0.0},
         {"max_time": "57m", "lr": 5e-3, "loss": "perceptual", "seed": 10, "keep": 0.0},
         {"max_time": "20m", "lr": 2.5e-3, "loss": "perceptual", "seed": 12, "keep": 0.0},
         {"max_time": "112m", "lr": 5e-3, "loss": "perceptual", "seed": 14, "keep": 0.0},
         # In float, with music in the folder of the noise. What speech holds had come before.
         {"max_time": "118m", "lr": 2e-3, "loss": "perceptual", "seed": 34, "keep": 0.0},
         # The same with the noise and the loss that the last stage of speech has.
         {"max_time": "19m", "lr": 1.5e-3, "loss": "perceptual", "seed": 37, "keep": 0.5}),
    ),
}  # fmt: skip


def find(name: str) -> Recipe:
    """A recipe by its name; raises UsageError, with the choices."""
    if name not in RECIPES:
        raise UsageError(choice("recipe", name, (*RECIPES, "help")))
    return RECIPES[name]


def stages(name: str) -> list[dict[str, Any]]:
    """The options of each stage, the last one last."""
    recipe = find(name)
    return [{**recipe.options, **stage} for stage in recipe.stages]
