"""What ``run`` and ``corrupt`` share between parsing and exiting: find jobs, follow them, sum up."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from denoise_cli import shipped
from denoise_cli.card import PRECISIONS
from denoise_cli.cli import screen, streams
from denoise_cli.cli.options import OnExists
from denoise_cli.errors import ModelError, UsageError, choice, printable
from denoise_cli.media import HEAD, SUFFIXES, TABLE_SUFFIXES, containers, files, formats
from denoise_cli.media.containers import AUDIO_SUFFIXES
from denoise_cli.media.formats import IMAGE_SUFFIXES
from denoise_cli.pipeline import Result
from denoise_cli.report import totals

NEITHER = "not a picture or a recording by its name"


def plan(
    inputs: Sequence[str] | None,
    files_from: str | None,
    output: str | None,
    on_exists: OnExists | None,
    *,
    read: Sequence[Path | None] = (),
    tag: str,
    suffix: Callable[[str], str] | None = None,
    binary_out: bool = True,
    quiet: bool = False,
    suffixes: frozenset[str] = SUFFIXES,
    apart: Path | None = None,
) -> tuple[files.Found, list[files.Job], list[files.Job]]:
    """Find the jobs, settle what exists, and refuse what cannot work before any work is done.

    `read` are files that are read besides the inputs: a model, a mask. `apart` is a folder that holds no inputs.
    Returns what was found, the jobs to do and those to skip; says what is missing or left out.
    """
    listed = [] if files_from is None else _names(files_from)
    names = [*(inputs or []), *listed]
    if not names:
        raise UsageError("nothing to do: name a file, a folder, or - for stdin")
    found = files.find(names, output, tag=tag, suffixes=suffixes, suffix=suffix, apart=apart, mirrored=listed)
    files.keep_apart([job.target for job in found.jobs], read)
    _check_suffix(found.jobs, output)
    if any(job.source is None for job in found.jobs):
        screen.no_terminal_input()
    if any(job.target is None for job in found.jobs):
        screen.binary_to_terminal()
        if not binary_out:
            raise UsageError("--json and the picture cannot share stdout; name a file with -o or use --report")
    for path in () if quiet else found.others:
        screen.say(f"{files.printable(path)}: left out, {'not a table' if suffixes == TABLE_SUFFIXES else NEITHER}")
    for line in files.left_out(found):
        screen.say(line)
    for name, reason in found.missing:
        screen.say(f"{files.printable(name)}: {reason}")
    todo, skipped = files.settle(found.jobs, on_exists.value if on_exists else None)
    files.check_writable([job.target for job in todo if job.target is not None])
    return found, todo, skipped


def weights(model: str | None, precision: str) -> list[Path]:
    """The files that -m may be read from, for `keep_apart`: the name of a shipped model is no file of that name.

    Where another precision may be asked for, those forms too.
    """
    if model is None:
        return []
    try:
        path = shipped.locate(model)
    except ModelError:  # said in full when it is opened
        return []
    if precision != "auto":
        forms: Sequence[str] = (precision,)
    else:
        forms = PRECISIONS if path != Path(model) else ()
    return [path, *(other for form in forms if (other := shipped.variant(path, form)) is not None)]


def _check_suffix(jobs: Sequence[files.Job], output: str | None) -> None:
    """Refuse a file called like no format of ours: it would hold another than its name says.

    What is called like its input may be, and what has no suffix; inside a folder names are those of the inputs.
    """
    if output is None or [job.target for job in jobs] != [Path(output)]:
        return
    suffix, own = (Path(path or "").suffix.lower() for path in (output, jobs[0].source))
    if not suffix or suffix == own or suffix in SUFFIXES | TABLE_SUFFIXES:
        return
    known = next((kind for kind in (IMAGE_SUFFIXES, AUDIO_SUFFIXES, TABLE_SUFFIXES) if own in kind), SUFFIXES)
    shown = choice("suffix", printable(Path(output).suffix), sorted(known))
    raise UsageError(f"-o {printable(output)}: {shown}, or give it none")


def check_floating(job: files.Job) -> None:
    """Refuse a target whose name says other than what unclipped samples are written as; see `media.open_sink`."""
    if job.target is None or job.resume:
        return
    if (formats.format_of(job.target) or containers.format_of(job.target)) not in (None, "tiff", "wav"):
        raise UsageError(f"-o {printable(job.target)}: --no-clip writes float samples, as .tif or .wav")


def _names(files_from: str) -> list[str]:
    if files_from == "-":
        screen.no_terminal_input()
        coded = sys.stdin.buffer.read()
    else:
        try:
            coded = Path(files_from).read_bytes()
        except OSError as error:
            raise UsageError(f"--files-from {printable(files_from)}: {error.strerror}") from None
    coded = coded.removeprefix(codecs.BOM_UTF8)
    # A name may hold any byte but the end of a line, be it no UTF-8.
    names = [name for line in os.fsdecode(coded).split("\n") if (name := line.removesuffix("\r"))]
    if names and not names[0].isprintable() and not os.path.lexists(names[0]):  # else there is one name at least
        start, shown = coded[:HEAD], printable(files_from)
        if format := formats.detect(start) or containers.detect(start):
            raise UsageError(f"--files-from {shown}: a file of format {format}, not a list of names")
        if b"\0" in coded:
            raise UsageError(f"--files-from {shown}: holds NUL, which no name does; names are a line each")
    return names


def show(todo: Sequence[files.Job], skipped: Sequence[files.Job]) -> None:
    """The plan of a dry run, on stdout."""
    for verb, jobs in (("write", todo), ("skip", skipped)):
        for job in jobs:
            source = "-" if job.source is None else files.printable(job.source)
            target = "-" if job.target is None else files.printable(job.target)
            screen.put(f"{verb}\t{source}\t{target}\n")


def nothing(found: files.Found, skipped: Sequence[files.Job], what: str) -> str:
    if skipped:
        there = _count(len(skipped), "file is", "files are")
        return f"nothing to do: {there} finished already (--on-exists overwrite does them again)"
    return "" if found.missing else f"no {what} found"  # what is missing has been named


CUT = 1e-3  # of the samples of a recording, at least, before it is said that they were cut


def follow(results: Iterator[Result], total: int, quiet: bool, verbose: bool, *, unclipped: str) -> list[Result]:
    """Drive a run to its end behind a bar; one line for each failure (and each file, if verbose).

    `unclipped` is the option that keeps recordings from being cut at full scale.
    """
    done: list[Result] = []
    pixels, duration, rows = 0, 0.0, 0  # so far
    bars = screen.bar(total, f"/{total} files", quiet=quiet)
    with streams.impatient(), closing(results) as stream, bars as bar:  # type: ignore[type-var]
        for result in stream:
            done.append(result)
            name = "-" if result.job.source is None else files.printable(result.job.source)
            if result.error is not None:
                bar.say(result.error if result.error.startswith(name) else f"{name}: {result.error}")
            elif verbose:
                bar.say(f"{name}: {_detail(result)}")
            if (result.clipped or 0) >= CUT and not quiet:
                bar.say(
                    f"{name}: {result.clipped:.1%} of the samples are cut at full scale; {unclipped} keeps them"
                )
            if result.left and not quiet:
                bar.say(f"{name}: left behind: {files.printable(', '.join(result.left))}")
            if result.anomaly and not quiet:
                bar.say(f"{name}: anomalous, score {result.score:.4g}")
            more = totals([result])
            pixels, duration, rows = pixels + more[0], duration + more[1], rows + _rows([result])
            bar.update(advance=1, note=_amount(pixels, duration, rows))
    return done


def _amount(pixels: int, duration: float, rows: int, digits: int = 1) -> str:
    """``12.3 MP``, ``0:01:02 of sound``, ``150 rows``, or several of them."""
    parts = [f"{pixels / 1e6:.{digits}f} MP"] if pixels or not (duration or rows) else []
    parts += [f"{screen.clock(duration)} of sound"] if duration else []
    return " and ".join(parts + ([_count(rows, "row", "rows")] if rows else []))


def _rows(results: Sequence[Result]) -> int:
    return sum(result.size for result in results if result.kind in ("table", "series"))


def _detail(result: Result) -> str:
    noise = ""
    if result.noise_before is not None:
        unit = " dB" if result.kind == "audio" else ""
        noise = f", noise {result.noise_before:.1f} -> {result.noise_after:.1f}{unit}"
    if result.filled:
        noise = f", {_count(result.filled, 'missing value', 'missing values')} filled"
    by = f", by {result.model}" if result.model else ""
    return f"{_amount(*totals([result]), _rows([result]), 2)} in {result.seconds:.2f} s{noise}{by}"


def summary(results: Sequence[Result], skipped: int, missing: int, seconds: float) -> None:
    """A line about the whole run; of a single file that failed its own line has said everything."""
    failed = missing + sum(result.error is not None for result in results)
    done = sum(result.error is None for result in results)
    if (done, failed, skipped) == (0, 1, 0):
        return
    pixels, duration = totals(results)
    parts = [_count(done + failed, "file", "files"), f"{failed} failed"]
    parts += [f"{skipped} skipped"] if skipped else []
    if any(result.anomaly is not None for result in results):
        parts += [f"{sum(bool(result.anomaly) for result in results)} anomalous"]
    speed = [] if duration else [f"{pixels / 1e6 / max(seconds, 1e-9):.2f} MP/s"]
    if duration and not pixels:
        speed = [f"real-time factor {seconds / duration:.4f}"]
    if (rows := _rows(results)) and not pixels:
        filled = sum(result.filled or 0 for result in results)
        speed = [f"{_count(filled, 'missing value', 'missing values')} filled"] if filled else []
    amount = _amount(pixels, duration, rows)
    where = _where([result.job for result in results if result.error is None])
    screen.say(f"{', '.join(parts)}{where}; {', '.join([f'{amount} in {seconds:.1f} s', *speed])}")


def _where(jobs: Sequence[files.Job]) -> str:
    """Where all results are: the file, or the folder; empty where they are in several, or went to stdout."""
    written = [(job, job.target) for job in jobs if job.target is not None]
    if len(written) == 1 and not written[0][0].resume:
        return f" -> {printable(written[0][1])}"
    folders = {target.parents[len(job.relative.parts) - 1] for job, target in written}
    return f" -> {printable(folders.pop())}{os.sep}" if len(folders) == 1 else ""


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"
