"""Which model serves: the one that is named, or the one that ships for the kind of file; and in which precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from denoise_cli import processor, shipped
from denoise_cli.card import MADE_FROM, PRECISIONS, ModelCard
from denoise_cli.errors import ModelError, UsageError, choice
from denoise_cli.model_file import ModelFile
from denoise_cli.processor import parse_device
from denoise_cli.session import Session, has_cuda, tried
from denoise_cli.signal import Header


def choose(model: str, precision: str = "auto", device: str = "auto") -> Path:
    """The file of a shipped model's name or of a path, in the precision that is asked for.

    ``auto`` takes a shipped model's int8 form on processors that multiply bytes and its fp16 form on a GPU; never
    another file than the one a path names, nor one that was made from what the model was before it was trained
    anew. Raises ModelError where there is no such model, or no such form of it where one is asked for.
    """
    if precision not in (known := ("auto", *PRECISIONS)):
        raise UsageError(choice("precision", precision, known))
    path = shipped.locate(model)
    if precision == "float" and any(path.stem.endswith(f".{other}") for other in PRECISIONS[1:]):
        raise ModelError(f"{path} is in {path.stem.rpartition('.')[2]}; name the float model")
    if precision == "float" or (precision == "auto" and path == Path(model)):
        return path
    form = _suited(device) if precision == "auto" else precision
    if form == "float" or path.stem.endswith(f".{form}"):  # it is that form already
        return path
    other = shipped.variant(path, form)
    if other is None and precision != "auto":
        if ModelFile.read(path).card.kind != "image":
            raise ModelError(f"{model} has no {form} form: only models for pictures have one")
        made = "" if path == Path(model) else f", to be named: -m {model}.{form}.onnx"  # it lies where it was made
        raise ModelError(f"{model} has no {form} form; denoise quantise --to {form} makes one{made}")
    if other is not None and not _is_of(other, path):
        if precision != "auto":
            raise ModelError(
                f"{other} was made from another {path.name}; denoise quantise --to {form} --overwrite makes it anew"
            )
        return path
    return other or path


def _is_of(form: Path, path: Path) -> bool:
    """Whether a form of a model is of this model; one that does not say is believed."""
    made_from = ModelFile.read(form).card.training.get(MADE_FROM)
    return made_from is None or made_from == ModelFile.read(path).fingerprint


def _suited(device: str) -> str:
    """The precision in which a model runs fastest there, if it has a form for it."""
    name, _ = parse_device(device)
    if name == "cuda" or (name == "auto" and has_cuda()):
        return "fp16"
    return "int8" if processor.multiplies_bytes() else "float"


class Models:
    """``models(header)`` is the session for a file: of the named model, or of the one that ships for such files.

    Each is opened when the first file needs it, or by `open`; `on_open` is told. Not for several threads at once:
    Workers asks one at a time.
    """

    def __init__(
        self,
        model: str | None = None,
        precision: str = "auto",
        device: str = "auto",
        kinds: Iterable[str] = (),
        on_open: Callable[[Session], None] = lambda session: None,
        spread: Callable[[Header, ModelCard], int] = lambda header, card: 1,
        told: bool = False,
    ):
        """`kinds` are those of the files that will come, as far as known.

        With `told`, a file gets a model that may be told the noise level, if any for its kind may.

        `spread` says how many threads share a call, by the header of the first file that a model serves.

        What would fail for every one of them fails here: raises BackendError without a runtime or the device,
        ModelError where the model or its form in this precision is missing.
        """
        has_cuda(device)
        self._device, self._on_open, self._spread = device, on_open, spread
        self._told, self._kinds = told, list(kinds)
        names = [model] if model is not None else [n for kind in self._kinds for n in shipped.FOR.get(kind, ())]
        self._precision, self._paths = precision, dict[str, Path]()
        for name in names:
            self._path(name)
        self._fitting: dict[str, list[str]] = {}
        self._opened: dict[str, Session] = {}
        self._latest = ""
        self.only = None if model is None else self._session(model)

    def open(self) -> None:
        """Open now whatever the kinds of files could need, so that no clock that runs later counts it."""
        for kind in self._kinds if self.only is None else ():
            for name in self._fit(kind):
                self._session(name)

    def __call__(self, header: Header) -> Session:
        if self.only is not None:
            return self.only
        name, fit = shipped.default(header), self._fit(header.kind)
        white = shipped.for_white(header) if header.white else None
        chosen = white if white in fit else name
        session = self._session(chosen if chosen in fit else fit[0], header)
        self._latest = session.card.name
        return session

    def _fit(self, kind: str) -> list[str]:
        """The models for a kind of files; where the noise level is told, those of them that take it, if any do.

        One for white noise that is not there in the precision asked for is done without.
        """
        if kind not in self._fitting:
            names = list(shipped.FOR.get(kind, ()))
            for white in [shipped.FOR_WHITE[name] for name in names if name in shipped.FOR_WHITE]:
                with contextlib.suppress(ModelError):
                    self._path(white)
                    names.append(white)
            takers = [n for n in names if ModelFile.read(self._path(n)).card.noise_input] if self._told else []
            self._fitting[kind] = takers or names
        return self._fitting[kind]

    def _path(self, name: str) -> Path:
        if name not in self._paths:
            self._paths[name] = choose(name, self._precision, self._device)
        return self._paths[name]

    def _session(self, name: str, header: Header | None = None) -> Session:
        if name not in self._opened:
            session = self._start(self._path(name), header)
            if session.fell_back and self._precision == "auto":  # the form for a GPU is not the one for a processor
                suited = choose(name, "auto", "cpu")
                session = session if suited == session.path else self._start(suited, header, "cpu")
            self._opened[name] = session
            self._on_open(session)
        return self._opened[name]

    def _start(self, path: Path, header: Header | None, device: str | None = None) -> Session:
        file = tried(path)
        threads = 1 if header is None else self._spread(header, file.card)
        return Session(file, device or self._device, threads)

    @property
    def choice(self) -> Session | Models:
        """What `denoise.run` takes: the named model alone, for which no file is looked at, or this."""
        return self.only or self

    @property
    def latest(self) -> str:
        """The name of the one that was asked for last, which serves; "" where none was."""
        return self._latest if self.only is None else self.only.card.name
