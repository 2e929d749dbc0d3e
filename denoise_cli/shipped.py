"""Where the models that come with the tool lie: in the wheel, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

from denoise_cli.errors import ModelError

_PACKAGE = Path(__file__).resolve().parent
FOLDERS = (_PACKAGE / "_models", _PACKAGE.parent / "models")  # wheel; checkout and editable install

DEFAULTS = {"image": "image", "audio": "speech"}  # kind of file -> name of the model


def names() -> list[str]:
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.onnx")})


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
