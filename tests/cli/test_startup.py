"""Start-up: it is quick because it loads nothing, and every command and option explains itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from conftest import ROOT, denoise

from denoise_cli import __version__
from denoise_cli.cli import app, main

HEAVY = ("torch", "onnxruntime", "numpy", "scipy", "pyvips", "rich", "ray", "PIL")


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    return done.stdout


def test_the_help_names_the_models_that_ship():
    from denoise_cli import shipped
    from denoise_cli.cli import options

    told = options.Model.__metadata__[0].help.split(", or ")[0].split(", ")
    assert sorted(told) == shipped.names()


@pytest.mark.parametrize("module", ["denoise_cli.cli", "denoise_cli.__main__", "denoise_cli.errors"])
def test_import_loads_nothing_heavy(module):
    code = f"import {module}, sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    assert python(code).split() == []


def test_help_loads_nothing_heavy():
    code = (
        "import contextlib, io, sys; from denoise_cli.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as text: main(['run', '--help'])\n"
        f"assert '--strength' in text.getvalue(); print(*[m for m in {HEAVY} if m in sys.modules])"
    )
    assert python(code).split() == []


def test_the_engine_knows_no_torch_and_the_library_no_command_line():
    code = (
        "import denoise_cli.denoise, denoise_cli.evaluate, denoise_cli.noising, denoise_cli.report, sys;"
        "print(*[m for m in ('torch', 'typer', 'denoise_cli.cli', 'denoise_cli.train') if m in sys.modules])"
    )
    assert python(code).split() == []


@pytest.mark.parametrize(
    ("sample", "others"),
    [
        ("page.png", ("PIL", "soundfile", "soxr", "denoise_cli.media.audio")),
        ("voice.wav", ("PIL", "pyvips", "denoise_cli.media.image")),
    ],
)
def test_a_run_loads_only_what_its_kind_of_file_needs(tmp_path, sample, others):
    never = ("torch", "denoise_cli.corrupt", "denoise_cli.media.table", "denoise_cli.train")
    arguments = ["run", str(ROOT / "samples" / sample), "-o", str(tmp_path / sample), "-q"]
    code = (
        f"import sys; from denoise_cli.cli import main; assert main({arguments!r}) == 0\n"
        f"print(*[m for m in {others + never} if m in sys.modules])"
    )
    assert python(code).split() == []


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag):
    done = denoise(flag)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"denoise {__version__}\n".encode(), b"")


def test_version_as_an_option_among_others(capsys):
    assert main(["--version", "run"]) == 0
    assert capsys.readouterr().out == f"denoise {__version__}\n"


def test_without_arguments_the_help_is_the_answer():
    done = denoise()
    assert done.returncode == 2
    assert done.stdout == b""
    for command in (b"corrupt", b"train", b"run", b"eval"):
        assert command in done.stderr


def commands() -> dict[str, object]:
    return typer.main.get_command(app).commands


COMMANDS = [
    "average", "corrupt", "decode", "denoise", "encode", "eval",
    "propagate", "quantise", "quantize", "run", "train",
]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_has_a_help_text(name, capsys):
    command = commands()[name]
    assert len(command.help) > 20
    for option in command.params:
        assert len(option.help or "") > 3, f"{name} {option.name}"
    for flag in ("-h", "--help"):
        assert main([name, flag]) == 0
        text = capsys.readouterr().out
        assert all(max(option.opts, key=len) in text for option in command.params if option.opts[0][0] == "-")


def test_no_command_is_left_out_above():
    assert sorted(commands()) == COMMANDS


TRAIN = "train x -o m.onnx --steps 1"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("frobnicate", "frobnicate"),
        ("run", "nothing to do"),
        ("run --stength 1", "--stength"),
        ("run --batch x", "--batch"),
        ("run x.png --on-exists maybe", "maybe"),
        ("run x.png --strength 2", "--strength"),
        ("run x.png --report x.txt", ".json or .csv"),
        ("run --files-from /absent", "/absent"),
        ("corrupt x.png", "--std 25"),
        ("corrupt x.png --mean 3", "--std"),
        ("corrupt x.png --noise rain", "choose from gaussian"),
        ("corrupt x.png --std 9-3", "9-3"),
        ("corrupt -j 0", "--jobs"),
        ("eval x", "--noise"),
        ("eval x y --noise gaussian", "leave NOISY out"),
        ("eval absent --noise gaussian", "absent"),
        ("eval x --noise gaussian --fail-under psnr", "psnr=28"),
        ("eval x --noise gaussian --baseline bm3d", "choose from noisy"),
        ("train", "CLEAN_DIR"),
        ("train x -o m.onnx", "--steps"),
        ("train x -o m.onnx --max-time soon", "soon"),
        ("train x -o m.pt --steps 1", ".onnx"),
        ("train absent -o m.onnx --steps 1", "absent"),
        (f"{TRAIN} --arch gan", "choose from unet"),
        (f"{TRAIN} --net width", "KEY=VALUE"),
        (f"{TRAIN} --net width=two", "whole numbers"),
        (f"{TRAIN} --threads 0", "--threads"),
        (f"{TRAIN} --seed 99999999999999999999", "--seed"),
    ],
)
def test_wrong_usage_is_one_line_that_names_it_and_exits_2(line, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("denoise: ")
    assert err.count("\n") == 1
    assert named in err
    assert not any(tmp_path.iterdir())
