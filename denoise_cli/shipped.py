"""Where the models that come with the tool lie: in the wheel, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

from denoise_cli.errors import ModelError, UsageError
from denoise_cli.signal import Header

_PACKAGE = Path(__file__).resolve().parent
FOLDERS = (_PACKAGE / "_models", _PACKAGE.parent / "models")  # wheel; checkout and editable install

NO_TABLES = "no model for tables is shipped: train one, denoise train data.csv --kind table -o m.onnx, and give -m"

_COLOUR, _GRAY, _SPEECH = "image", "gray", "speech"
FOR = {"image": (_COLOUR, _GRAY), "audio": (_SPEECH,)}  # kind of file -> models of which its header picks one
FOR_WHITE = {_COLOUR: "image-white", _GRAY: "gray-white"}  # in their place, where the noise of a picture is white


def default(header: Header) -> str:
    """The name of the model for such files, whatever their noise; raises UsageError where none is shipped."""
    if header.kind not in FOR:
        raise UsageError(NO_TABLES)
    if header.kind == "audio":
        return _SPEECH
    return _COLOUR if any(len(group) == 3 for group in header.groups) else _GRAY


def for_white(header: Header) -> str | None:
    """What takes the place of `default` where the noise is white.

    Not where single channels stand beside colours, CMYK or near infrared: the one for colours has never seen gray.
    """
    return FOR_WHITE.get(default(header)) if len({len(group) for group in header.groups}) == 1 else None


def names() -> list[str]:
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.onnx") if "." not in path.stem})


def variant(path: Path, precision: str) -> Path | None:
    """The same model in another precision, ``image.int8.onnx`` beside ``image.onnx``, where there is one."""
    other = path.with_suffix(f".{precision}{path.suffix}")
    return other if other.is_file() else None


def locate(model: str) -> Path:
    """The file of a shipped model's name, or of a path; raises ModelError, with the choices, for neither."""
    path = Path(model)
    if path.is_file():
        return path
    if path.name == model and not path.suffix:
        for folder in FOLDERS:
            if (shipped := folder / f"{model}.onnx").is_file():
                return shipped
    known = ", ".join(names()) or "none is shipped"
    raise ModelError(f'no model "{model}"; give a path to an .onnx file or one of: {known}')
