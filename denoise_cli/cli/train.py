"""``denoise train``: clean pictures, recordings, tables or series in, a model out."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denoise_cli import memory
from denoise_cli.cli import architectures, plan, recipes, screen
from denoise_cli.cli import options as opt
from denoise_cli.cli.plan import Kind, Precision

if TYPE_CHECKING:
    from denoise_cli.train import fit


def train(
    context: typer.Context,
    clean: Annotated[
        Path,
        typer.Argument(
            metavar="CLEAN_DIR",
            help="A folder of clean files, nested as you like; or a table, or a stack of pictures, idx or .npz.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model to write, .onnx.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            callback=recipes.option,
            is_eager=True,
            help='Options by name, which those given here overrule; "help" lists them.',
        ),
    ] = None,
    kind: Annotated[Kind, typer.Option("--kind", help="What to train on.")] = Kind.image,
    noise_dir: Annotated[
        Path | None, typer.Option("--noise-dir", metavar="DIR", help="audio: recordings of noise to mix in.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME",
            help="Tables, series: a column that the model takes; repeat for more. Others pass through.",
            show_default="those of numbers, but for clocks",
        ),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            callback=architectures.option,
            is_eager=True,
            help="unet, dncnn, conv-dae, latent-dae, dense-dae; band-mixer for audio; dense for tables; series; "
            '"help" lists them with their options.',
            show_default="pictures unet, audio band-mixer, tables dense",
        ),
    ] = None,
    net: Annotated[
        list[str] | None,
        typer.Option(
            "--net", metavar="KEY=VALUE", help="An option of the net, e.g. widths=48,96,192; see --arch help."
        ),
    ] = None,
    noise: opt.TrainingNoise = None,
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss", help="mse, l1, charbonnier, log-mse, bce; spectral, perceptual.", show_default="the net's own"
        ),
    ] = None,
    optimiser: Annotated[
        str | None,
        typer.Option(
            "--optimiser", "--optimizer", help="muon, adamw, adam or sgd.", show_default="muon; adamw for tables"
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", help="Peak learning rate; a cosine takes it to zero.", show_default="the optimiser's"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("-b", "--batch-size", help="Patches, segments or rows a step.", show_default="16; tables 128"),
    ] = None,
    patch: Annotated[
        int | None,
        typer.Option(
            "--patch",
            help="Side of a patch, pixels; or a segment, samples.",
            show_default="pictures 64, audio 32768, series 512",
        ),
    ] = None,
    rate: Annotated[int, typer.Option("--rate", min=1000, max=384_000, help="audio: Hz of the model.")] = 16_000,
    gray: Annotated[float, typer.Option("--gray", help="Share of patches shown in gray to a colour net.")] = 0.2,
    channels: Annotated[
        int | None, typer.Option("--channels", help="1 gray, 3 colour.", show_default="as the pictures")
    ] = None,
    augment: Annotated[
        bool, typer.Option("--augment/--no-augment", help="Pictures: turn and mirror them in eight ways.")
    ] = True,
    steps: Annotated[int | None, typer.Option("--steps", help="Stop after this many steps.")] = None,
    epochs: Annotated[
        float | None,
        typer.Option("--epochs", help="Stop when every file, or picture of a stack, has been seen so often."),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option("--max-time", help="Stop learning after this time, 90s, 20m, 1h30m; of a recipe, each stage."),
    ] = None,
    val: Annotated[
        Path | None, typer.Option("--val", help="Validate on these files.", show_default="some are held out")
    ] = None,
    device: opt.Device = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of torch.", show_default="all cores")
    ] = None,
    amp: Annotated[
        bool | None, typer.Option("--amp/--no-amp", help="bfloat16 arithmetic.", show_default="on for cuda")
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision",
            help="int8: the net learns to bear 8-bit integers, and is written in them; --init a float one.",
        ),
    ] = Precision.float,
    weight_noise: Annotated[
        float,
        typer.Option(
            "--weight-noise",
            metavar="STD",
            help="Gaussian noise on the weights in each forward pass, as a share of a tensor's rms: 0.02.",
        ),
    ] = 0.0,
    param_noise: Annotated[
        float,
        typer.Option(
            "--param-noise",
            metavar="STD",
            help="Gaussian noise left on the weights after each step, a share too: 0.002. Falls with the rate.",
        ),
    ] = 0.0,
    fgsm: Annotated[
        float,
        typer.Option(
            "--fgsm",
            metavar="EPS",
            help="Adversarial inputs: the clean ones moved by EPS against the net (FGSM), then the noise. In 8-bit "
            "steps, of recordings full scale = 1.",
        ),
    ] = 0.0,
    seed: opt.Seed = 0,
    ema: Annotated[float, typer.Option("--ema", help="Decay of the averaged weights, which are shipped.")] = 0.999,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="MODEL",
            help="Start from the weights of a shipped model, an .onnx or a .ckpt, as large or smaller. What is not "
            "said is as it was there: --arch, --net, --noise, --loss.",
        ),
    ] = None,
    keep: Annotated[
        float,
        typer.Option(
            "--keep",
            metavar="SHARE",
            help="With --init: the share of its weights that stays in those written, 0.5 say: what it knew is "
            "forgotten less.",
        ),
    ] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside the output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output and its checkpoint.")] = False,
    checkpoint_every: Annotated[str, typer.Option("--checkpoint-every", help="Time between checkpoints.")] = "60s",
    data: Annotated[str, typer.Option("--data-note", help="For the card: what the pictures are.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="For the card: the model's licence.")] = "",
    quiet: opt.Quiet = False,
) -> None:
    """Train a denoiser on clean pictures, recordings, tables or series and export it as ONNX.

    Patches and noise are made on the fly; recordings are mixed with those of --noise-dir and with coloured
    noise, in rooms and at levels drawn at random. --max-time anneals the learning rate to zero at the deadline,
    so whatever time there is gives a finished model. Beside model.onnx stand its checkpoint (model.ckpt), its
    loss curve (model.curve.png) and a sheet original / noisy / denoised (model.sheet.png).
    """
    values = dict(locals())
    from denoise_cli.errors import BackendError, UsageError
    from denoise_cli.media import arrays
    from denoise_cli.media.layout import TABULAR, is_table

    # Before torch is loaded, or a million files listed.
    recipes.check_outputs(context, values, sheet=kind.value not in TABULAR)
    if recipes.averages(context, train, values):
        return
    if kind is Kind.image and is_table(clean) and not arrays.is_named(clean):
        raise UsageError(f"{clean} is a table: say --kind table, or --kind series")
    init = recipes.beginning(context, train, values) or recipes.start(init, output, resume)
    try:
        import torch

        from denoise_cli.train import checkpoint, fit
        from denoise_cli.train.pictures import Pictures
        from denoise_cli.train.sounds import Sounds
        from denoise_cli.train.stacks import Stacks
        from denoise_cli.train.tasks import Task
    except ImportError as error:
        raise BackendError(f'training needs {error.name}; run: pip install "denoise-cli[train]"') from None

    from denoise_cli.train import tables

    values["init"] = init
    tabular: tables.Tabular | None = None if kind.value not in ("table", "series") else kind.value  # type: ignore[assignment]
    plan.refuse(kind, noise_dir, column or [], noise, fgsm)
    if opt.given(context, "steps") and not opt.given(context, "epochs"):
        epochs = None  # the recipe's
    if threads is not None:
        torch.set_num_threads(threads)
    amp = plan.halves(context, amp, fit.pick_device(device).type)
    before = checkpoint.described(init) if init else {}
    settings = plan.settings({**values, "amp": amp, "epochs": epochs}, before)
    describe = {
        "name": output.stem.removesuffix(".int8"),  # a form of a model is called as it is
        "command": shlex.join(["denoise", *sys.argv[1:]]), "licence": licence,
        "data": data or (clean.name if arrays.is_named(clean) or clean.is_file() else f"files in {clean.name}"),
        "recipe": recipes.title(context, recipe),
    }  # fmt: skip
    if kind is Kind.audio:
        task: Task = Sounds(clean, settings, noise_dir, val, rate)
    elif tabular:
        task = tables.Tables(clean, settings, val, tabular, column or ())
    else:
        task = (Stacks if arrays.is_named(clean) else Pictures)(clean, settings, val, channels)
    init = recipes.earlier_stages(context, train, values)  # now that all which can be refused is
    memory.keep_freed()  # torch asks for the same arrays at every step
    with screen.bar(100, " %", quiet=quiet) as bar:
        watch = _Watch(bar, quiet)
        fitted = fit.fit(
            task, output, device=device, init=init, keep=keep, resume=resume, overwrite=overwrite,
            describe=describe, say=lambda line: None if quiet else bar.say(line), report=watch,
            checkpoint_every=plan.duration(checkpoint_every),
        )  # fmt: skip
    if not quiet:
        _tell(output, fitted)


def _tell(output: Path, fitted: fit.Fitted) -> None:
    reached = "".join(f", validation {name} {score:.2f}" for name, score in fitted.scores.items())
    screen.say(f"{output}: {fitted.steps} steps in {fitted.seconds:.0f} s{reached}, halo {fitted.card.halo}")
    first = next(iter(fitted.scores), None)
    if first is not None and fitted.before is not None and fitted.scores[first] < fitted.before < math.inf:
        screen.say(f"it makes things worse: without it {first} is {fitted.before:.2f}; train for longer")
    screen.say(f"parity of torch and onnxruntime: largest difference {fitted.parity:.1e}")


class _Watch:
    """Shows progress: on a terminal in the bar, elsewhere a line every half minute."""

    def __init__(self, bar: screen.Bar, quiet: bool):
        self.bar, self.quiet = bar, quiet
        self.score: float | None = None
        self.said = float("-inf")

    def __call__(self, progress: Any) -> None:
        import time

        self.score = self.score if progress.score is None else progress.score
        quality = "" if self.score is None else f"  val {self.score:.2f} dB"
        note = (
            f"step {progress.step}  loss {progress.loss:.5f}{quality}  {progress.samples_per_second:.0f} samples/s"
        )
        self.bar.update(completed=100 * progress.fraction, note=note)
        if self.bar.drawn or self.quiet or time.monotonic() - self.said < 30:
            return
        self.said = time.monotonic()
        screen.say(f"{note}  {screen.clock(progress.seconds_left)} left")
