"""Score a denoiser: pairs of noisy and clean files, or clean files that are corrupted here.

    matching.py   which noisy file belongs to which clean one, and which noises to make
    rows.py       what the rows of all kinds have in common, and their means
    pictures.py   PSNR, SSIM, seconds per megapixel
    sounds.py     SI-SDR, SNR, STOI, PESQ, ..., real-time factor
    tables.py     RMSE and SNR in standard deviations, of known and of missing values
    stacks.py     pictures of an array file: one row for all
    anomaly.py    how well files are given back, and the threshold above which one is odd

Inputs and outputs are scored as a file would hold them: clipped and rounded to the file's own depth, which
of a float file is no clipping at all, unless the noise is asked for unclipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from denoise_cli import media
from denoise_cli.corrupt import Chain
from denoise_cli.errors import DenoiseError, UnavailableError, UsageError
from denoise_cli.evaluate import pictures, sounds, tables
from denoise_cli.evaluate.matching import Pair, pairs, sweep
from denoise_cli.evaluate.pictures import METRICS, PictureRow
from denoise_cli.evaluate.rows import AnyRow, Denoiser, Failed, Scored, means
from denoise_cli.evaluate.sounds import SoundRow
from denoise_cli.evaluate.tables import TableRow
from denoise_cli.media.layout import Layout

__all__ = [
    "METRICS", "AnyRow", "Denoiser", "Failed", "Pair", "PictureRow", "Scored", "SoundRow", "TableRow",
    "evaluate", "means", "pairs", "sweep",
]  # fmt: skip


def evaluate(
    matched: Iterable[Pair],
    denoiser: Denoiser | None,
    noise: Chain | None = None,
    *,
    label: str = "",
    seed: int = 0,
    clip: bool = True,
    metrics: Sequence[str] | None = None,
    layout: Layout | None = None,
) -> Iterator[Scored | Failed]:
    """Score every pair; one that cannot be read gives a Failed.

    `denoiser` None scores the noisy input itself. With `noise`, the clean file is corrupted with the
    random numbers that ``denoise corrupt --seed`` would use. `metrics` are those for recordings, names of
    ``sounds.METRICS``; by default all whose packages are installed. `layout` is that of a model for tables.
    """
    for pair in matched:
        try:
            if layout is not None or pair.kind == "table":
                yield tables.score(pair, denoiser, noise, label, seed, layout)
                continue
            yield _score(pair, denoiser, noise, label, seed, clip, metrics)
        except (UnavailableError, UsageError):  # would be the same for every file
            raise
        except DenoiseError as error:
            yield Failed(pair, str(error))
        except Exception as error:  # a decoder may raise anything; the other files go on
            yield Failed(pair, media.describe(error))


def _score(
    pair: Pair,
    denoiser: Denoiser | None,
    noise: Chain | None,
    label: str,
    seed: int,
    clip: bool,
    metrics: Sequence[str] | None,
) -> Scored:
    if pair.kind == "audio":
        return sounds.score(pair, denoiser, noise, label, seed, clip, metrics)
    return pictures.score(pair, denoiser, noise, label, seed, clip)
