"""Folder runs: killed, out of space, two at once, with odd names, links and files that come and go."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, denoise, scene, write_png

from .conftest import Start, contents

NAMES = [  # the 25 of ../shared/tools/make_faults.py
    b"with space.png", b"-leading-dash.png", b"--help.png", b"new\nline.png", b"tab\there.png",
    b"esc\x1b[31mred.png",
    "unicode-é-日本-🎧.png".encode(), "nfd-e\u0301.png".encode(), b"latin1-\xe9\xff.png", b"quote'\"$(id)`x`.png",
    b"percent%s%n.png", b"brace{in}{0}.png", b"UPPER.PNG", b"noext", b"dot.in.name.png", b".hidden.png", b"a.png",
    b"a.jpg.png", b"x" * 251 + b".png", "rtl\u202egnp.png".encode(), b"..png", b"con.png", b"*.png", b"[a].png",
    b"trail .png",
]  # fmt: skip
SPEC = ("--noise", "salt-pepper:amount=0.1")  # for pictures and recordings alike


# --- Killed, and run again ----------------------------------------------------------------------------------


def test_killed_anywhere_and_run_again_it_is_the_clean_run_to_the_byte(good, tmp_path, start: Start):
    assert denoise("corrupt", good, *SPEC, "-o", tmp_path / "clean").returncode == 0
    clean, out = contents(tmp_path / "clean"), tmp_path / "out"
    assert len(clean) == 10
    rng = random.Random(0)
    for wanted in (0, 2, 5):  # finished files at the time of the kill, at least
        process = start("corrupt", good, *SPEC, "-o", out, "-j", 1)
        while process.poll() is None and sum(not name.startswith(".") for name in contents(out)) < wanted:
            time.sleep(rng.uniform(0.001, 0.01))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name, content in contents(out).items():
            assert name.split("/")[-1].startswith(".denoise-") or content == clean[name]
    assert denoise("corrupt", good, *SPEC, "-o", out).returncode == 0
    assert contents(out) == clean


def test_two_runs_into_one_folder_end_as_one(good, tmp_path, start: Start):
    assert denoise("corrupt", good, *SPEC, "-o", tmp_path / "clean").returncode == 0
    both = [start("corrupt", good, *SPEC, "-o", tmp_path / "out", "--on-exists", "overwrite") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert contents(tmp_path / "out") == contents(tmp_path / "clean")


# --- No space -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_ends_the_run_with_one_line_and_no_partial_file(good, tmp_path, small_disk):
    assert denoise("corrupt", good, *SPEC, "-o", tmp_path / "clean").returncode == 0
    done = denoise("corrupt", good, *SPEC, "-o", small_disk)
    assert done.returncode == 1
    assert done.stderr.startswith(b"denoise: no space left on device: ")
    assert done.stderr.count(b"\n") == 1
    clean = contents(tmp_path / "clean")
    assert all(content == clean[name] for name, content in contents(small_disk).items())
    assert len(contents(small_disk)) < len(clean)


def test_a_read_only_disk_is_refused_before_any_work(good, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = denoise("corrupt", good, *SPEC, "-o", small_disk / "out")
    assert (done.returncode, done.stderr) == (2, f"denoise: folder {small_disk} is not writable\n".encode())


def test_a_limit_on_the_size_of_files_is_a_line_for_each_that_is_larger(good, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "denoise_cli", "corrupt", good, *SPEC, "-o", tmp_path / "out"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000)),
    )  # fmt: skip
    assert done.returncode == 1
    there, lines = contents(tmp_path / "out"), done.stderr.decode().splitlines()
    assert len(there) + len(lines) - 1 == 10  # and a line that sums up
    assert all(len(content) <= 6_000 for content in there.values())
    assert not [name for name in there if name.split("/")[-1].startswith(".")]


# --- Names --------------------------------------------------------------------------------------------------


def plant(folder: Path) -> None:
    folder.mkdir()
    body = write_png(folder.with_name("body.png"), scene(9, 12)).read_bytes()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(body)


def test_files_of_any_name_are_done_in_a_folder(tmp_path):
    plant(tmp_path / "in")
    done = denoise("corrupt", tmp_path / "in", "--std", 5, "-o", tmp_path / "out")
    assert done.returncode == 0
    wanted = {name for name in NAMES if name != b"noext"}
    assert {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()} == wanted
    assert f"denoise: {tmp_path}/in/noext: left out, " in done.stderr.decode()
    assert denoise("corrupt", tmp_path / "in", "--std", 5, "-o", tmp_path / "other", "-q").stderr == b""


def test_files_of_any_name_are_done_when_they_are_named(tmp_path):
    plant(tmp_path / "in")
    done = denoise("corrupt", "--std", 5, "-o", "../out/", "--", *NAMES, cwd=tmp_path / "in")
    assert done.returncode == 0, done.stderr
    assert {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()} == set(NAMES)


def test_a_bad_file_of_any_name_is_one_printable_line(tmp_path):
    plant(tmp_path / "in")
    for path in (tmp_path / "in").iterdir():
        path.write_bytes(b"no picture")
    done = denoise("corrupt", tmp_path / "in", "--std", 5, "-o", tmp_path / "out")
    lines = done.stderr.decode().splitlines()  # UTF-8, whatever the names
    assert (done.returncode, len(lines)) == (1, len(NAMES) + 1)
    assert all(line.startswith("denoise: ") and line.isprintable() for line in lines)


# --- Links, and what is no file -----------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """An input of two pictures, one in a folder, and an empty output."""
    for name in ("b.png", "sub/a.png"):
        write_png(tmp_path / "in" / name, scene(9, 12))
    (tmp_path / "out").mkdir()
    return tmp_path / "in", tmp_path / "out"


def test_nothing_is_written_through_a_link_to_a_folder(pair, tmp_path):
    folder, out = pair
    (tmp_path / "elsewhere").mkdir()
    (out / "sub").symlink_to("../elsewhere")
    done = denoise("corrupt", folder, "--std", 5, "-o", out)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert f"{out}/sub is a link" in done.stderr.decode()
    assert contents(tmp_path / "elsewhere") == {}
    out.rename(tmp_path / "real")  # while the folder that was named may be one
    (tmp_path / "real/sub").unlink()
    out.symlink_to("real")
    assert denoise("corrupt", folder, "--std", 5, "-o", out).returncode == 0
    assert sorted(contents(tmp_path / "real")) == ["b.png", "sub/a.png"]


def test_a_link_that_leads_nowhere_is_no_finished_file(pair, tmp_path):
    folder, out = pair
    (out / "b.png").symlink_to(tmp_path / "nowhere.png")
    done = denoise("corrupt", folder, "--std", 5, "-o", out)
    assert done.returncode == 0
    assert b"2 files, 0 failed" in done.stderr
    assert not (out / "b.png").is_symlink()
    assert not (tmp_path / "nowhere.png").exists()


def test_a_link_to_a_file_is_kept_or_replaced_and_never_followed(pair, tmp_path):
    folder, out = pair
    (tmp_path / "mine.png").write_bytes(b"mine")
    (out / "b.png").symlink_to(tmp_path / "mine.png")
    assert denoise("corrupt", folder, "--std", 5, "-o", out, "--on-exists", "overwrite").returncode == 0
    assert (tmp_path / "mine.png").read_bytes() == b"mine"
    assert not (out / "b.png").is_symlink()


def test_a_pipe_in_the_place_of_an_output_is_refused(pair):
    folder, out = pair
    os.mkfifo(out / "b.png")
    done = denoise("corrupt", folder, "--std", 5, "-o", out)
    assert (done.returncode, b"not a regular file" in done.stderr) == (2, True)


def test_loops_pipes_and_folders_named_like_pictures_hold_nothing_up(pair):
    folder, out = pair
    os.mkfifo(folder / "fifo.png")
    (folder / "dir.png").mkdir()
    (folder / "sub/up").symlink_to("..")
    (folder / "self.png").symlink_to("self.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    done = denoise("corrupt", folder, "--std", 5, "-o", out)
    assert done.returncode == 0
    assert sorted(contents(out)) == ["b.png", "sub/a.png"]
    for name in ("fifo.png", "sub/up", "self.png", "gone.png"):
        assert f"denoise: {folder}/{name}: left out, " in done.stderr.decode()
    assert denoise("corrupt", folder / "fifo.png", "--std", 5).returncode == 1  # and does not wait for a writer


# --- Files that come and go ---------------------------------------------------------------------------------


def test_a_file_that_vanishes_before_its_turn_is_a_line(good, tmp_path, monkeypatch, capsys):
    from denoise_cli.cli import main
    from denoise_cli.media import files

    shutil.copytree(good, tmp_path / "in")
    check = files.check_writable

    def then_delete(*arguments: object) -> None:
        check(*arguments)
        (tmp_path / "in/p4.png").unlink()

    monkeypatch.setattr(files, "check_writable", then_delete)
    assert main(["corrupt", str(tmp_path / "in"), *SPEC, "-o", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert f"denoise: {tmp_path}/in/p4.png: no such file\n" in err
    assert "10 files, 1 failed" in err
    assert len(contents(tmp_path / "out")) == 9


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("png", {}), ("jpg", {"quality": 95}), ("webp", {"lossless": True}), ("gif", {}), ("tif", {}), ("bmp", {})],
)
def test_a_file_that_shrinks_while_it_is_read_ends_no_process(suffix, options, tmp_path):
    """libvips maps some formats into memory; a page that is gone from under the map is SIGBUS."""
    code = (
        "import os, sys, numpy as np; from PIL import Image; from denoise_cli.errors import InputError\n"
        "from denoise_cli.media import image\n"
        "path = sys.argv[1]; x = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)\n"
        f"Image.fromarray(x).save(path, **{options})\n"
        "source = image.open_image(open(path, 'rb'), 'x'); os.truncate(path, 5000)\n"
        "try: print(sum(block.size for block in source.blocks()))\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / f"x.{suffix}"], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("x: codec error") or done.stdout == f"{700 * 700 * 3}\n"  # it was read already


# --- Modes, times, bytes ------------------------------------------------------------------------------------


def test_an_output_is_no_more_open_to_others_than_its_input(pair):
    folder, out = pair
    (folder / "b.png").chmod(0o600)
    (folder / "sub/a.png").chmod(0o777)
    before = os.umask(0o027)
    try:
        began = time.time()
        assert denoise("corrupt", folder, "--std", 5, "-o", out).returncode == 0
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((out / name).stat().st_mode) for name in ("b.png", "sub/a.png")}
    assert modes == {"b.png": 0o600, "sub/a.png": 0o640}
    assert (out / "b.png").stat().st_mtime >= began - 2  # and it is as old as it is
    (out / "b.png").chmod(0o604)  # who has set a mode keeps it
    assert denoise("corrupt", folder, "--std", 6, "-o", out, "--on-exists", "overwrite").returncode == 0
    assert stat.S_IMODE((out / "b.png").stat().st_mode) == 0o604


def test_neither_order_nor_hands_change_a_byte(good, tmp_path):
    assert denoise("corrupt", good, *SPEC, "-j", 1, "-o", tmp_path / "one").returncode == 0
    backwards = sorted(good.glob("**/*.*"), reverse=True)
    assert denoise("corrupt", *backwards, *SPEC, "-j", 5, "-o", tmp_path / "many").returncode == 0
    flat = {name.split("/")[-1]: content for name, content in contents(tmp_path / "one").items()}
    assert contents(tmp_path / "many") == flat


def test_inputs_are_only_read(good, tmp_path):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in good.glob("**/*.*")}
    for path in before:
        path.chmod(0o444)
    assert denoise("corrupt", good, *SPEC, "-o", tmp_path / "out").returncode == 0
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in good.glob("**/*.*")} == before
    assert len(list(good.glob("**/*.*"))) == len(before)
