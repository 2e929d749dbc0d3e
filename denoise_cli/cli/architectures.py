"""``--arch`` and ``--net``: which nets there are, and their options."""

from __future__ import annotations

from typing import Any

import typer

from denoise_cli.cli import screen

# By the files, by --channels, by `denoise average`; those of an audio net are its own.
DECIDED = {("image", "channels"), ("series", "channels"), ("table", "features"), (None, "of"), (None, "channels")}


def option(name: str | None) -> str | None:
    """``--arch help`` lists the nets and what ``--net`` takes for each, with its defaults."""
    if name != "help":
        return name
    from denoise_cli.errors import BackendError

    try:
        from dataclasses import asdict

        from denoise_cli.nets import NETS
    except ImportError as error:
        raise BackendError(f'the nets need {error.name}; run: pip install "denoise-cli[train]"') from None
    rows = []
    for arch, net in NETS.items():
        kind = getattr(net, "kind", "image")
        settings = [
            f"{key}={_written(value)}" for key, value in asdict(net.Config()).items() if (kind, key) not in DECIDED
        ]
        if settings:
            rows.append([arch, kind, " ".join(settings)])
    screen.table(["net", "--kind", "--net, as it is by default"], rows)
    raise typer.Exit


def net_options(pairs: list[str]) -> dict[str, Any]:
    """``widths=32,64`` -> {"widths": (32, 64)}; numbers, true and false."""
    from denoise_cli.errors import UsageError

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        words = {"true": True, "false": False}
        try:
            values = [words[word] if word in words else int(word) for word in text.split(",")]
        except ValueError:
            raise UsageError(f'--net "{pair}": write KEY=VALUE, with whole numbers, true or false') from None
        if not equals or not key:
            raise UsageError(f'--net "{pair}": write KEY=VALUE')
        options[key] = tuple(values) if "," in text else values[0]
    return options


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
