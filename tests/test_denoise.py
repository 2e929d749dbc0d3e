"""The engine: what comes out depends on the file and the model alone, and one bad file stops no other."""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import read_png, scene, write_png
from PIL import Image

from denoise_cli import denoise, workers
from denoise_cli.card import ModelCard
from denoise_cli.denoise import Options, array
from denoise_cli.errors import BackendError, InputError, NoSpaceError, OutOfMemory, UsageError
from denoise_cli.media import files, image
from denoise_cli.pipeline import Stopped
from denoise_cli.session import Session
from denoise_cli.workers import Room, Tile, Workers


class Fake:
    """A session without a model: `change` of (N, C, H, W), told the noise level; it counts its calls."""

    on_gpu = False

    def __init__(self, change=lambda x: 1 - x, **card):
        self.card = ModelCard("fake", **card)
        self.change, self.calls = change, []

    def __call__(self, x, sigma=None):
        self.calls.append((x.shape, sigma))
        return self.change(x)


@pytest.fixture(scope="module")
def session(model: Path) -> Session:
    return Session(model, "cpu")


@pytest.fixture
def job(tmp_path: Path):
    """Write a picture and give the job that denoises it."""

    def make(name: str, x: np.ndarray | None = None) -> files.Job:
        source = write_png(tmp_path / "in" / name, scene(40, 48) if x is None else x)
        return files.Job(source, tmp_path / "out" / name, Path(name))

    return make


def leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.startswith(".") or path.suffix == ".part"]


@pytest.mark.parametrize("size", [(150, 200), (65, 300), (301, 67)])
def test_tiled_equals_whole_with_the_halo_of_the_card(session, size):
    x = scene(*size)
    whole = array(x, session, Options(tile=1024))
    tiled = array(x, session, Options(tile=64))
    assert np.abs(whole - x).max() > 1 / 255  # the model does something
    assert np.abs(tiled - whole).max() < 0.01 / 255


def test_without_a_halo_tiles_would_show(session):
    x = scene(150, 200)
    whole = array(x, session, Options(tile=1024))
    bare = Fake(lambda tile: session(tile), multiple=session.card.multiple, halo=0)
    assert np.abs(array(x, bare, Options(tile=64)) - whole).max() > 0.01 / 255


@pytest.mark.parametrize(("threads", "windows"), [(1, 1), (3, 3)])
def test_further_windows_are_read_meanwhile_only_where_fewer_cannot_keep_the_threads_busy(threads, windows):
    x, fake, options = scene(160, 1600), Fake(multiple=8), Options(tile=64, threads=threads)
    rows, columns = denoise.plan(denoise.Header.picture(x.shape), 0, 8, 64)
    height = rows[0].stop
    assert denoise.BUSY <= len(columns) < 2 * denoise.BUSY  # one window does for one thread, three for three
    assert len(rows) > 4
    read, written = [], []

    def blocks():
        for top in range(0, 160, 4):
            yield x[:, top : top + 4]
            read.append(top)  # when the next one is asked for

    workers = Workers(fake, options)
    try:
        for _, y in denoise._windows(blocks(), denoise.Header.picture(x.shape), fake, workers, options):
            if len(written) < len(rows) - windows:
                assert 4 * len(read) // height - len(written) == windows
            written.append(y)
    finally:
        workers.stop()
    assert np.array_equal(np.concatenate(written, axis=1), 1 - x)


