"""Which model serves: the one that is named, or the one that ships for the kind of file; and in which precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from denoise_cli import processor, shipped
from denoise_cli.card import PRECISIONS
from denoise_cli.errors import ModelError, UsageError, choice
from denoise_cli.session import Session, has_cuda, parse_device
from denoise_cli.signal import Header


def choose(model: str, precision: str = "auto", device: str = "auto") -> Path:
    """The file of a shipped model's name or of a path, in the precision that is asked for.

    ``auto`` takes a shipped model's int8 form on processors that multiply bytes, and never another file than
    the one a path names. Raises ModelError where there is no such model or no such form of it.
    """
    if precision not in (known := ("auto", *PRECISIONS)):
        raise UsageError(choice("precision", precision, known))
    path = shipped.locate(model)
    if precision == "float" or (precision == "auto" and (path == Path(model) or not _prefers_bytes(device))):
        return path
    if path.stem.endswith(".int8"):  # it is that form already
        return path
    other = shipped.variant(path, "int8")
    if other is None and precision == "int8":
        raise ModelError(f"{model} has no int8 form; denoise quantise makes one")
    return other or path


def _prefers_bytes(device: str) -> bool:
    """Whether a model will run on a processor whose integer arithmetic is the faster one."""
    name, _ = parse_device(device)
    if name == "cuda" or not processor.multiplies_bytes():
        return False
    return name == "cpu" or not has_cuda()


class Models:
    """``models(header)`` is the session for a file: of the named model, or of the one that ships for such files.

    Each is opened when the first file needs it; `on_open` is told. Not for several threads at once: Workers asks
    one at a time.
    """

    def __init__(
        self,
        model: str | None,
        precision: str = "auto",
        device: str = "auto",
        on_open: Callable[[Session], None] = lambda session: None,
    ):
        """Raises BackendError without a runtime or the device, ModelError for a named model that is none."""
        has_cuda(device)
        self._named, self._how, self._on_open = model, (precision, device), on_open
        self._opened: dict[str, Session] = {}
        self.only = None if model is None else self._open(model)

    def __call__(self, header: Header) -> Session:
        if self.only is not None:
            return self.only
        name = shipped.default(header)
        return self._opened.get(name) or self._open(name)

    def _open(self, name: str) -> Session:
        precision, device = self._how
        session = self._opened[name] = Session(choose(name, precision, device), device)
        self._on_open(session)
        return session

    @property
    def names(self) -> str:
        """Of the models that were opened, for people."""
        return ", ".join(session.card.name for session in self._opened.values())
