"""What is compared with what: files into pairs, and one noise into a sweep of noises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from denoise_cli import media
from denoise_cli.corrupt import Chain, Corruption
from denoise_cli.errors import UsageError
from denoise_cli.media import files
from denoise_cli.signal import Kind


@dataclass(frozen=True)
class Pair:
    """What is scored: a clean file, and the noisy one, or None where the noise is made here."""

    name: str
    clean: Path
    noisy: Path | None = None

    @property
    def kind(self) -> Kind:
        """By the name of the clean file, as files are taken from folders."""
        return media.kind_of(self.clean)


def pairs(
    noisy: Path | None,
    clean: Path,
    suffixes: frozenset[str] = media.SUFFIXES,
    say: Callable[[str], None] = files.unsaid,
) -> list[Pair]:
    """Match files by relative path, or, where the extension differs, by relative path without it.

    `suffixes` are those that are taken from folders; `say` is told what is left out. Raises UsageError where a
    side is missing or a noisy file has no clean partner of its kind.
    """
    references = _listing(clean, suffixes, say)
    if noisy is None:
        return [Pair(str(key), path) for key, path in references.items()]
    if noisy.is_file() and clean.is_file():
        return [Pair(noisy.name, clean, noisy)]
    if noisy.is_file() or clean.is_file():
        raise UsageError(f"{noisy} and {clean}: give two files or two folders")
    by_stem: dict[tuple[Kind, Path], list[Path]] = {}
    for key, path in references.items():
        by_stem.setdefault((media.kind_of(key), key.with_suffix("")), []).append(path)
    matched = []
    for key, path in _listing(noisy, suffixes, say).items():
        alike = by_stem.get((media.kind_of(key), key.with_suffix("")), [])
        candidates = [references[key]] if key in references else alike
        if len(candidates) != 1:
            what = "no file" if not candidates else f"{len(candidates)} files"
            raise UsageError(f"{files.printable(path)}: {what} of that name in {clean}")
        matched.append(Pair(str(key), candidates[0], path))
    return matched


def _listing(root: Path, suffixes: frozenset[str], say: Callable[[str], None]) -> dict[Path, Path]:
    jobs = files.below(root, suffixes, say)
    if not jobs:
        what = "no pictures and no recordings" if suffixes == media.SUFFIXES else "no tables"
        raise UsageError(f"{root}: {what} in it")
    return {job.relative: job.source for job in jobs if job.source is not None}


def sweep(noise: Chain, setting: str) -> list[tuple[str, Chain]]:
    """``std=15,25,50`` -> the chain once for each value, put into its first part that has such an option."""
    key, equals, values = setting.partition("=")
    for index, part in enumerate(noise.parts):
        if equals and isinstance(part, Corruption) and key in part.amounts():
            chains = []
            for value in values.split(","):
                changed: Corruption = replace(part, **{key: part.parsed(key, value)})
                chains.append((f"{key}={value}", Chain((*noise.parts[:index], changed, *noise.parts[index + 1 :]))))
            return chains
    raise UsageError(f'--sweep "{setting}": write KEY=VALUE,VALUE,... with an option of {noise}')