def test_frames_of_a_file_are_computed_side_by_side_and_come_in_order():
    """They wait for each other: less than so many at once would never end."""
    threads = 4
    together = threading.Barrier(threads, timeout=30)

    def change(tile):
        together.wait()
        return 1 - tile

    x = scene(8 * threads, 16)
    header = replace(denoise.Header.picture((3, 8, 16)), frames=8 * threads // 8)
    y = denoise.signal(denoise.Signal(x, header), Fake(change), Options(threads=threads))
    assert np.array_equal(y, 1 - x)


def test_nothing_is_refused_in_one_line():
    for shape in ((1, 0, 10), (0, 8, 8), (3, 4, 0)):
        with pytest.raises(InputError, match="nothing in an array"):
            array(np.zeros(shape, np.float32), Fake())


@pytest.mark.parametrize("shape", [(32, 32), (100, 90, 3), (1, 3, 8, 8)])
def test_an_array_that_is_no_picture_is_refused(shape):
    with pytest.raises(InputError, match="a picture is"):
        array(np.zeros(shape, np.float32), Fake())


def test_all_cores_are_taken_where_the_system_does_not_tell_which(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert workers.threads_of(denoise.Options()) == 7
    assert workers.threads_of(denoise.Options(threads=2)) == 2


def test_pictures_off_the_grid_of_the_model_keep_their_size():
    sizes = []
    fake = Fake(lambda x: sizes.append(x.shape[2:]) or 1 - x, multiple=8)
    x = scene(21, 5)
    assert np.array_equal(array(x, fake), 1 - x)
    assert sizes == [(24, 8)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (17, 3)])
def test_no_picture_is_too_small(session, shape):
    y = array(scene(*shape), session)
    assert y.shape == (3, *shape)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backwards", [False, True])
def test_threads_batches_and_order_change_no_byte(session, job, threads, batch, backwards):
    x = {f"{n}.png": scene(70 + 9 * n, 130, seed=n) for n in range(3)}
    jobs = [job(name, picture) for name, picture in x.items()]
    results = list(
        denoise.run(jobs[::-1] if backwards else jobs, session, Options(tile=64, threads=threads, batch=batch))
    )
    assert sorted(result.job.relative.name for result in results) == sorted(x)
    for one in jobs:
        y = array(x[one.relative.name], session, Options(tile=64, threads=1, batch=1))
        assert np.array_equal(read_png(one.target), (y.clip(0, 1) * 255).round().astype(np.uint8))


def test_tiles_of_several_files_share_a_batch_of_no_more_than_asked(job):
    fake = Fake(lambda x: time.sleep(0.1) or x)  # slow enough for tiles to wait in line
    list(denoise.run([job(f"{n}.png") for n in range(8)], fake, Options(threads=1, batch=3)))
    sizes = [shape[0] for shape, _ in fake.calls]
    assert 2 <= max(sizes) <= 3  # two and two, where the tiles of the last call are still being written
    assert sum(sizes) == 8


def test_strength_mixes_the_input_and_the_model(session):
    x = scene(40, 50)
    full = array(x, session)
    assert np.array_equal(array(x, session, Options(strength=0)), x)
    assert np.allclose(array(x, session, Options(strength=0.5)), (x + full) / 2, atol=1e-7, rtol=0)


def test_strength_is_exact_where_the_arithmetic_is():
    x = (scene(8, 8) * 255).round() / 256  # dyadic numbers, so that no sum is rounded
    assert np.array_equal(array(x, Fake(lambda x: x + 0.5), Options(strength=0.5)), x + np.float32(0.25))


def test_a_blind_model_takes_no_noise_level():
    with pytest.raises(UsageError, match='"fake" is blind'):
        array(scene(8, 8), Fake(), Options(std=25))


def test_a_model_that_must_be_told_the_noise_level_is():
    with pytest.raises(UsageError, match='"fake" must be told'):
        array(scene(8, 8), Fake(noise_input=True))


def test_the_noise_level_is_told_in_units_of_the_signal(sigma_model):
    fake = Fake(noise_input=True)
    array(scene(8, 8), fake, Options(std=51))
    assert fake.calls == [((1, 3, 8, 8), 0.2)]
    session, x = Session(sigma_model, "cpu"), scene(40, 40)
    assert not np.allclose(array(x, session, Options(std=5)), array(x, session, Options(std=50)), atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"strength": 1.5}, "--strength"), ({"strength": float("nan")}, "--strength"), ({"std": -1}, "--std"),
        ({"std": 256}, "--std"), ({"tile": 63}, "--tile"), ({"batch": 0}, "--batch"), ({"threads": 0}, "--threads"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(wrong, named):
    with pytest.raises(UsageError, match=named):
        Options(**wrong)


def test_gray_equals_colour_with_three_equal_channels(session):
    gray = scene(50, 60, channels=1)
    colour = array(np.repeat(gray, 3, axis=0), session)
    assert np.allclose(array(gray, session)[0], colour.mean(axis=0), atol=1e-6)


def test_a_gray_model_takes_each_channel_for_itself(gray_model):
    session, x = Session(gray_model, "cpu"), scene(50, 60)
    y = array(x, session)
    for c in range(3):
        assert np.allclose(y[c], array(x[c : c + 1], session)[0], atol=1e-6)


def test_frames_of_an_animation_do_not_bleed_into_each_other(session, tmp_path):
    frames = [scene(90, 70, seed=n) for n in range(3)]
    frames[1] = 1 - frames[1]  # so that anything carried over would show
    source = tmp_path / "a.webp"
    drawn = [Image.fromarray((f.transpose(1, 2, 0) * 255).round().astype(np.uint8)) for f in frames]
    drawn[0].save(source, save_all=True, append_images=drawn[1:], lossless=True, exact=True, duration=50)
    target = tmp_path / "b.webp"
    (result,) = denoise.run([files.Job(source, target, Path("a.webp"))], session, Options(tile=64))
    assert result.error is None
    with Image.open(target) as image:
        assert image.n_frames == 3
        for n, frame in enumerate(frames):
            image.seek(n)
            alone = (array(frame, session, Options(tile=64)).clip(0, 1) * 255).round()
            assert np.array_equal(np.asarray(image.convert("RGB")).transpose(2, 0, 1), alone)


def test_a_bad_file_yields_its_error_and_the_others_are_done(job):
    jobs = [job(f"{n}.png") for n in range(5)]
    jobs[1].source.write_text("no picture\n")
    jobs[3].source.unlink()
    found = {result.job.relative.name: result.error for result in denoise.run(jobs, Fake(), Options(threads=2))}
    assert [name for name, error in sorted(found.items()) if error is None] == ["0.png", "2.png", "4.png"]
    assert str(jobs[1].source) in found["1.png"]
    assert "no such file" in found["3.png"]
    assert [one.target.exists() for one in jobs] == [True, False, True, False, True]
    assert not leftovers(jobs[0].target.parent)


def test_what_nobody_foresaw_is_the_error_of_one_file(job):
    def stumble(x):
        if x.shape[2] == 20:
            raise RuntimeError("one line\nand another")
        return x

    jobs = [job("a.png"), job("b.png", scene(20, 20)), job("c.png")]
    found = {result.job.relative.name: result.error for result in denoise.run(jobs, Fake(stumble))}
    assert found == {"a.png": None, "b.png": "RuntimeError: one line", "c.png": None}
    assert not jobs[1].target.exists()


def test_results_say_what_was_measured(job):
    quiet = np.full((3, 128, 128), 0.5, np.float32)
    noisy = quiet + np.random.default_rng(0).normal(0, 10 / 255, quiet.shape).astype(np.float32)
    (result,) = denoise.run([job("a.png", noisy)], Fake(lambda x: np.full_like(x, 0.5)))
    assert result.noise_before == pytest.approx(10, rel=0.1)
    assert result.noise_after == pytest.approx(0, abs=0.01)
    assert result.residual == pytest.approx(10, rel=0.05)
    assert (result.size, result.seconds > 0) == (128 * 128, True)


def test_closing_early_leaves_no_partial_file_and_no_thread(job):
    def slowly(x):
        slow.wait(0.02)
        return x

    slow = threading.Event()
    before = threading.active_count()
    jobs = [job(f"{n}.png", scene(130, 130)) for n in range(12)]
    results = denoise.run(jobs, Fake(slowly), Options(tile=64, threads=2))
    first = next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before
    assert first.job.target.exists()
    written = list(first.job.target.parent.iterdir())
    assert len(written) < len(jobs)
    for path in written:  # whatever is there is whole
        assert read_png(path).shape == (3, 130, 130)


def test_a_session_that_is_out_of_order_ends_the_run(job):
    def fail(x):
        raise BackendError("out of memory")

    before = threading.active_count()
    jobs = [job(f"{n}.png") for n in range(20)]
    fake = Fake(fail)
    with pytest.raises(BackendError, match="out of memory"):
        list(denoise.run(jobs, fake, Options(threads=1)))
    assert len(fake.calls) < len(jobs)
    assert threading.active_count() == before
    assert not any(jobs[0].target.parent.glob("*"))


def test_a_full_disk_ends_the_run(job, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    jobs, fake = [job(f"{n}.png") for n in range(20)], Fake()
    with pytest.raises(NoSpaceError, match=r"no space left on device: .*png"):
        list(denoise.run(jobs, fake, Options(threads=1)))
    assert len(fake.calls) < len(jobs)
    assert not any(jobs[0].target.parent.glob("*"))  # hidden parts included


def test_blocks_of_any_size_give_the_same_rows(session, monkeypatch, job):
    """A picture above the size of a block is streamed; it must equal the one that is read whole."""
    from denoise_cli.media import image

    one = job("a.png", scene(300, 100))
    list(denoise.run([one], session, Options(tile=64)))
    whole = read_png(one.target)
    monkeypatch.setattr(image, "BLOCK_SAMPLES", 3 * 100 * 32)
    streamed = replace(one, target=one.target.with_name("b.png"))
    (result,) = denoise.run([streamed], session, Options(tile=64))
    assert result.error is None
    assert np.array_equal(read_png(streamed.target), whole)


def test_a_batch_that_does_not_fit_is_halved_for_good_and_one_tile_that_does_not_ends_the_run(job):
    def small(x):
        if len(x) > 2:
            raise OutOfMemory(f"out of memory at {x.shape}")
        return 1 - x

    fake = Fake(small)
    results = list(denoise.run([job(f"{n}.png") for n in range(16)], fake, Options(threads=1, batch=8)))
    assert [result.error for result in results] == [None] * 16
    assert sum(shape[0] for shape, _ in fake.calls if shape[0] <= 2) == 16
    failed = [shape[0] for shape, _ in fake.calls if shape[0] > 2]
    assert len(failed) <= 3, "8 fails, then both its halves, and from then on it is known"

    def nothing(x):
        raise OutOfMemory("out of memory")

    with pytest.raises(OutOfMemory):
        list(denoise.run([job("x.png")], Fake(nothing), Options(threads=1, batch=8)))


def test_a_thread_that_waits_for_tiles_holds_none(session):
    workers = Workers(session, Options(threads=1))
    try:
        x = np.zeros((3, 64, 64), np.float32)
        there, tile = weakref.ref(x), Tile(session, x, lambda y: None)
        workers.submit(tile)
        tile.done.result()
        del x, tile
        deadline = time.monotonic() + 10
        while there() is not None and time.monotonic() < deadline:
            time.sleep(0.01)  # the thread is on its way back to the queue
        assert there() is None
    finally:
        workers.stop()


def test_whoever_holds_room_is_not_let_wait_for_more_and_whoever_holds_none_is_let_in():
    room = Room(10)
    assert room.take(25, wait=True), "alone, any number"
    assert not room.take(1, wait=False)
    entered = threading.Event()
    waiting = threading.Thread(target=lambda: (room.take(4, wait=True), entered.set()))
    waiting.start()
    assert not entered.wait(0.05)
    room.give(25)
    assert entered.wait(5)
    assert room.take(6, wait=False)
    assert not room.take(1, wait=False)
    waiting.join()


def test_a_run_that_ends_lets_nobody_wait_for_room():
    room, ended = Room(1), []
    room.take(1, wait=True)

    def wait() -> None:
        with pytest.raises(Stopped):
            room.take(1, wait=True)
        ended.append(True)

    waiting = threading.Thread(target=wait)
    waiting.start()
    room.close()
    waiting.join(5)
    assert ended == [True]


class Watched(Room):
    """Room that knows how much of it was ever taken at once."""

    every: list[Watched]

    def __init__(self, samples):
        super().__init__(samples)
        self.held = self.most = 0
        self.lock = threading.Lock()
        self.every.append(self)

    def take(self, samples, *, wait):
        taken = super().take(samples, wait=wait)
        with self.lock:
            self.held += samples * taken
            self.most = max(self.most, self.held)
        return taken

    def give(self, samples):
        with self.lock:
            self.held -= samples
        super().give(samples)


@pytest.fixture
def rooms(monkeypatch) -> list[Watched]:
    """The rooms that Workers make."""
    monkeypatch.setattr(workers, "Room", Watched)
    monkeypatch.setattr(Watched, "every", made := [], raising=False)
    return made


def test_windows_of_many_files_at_once_have_room_together_and_a_bad_file_gives_its_own_back(
    job, monkeypatch, rooms
):
    x = scene(96, 40)
    monkeypatch.setattr(workers, "WINDOW", one := 3 * 40 * 48)  # of a window and its halo; two have room

    def change(tile):
        if tile.min() < 0.001:
            raise RuntimeError("a bad file")
        return 1 - tile

    bad = x.copy()
    bad[:, 60] = 0
    x = x.clip(0.02, 1)
    jobs = [job(f"{n}.png", bad if n % 3 == 1 else x) for n in range(12)]
    results = list(denoise.run(jobs, Fake(change, halo=8), Options(tile=64, threads=2)))
    assert sum(result.error is None for result in results) == 8
    windows, _ = rooms
    assert 0 < windows.most <= 2 * one
    assert windows.held == 0
    for made in (made for made in jobs if made.target.exists()):
        assert np.array_equal(read_png(made.target), 255 - read_png(made.source))


def test_pictures_that_were_looked_at_wait_in_a_room_of_their_own(job, monkeypatch, rooms):
    monkeypatch.setattr(workers, "WINDOW", one := 3 * 40 * 48)
    fake = Fake(lambda tile: time.sleep(0.01) or 1 - tile)
    jobs = [job(f"{n}.png") for n in range(12)]
    cut = jobs[3].source.read_bytes()
    jobs[3].source.write_bytes(cut[: len(cut) // 2])  # fails while it is looked at
    results = list(denoise.run(jobs, lambda header: fake, Options(threads=1, batch=8)))
    assert sum(result.error is None for result in results) == 11
    _, sights = rooms
    assert sights.most == one, "one at a time, though nine files are read at once"
    assert sights.held == 0


def test_a_run_that_ends_lets_nobody_wait_to_look(job, monkeypatch, rooms):
    monkeypatch.setattr(workers, "WINDOW", 1)
    begun, go = threading.Event(), threading.Event()

    def change(tile):
        begun.set()
        go.wait(10)
        return tile

    run = denoise.run([job(f"{n}.png") for n in range(8)], lambda header: Fake(change), Options(threads=1, batch=8))
    ending = threading.Thread(target=lambda: (begun.wait(10), go.set()))
    ending.start()
    next(run)
    run.close()  # joins the threads of the files: it would not come back
    ending.join()
    assert all(room.held == 0 for room in rooms)


def test_who_needs_all_of_the_room_waits_for_it_and_newcomers_wait_for_him():
    room, order = Room(10), []
    room.take(4, wait=True)

    def alone() -> None:
        with room.alone():
            order.append("alone")
            assert not room.take(1, wait=False)

    def newcomer() -> None:
        room.take(5, wait=True)
        order.append("newcomer")

    threads = [threading.Thread(target=alone)]
    threads[0].start()
    while not room._alone:
        time.sleep(0.001)
    assert room.take(2, wait=False), "who holds some goes on"
    threads.append(threading.Thread(target=newcomer))
    threads[1].start()
    time.sleep(0.05)
    assert order == []
    room.give(2)
    room.give(4)
    for thread in threads:
        thread.join(10)
    assert order == ["alone", "newcomer"]
    room.take(5, wait=True)  # beside the newcomer's: all else has been given back

    room.close()
    with pytest.raises(Stopped), room.alone():
        pass


def test_a_large_picture_whose_encoder_holds_copies_is_encoded_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "KEEP_BYTES", 1000)
    alone = []
    monkeypatch.setattr(Room, "alone", lambda self: nullcontext(alone.append(1)))
    x = (np.moveaxis(scene(40, 50), 0, 2) * 255).astype(np.uint8)
    for name, count in (("a.png", 0), ("b.webp", 1), ("small.webp", 1)):
        Image.fromarray(x[:8, :8] if "small" in name else x).save(tmp_path / name)
        job = files.Job(tmp_path / name, tmp_path / f"out-{name}", Path(name))
        (result,) = denoise.run([job], Fake(), Options(threads=1))
        assert result.error is None
        assert len(alone) == count
