"""Finding inputs, naming targets, and replacing a file whole."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from denoise_cli.errors import NoSpaceError, OutputError, RefusedError, UsageError
from denoise_cli.media.beside import full_disk
from denoise_cli.media.files import (
    Job,
    Replacing,
    Stdout,
    check_writable,
    find,
    open_input,
    printable,
    settle,
    spool,
)

SUFFIXES = frozenset({".png", ".jpg"})


def plant(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def names(inputs: Sequence[str | Path], output: str | None = None, **options) -> dict[str, str]:
    found = find([str(each) for each in inputs], output, suffixes=SUFFIXES, **options)
    return {str(job.source): str(job.target) for job in found.jobs}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- names


@pytest.mark.parametrize(
    ("source", "target"),
    [("x.png", "x.denoised.png"), ("x", "x.denoised"), ("a.b.JPG", "a.b.denoised.JPG"), (".x", ".x.denoised")],
)
def test_a_file_gets_a_name_beside_it(inside: Path, source: str, target: str) -> None:
    plant(inside, source)
    assert names([source]) == {source: target}


def test_a_folder_is_mirrored_sorted_and_only_known_suffixes_are_taken(inside: Path) -> None:
    plant(
        inside,
        "f/b.png",
        "f/a.PNG",
        "f/s/c.jpg",
        "f/notes.txt",
        "f/.h.png",
        "f/.denoise-0123.part",
        "f/x.png/y.png",
    )
    found = find(["f/"], None, suffixes=SUFFIXES)
    assert [str(job.target) for job in found.jobs] == [
        f"f.denoised/{name}" for name in (".h.png", "a.PNG", "b.png", "s/c.jpg", "x.png/y.png")
    ]
    assert {str(job.relative) for job in found.jobs} >= {"s/c.jpg", "b.png"}
    assert all(job.resume for job in found.jobs)


def test_the_working_directory_has_a_name(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plant(inside / "f", "a.png"))
    assert names(["."]) == {"a.png": str(inside / "f.denoised" / "a.png")}


def test_output_is_a_folder_or_a_file(inside: Path) -> None:
    plant(inside, "a.png", "b.png", "f/c.png", "old/z")
    assert names(["a.png"], "y.png") == {"a.png": "y.png"}
    assert names(["a.png"], "new/") == {"a.png": "new/a.png"}
    assert names(["a.png"], "old") == {"a.png": "old/a.png"}
    assert names(["a.png", "b.png"], "new") == {"a.png": "new/a.png", "b.png": "new/b.png"}
    assert names(["f"], "new") == {"f/c.png": "new/c.png"}
    assert names(["a.png"], "-") == {"a.png": "None"}
    assert names(["-"]) == {"None": "None"}
    assert names(["-"], "y.png") == {"None": "y.png"}
    with pytest.raises(UsageError, match=r"b\.png is not a folder"):
        names(["a.png", "f"], "b.png")
    with pytest.raises(UsageError, match="standard input has no name"):
        names(["-"], "old")
    with pytest.raises(UsageError, match="-o - takes one input"):
        names(["a.png", "b.png"], "-")


def test_tag_and_suffix(inside: Path) -> None:
    plant(inside, "a.png", "f/c.png")
    assert names(["a.png", "f"], tag="noisy", suffix=lambda end: ".tif") == {
        "a.png": "a.noisy.tif",
        "f/c.png": "f.noisy/c.tif",
    }


def test_patterns_are_expanded_unless_a_file_is_named_so(inside: Path) -> None:
    plant(inside, "a1.png", "a2.png", "[b].png", "s/t/c.png")
    assert names(["a*.png"]) == {"a1.png": "a1.denoised.png", "a2.png": "a2.denoised.png"}
    assert names(["[b].png"]) == {"[b].png": "[b].denoised.png"}
    assert list(names(["s/**/*.png"])) == ["s/t/c.png"]
    assert list(names(["*1.png", "a1.png"])) == ["a1.png"]
    assert find(["z*.png"], None, suffixes=SUFFIXES).missing == [("z*.png", "no such file or folder")]


def test_a_list_of_names_stays_inside_the_output(inside: Path) -> None:
    plant(inside, "w/a.png", "w/sub/b.png", "other/x.png")
    (inside / "link").symlink_to("w/sub")
    names = ["w/sub/../../other/x.png", "w/a.png", "./w/./sub/b.png"]
    jobs = find(names, "out", suffixes=SUFFIXES, mirrored=names).jobs
    assert [str(job.target) for job in jobs] == ["out/other/x.png", "out/w/a.png", "out/w/sub/b.png"]
    assert str(jobs[0].source) == names[0]
    plain = ["w/a.png", "link/b.png"]
    jobs = find(plain, "out", suffixes=SUFFIXES, mirrored=plain).jobs
    assert [str(job.target) for job in jobs] == ["out/w/a.png", "out/link/b.png"], "links are names as others are"


def test_several_inputs_do_not_make_a_folder_of_what_is_named_as_a_file(inside: Path) -> None:
    plant(inside, "a.png", "b.png", "f/c.png", "album.png/d.png")
    for names in (["a.png", "b.png"], ["f"]):
        with pytest.raises(UsageError, match=r"-o new\.PNG is not a folder"):
            find(names, "new.PNG", suffixes=SUFFIXES)
        assert find(names, "new.png/", suffixes=SUFFIXES).jobs[0].target.parent == Path("new.png")
        assert find(names, "album.png", suffixes=SUFFIXES).jobs[0].target.parent == Path("album.png")
        assert find(names, "v1.2", suffixes=SUFFIXES).jobs[0].target.parent == Path("v1.2")


# --- what is left out


def test_links_and_pipes_are_left_out_with_a_line(inside: Path) -> None:
    plant(inside, "f/a.png", "far/b.png")
    os.mkfifo(inside / "f/pipe.png")
    (inside / "f/dangling.png").symlink_to("nowhere")
    (inside / "f/loop").symlink_to(inside / "f")
    (inside / "f/far").symlink_to(inside / "far")
    (inside / "f/linked.png").symlink_to(inside / "far/b.png")
    found = find(["f"], None, suffixes=SUFFIXES)
    assert [str(job.source) for job in found.jobs] == ["f/a.png", "f/linked.png"]
    assert {str(path): why for path, why in found.skipped} == {
        "f/pipe.png": "not a regular file",
        "f/dangling.png": "dangling link",
        "f/loop": "link to a folder",
        "f/far": "link to a folder",
    }
    assert found.missing == []


def test_what_is_named_and_not_there_is_missing_and_the_others_go_on(inside: Path) -> None:
    plant(inside, "a.png")
    os.mkfifo(inside / "pipe.png")
    (inside / "dangling.png").symlink_to("nowhere")
    found = find(["gone.png", "a.png", "pipe.png", "dangling.png", "", "n" * 300], None, suffixes=SUFFIXES)
    assert [str(job.source) for job in found.jobs] == ["a.png"]
    assert dict(found.missing) == {
        "gone.png": "no such file or folder",
        "pipe.png": "not a regular file",
        "dangling.png": "dangling link",
        "": "no such file or folder",
        "n" * 300: "file name too long",
    }


def test_our_own_output_inside_the_input_is_not_read_again(inside: Path) -> None:
    plant(inside, "f/a.png", "f/out/a.png", "f/out/old.png")
    assert names(["f"], "f/out") == {"f/a.png": "f/out/a.png"}
    plant(inside, "f/s/b.png", "f/s.denoised/b.png")
    assert "f/s.denoised/b.png" not in names(["f", "f/s"])


# --- refusals


def test_two_inputs_in_one_output_are_refused(inside: Path) -> None:
    plant(inside, "a/x.png", "b/x.png", "c/x.jpg", "c/x.png")
    with pytest.raises(RefusedError, match=r"a/x\.png and b/x\.png would both be written to out/x\.png"):
        names(["a", "b"], "out")
    with pytest.raises(RefusedError, match=r"c/x\.jpg and c/x\.png"):
        names(["c"], suffix=lambda end: ".tif")
    (name,) = names(["-", "-"])  # the same input twice is one job
    assert name == "None"


def test_an_output_that_is_an_input_is_refused(inside: Path) -> None:
    plant(inside, "a.png", "b.png", "f/x.png")
    (inside / "link.png").symlink_to("a.png")
    os.link(inside / "a.png", inside / "hard.png")
    (inside / "g").symlink_to("f")
    for inputs, output in [
        (["a.png"], "a.png"),
        (["a.png"], "link.png"),
        (["a.png"], "hard.png"),
        (["a.png"], "./"),
    ]:
        with pytest.raises(RefusedError, match="is the input"):
            names(inputs, output)
    with pytest.raises(RefusedError, match=r"g/x\.png is the input f/x\.png"):
        names(["f"], "g")
    plant(inside, "a.denoised.png")
    with pytest.raises(RefusedError, match=r"a\.denoised\.png is the input"):
        names(["a.png", "a.denoised.png"])


def test_settle(inside: Path) -> None:
    plant(inside, "a.out", "b.out", "f.out", "d.out/x")
    named = [Job(None, Path(name), Path(name)) for name in ("a.out", "b.out", "c.out")]
    found = Job(None, Path("f.out"), Path("f"), resume=True)
    with pytest.raises(RefusedError, match=r"a\.out and 1 more exist;"):
        settle(named)
    assert settle([found, named[2]]) == ([named[2]], [found])
    assert settle(named, "skip") == ([named[2]], named[:2])
    assert settle([*named, found], "overwrite") == ([*named, found], [])
    with pytest.raises(RefusedError, match=r"f\.out exists"):
        settle([found], "error")
    with pytest.raises(RefusedError, match=r"d\.out is a folder"):
        settle([Job(None, Path("d.out"), Path("d"))], "overwrite")
    (inside / "dangling").symlink_to("nowhere")
    with pytest.raises(RefusedError, match="dangling"):
        settle([Job(None, Path("dangling"), Path("d"))])


def test_check_writable_creates_nothing(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(inside, "file")
    check_writable([Path("new/deep/x.png"), None])
    assert not Path("new").exists()
    with pytest.raises(UsageError, match="file is not a folder"):
        check_writable([Path("file/x.png")])
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(UsageError, match="not writable"):
        check_writable([Path("new/x.png")])


# --- writing


def parts(folder: Path) -> list[str]:
    return [path.name for path in folder.glob(".denoise-*")]


@pytest.mark.parametrize(("number", "kind", "said"), [
    (errno.ENOSPC, NoSpaceError, "no space left on device: x.bin"), (errno.EIO, OutputError, "x.bin: "),
])  # fmt: skip
def test_what_fails_while_it_is_written_is_named(
    inside: Path, number: int, kind: type[Exception], said: str
) -> None:
    def fail() -> None:
        with Replacing(Path("x.bin")) as target:
            target.file.write(b"half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(kind, match=said):
        fail()
    assert not list(inside.glob("*.bin"))
    assert not list(inside.glob(".denoise-*"))


def test_a_target_is_old_or_whole(inside: Path) -> None:
    target = plant(inside, "x") / "x"
    replacing = Replacing(target)
    replacing.file.write(b"new")
    assert target.read_bytes() == b"x"
    assert len(parts(inside)) == 1
    replacing.commit()
    replacing.discard()
    assert target.read_bytes() == b"new"
    assert parts(inside) == []


def test_discard_leaves_no_trace_and_may_be_repeated(inside: Path) -> None:
    replacing = Replacing(inside / "deep" / "x")
    replacing.file.write(b"new")
    replacing.discard()
    replacing.discard()
    assert list((inside / "deep").iterdir()) == []


def test_the_leftover_of_a_killed_run_is_taken_up(inside: Path) -> None:
    killed = Replacing(inside / "x")
    killed.file.write(b"a long leftover")
    killed.file.close()  # what the kernel does to a killed process: closed and unlocked, not removed
    assert len(parts(inside)) == 1
    again = Replacing(inside / "x")
    again.file.write(b"new")
    again.commit()
    assert (inside / "x").read_bytes() == b"new"
    assert parts(inside) == []


def test_two_writers_of_one_target_both_end_with_a_whole_file(inside: Path) -> None:
    first, second = Replacing(inside / "x"), Replacing(inside / "x")
    first.file.write(b"1" * 1000)
    second.file.write(b"2" * 10)
    first.commit()
    assert (inside / "x").read_bytes() == b"1" * 1000
    second.commit()
    assert (inside / "x").read_bytes() == b"2" * 10
    assert parts(inside) == []


def test_many_writers_of_one_target(inside: Path) -> None:
    errors: list[BaseException] = []

    def write(n: int) -> None:
        try:
            for _ in range(30):
                replacing = Replacing(inside / "x")
                replacing.file.write(b"%d" % n * 5000)
                replacing.commit() if n % 3 else replacing.discard()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    content = (inside / "x").read_bytes()
    assert len(content) == 5000
    assert len(set(content)) == 1
    assert parts(inside) == []


def test_a_link_at_the_target_is_replaced_and_not_written_through(inside: Path) -> None:
    plant(inside, "precious")
    (inside / "x").symlink_to("precious")
    replacing = Replacing(inside / "x")
    replacing.file.write(b"new")
    replacing.commit()
    assert (inside / "precious").read_bytes() == b"precious"
    assert not (inside / "x").is_symlink()


def test_a_planted_part_is_not_followed(inside: Path) -> None:
    plant(inside, "precious")
    probe = Replacing(inside / "x")
    (name,) = parts(inside)
    probe.discard()
    (inside / name).symlink_to("precious")
    with pytest.raises(OutputError):
        Replacing(inside / "x")
    assert (inside / "precious").read_bytes() == b"precious"


def test_the_mode_follows_the_umask(inside: Path) -> None:
    old = os.umask(0o027)
    try:
        replacing = Replacing(inside / "x")
        replacing.commit()
    finally:
        os.umask(old)
    assert (inside / "x").stat().st_mode & 0o777 == 0o640


def test_long_names_and_folders_fail_before_any_work(inside: Path) -> None:
    (inside / "d").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        Replacing(inside / "d")
    with pytest.raises(OutputError, match="too long"):
        Replacing(inside / ("n" * 300))
    assert parts(inside) == []


def test_a_full_disk_has_an_error_of_its_own(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    replacing = Replacing(inside / "x")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpaceError, match=r"no space left on device: .*/x"):
        replacing.commit()
    replacing.discard()
    assert list(inside.iterdir()) == []
    assert full_disk(RuntimeError(f"write error\nsystem error: {os.strerror(28)}"))
    assert not full_disk(OSError(5, "I/O"))


# --- streams


class Stream(io.BytesIO):
    def isatty(self) -> bool:
        return False


def test_stdout_gets_the_whole_or_nothing() -> None:
    stream = Stream()
    dropped, kept = Stdout(stream), Stdout(stream)
    dropped.file.write(b"half")
    dropped.discard()
    kept.file.write(b"whole")
    assert stream.getvalue() == b""
    kept.commit()
    kept.discard()
    assert stream.getvalue() == b"whole"


def test_stdout_refuses_a_terminal_and_passes_a_broken_pipe_on() -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    class Broken(Stream):
        def write(self, data) -> int:
            raise BrokenPipeError(32, "broken pipe")

    with pytest.raises(UsageError, match="terminal"):
        Stdout(Terminal())
    broken = Stdout(Broken())
    broken.file.write(b"x")
    with pytest.raises(BrokenPipeError):
        broken.commit()
    broken.discard()


def test_spool_makes_a_pipe_seekable() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe, spool(pipe) as file:
        assert file.read() == b"abc"
        file.seek(1)
        assert file.read() == b"bc"


def test_open_input_names_what_happened(inside: Path) -> None:
    from denoise_cli.errors import InputError

    plant(inside, "a")
    with open_input(Path("a")) as file:
        assert file.read() == b"a"
    with pytest.raises(InputError, match="gone: no such file"):
        open_input(Path("gone"))
    os.mkfifo("pipe")
    with pytest.raises(InputError, match="pipe: not a regular file"):
        open_input(Path("pipe"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain ü.png", "plain ü.png"),
        ("a\nb\t\x1b[31m", "a\\nb\\t\\x1b[31m"),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
        ("right\u202eleft", "right\\u202eleft"),
    ],
)
def test_printable_is_one_line(name: str, shown: str) -> None:
    assert printable(Path(name)) == shown
