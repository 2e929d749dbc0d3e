"""A model, opened: the only file that imports onnxruntime.

One session serves N Python threads that call it at the same time, each on one core: onnxruntime releases
the GIL, and N calls in parallel scale better than one call on N threads (1.9 against 1.8 on two cores). Where there
are fewer calls than cores, as for one small picture, a call has several (`threads`).

A model file is hostile until checked: its contents, by model_file.py; then, unless it ships with the tool, what it
computes, by a first run in a sandbox; then every output. All sessions together get half of the machine's memory.
"""

from __future__ import annotations

import functools
import hashlib
import math
import platform
import re
import reprlib
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from denoise_cli import memory, processor, sandbox, shipped
from denoise_cli.card import UNTOLD, ModelCard
from denoise_cli.errors import BackendError, InputError, ModelError, OutOfMemory, printable
from denoise_cli.model_file import ModelFile
from denoise_cli.processor import parse_device

MISSING = 'onnxruntime is not installed; run: pip install "denoise-cli[cpu]"  (or [gpu] for NVIDIA cards)'
NO_CUDA = 'device "cuda" is not available: this onnxruntime has no CUDA; run: pip install "denoise-cli[gpu]"'


# Onnxruntime keeps what a call needed for the next one, in pieces that suit it alone: over a folder of pictures of
# many sizes that can grow to three times what a call needs. Where the process has more than so many bytes, what is
# free goes back after a call of another size than the last; the next one then takes a little longer.
HELD, HELD_BY_CALL = 400 << 20, 100 << 20

# Nets of nothing but convolutions: in the blocked layout that onnxruntime gives them on x86 each value is summed in
# one order, on any number of threads. In products of matrices, and in the plain layout, it is not.
CONVOLUTIONS = ("unet", "dncnn")
BLOCKED = ("x86_64", "AMD64")


class Session:
    """An opened model: ``session(x)`` maps float32 to the same shape. Safe to call from threads.

    x is (N, C, H, W) for pictures, (N, C, T), with any C, for recordings, (N, C) for tables, whose rows are the
    samples, and (N, C, T) for series; in those two a value that is missing is NaN.

    A path is checked, and tried unless it is that of a model that ships; a ModelFile is opened as it is.
    `threads` of the processor share a call of a model that gives the same bits then; any other has one.
    Raises ModelError for a file that is not a model of ours or lies about itself, BackendError where
    the runtime or the named device is missing.
    """

    def __init__(self, model: Path | ModelFile, device: str = "auto", threads: int = 1):
        name, index = parse_device(device)
        file = model if isinstance(model, ModelFile) else tried(model)
        same = file.card.arch in CONVOLUTIONS and platform.machine() in BLOCKED
        self._threads = threads if same else 1
        cuda = has_cuda(device)
        self._runtime = _runtime()
        self.path, self.card = file.path, file.card
        providers: list[Any] = [("CUDAExecutionProvider", {"device_id": index})] if cuda and name != "cpu" else []
        self._providers = [*providers, "CPUExecutionProvider"]
        self._session = self._open(file.data, self._providers)
        self.on_gpu = self._session.get_providers()[0] == "CUDAExecutionProvider"
        if name == "cuda" and not self.on_gpu:
            raise BackendError(f'device "{device}" could not be opened; onnxruntime fell back to the processor')
        self.fell_back = bool(providers) and not self.on_gpu  # only ever with "auto"
        self._check_signature()
        self._last: tuple[int, ...] = ()  # shape of a call
        self._running: dict[int, Any] = {}  # options of the calls that are computing, by thread
        # The CUDA provider serialises calls anyway, and a queue of them only holds memory.
        self._turn = threading.Semaphore(1) if self.on_gpu else None

    def _open(self, data: bytes, providers: list[Any]) -> Any:
        options = self._runtime.SessionOptions()
        if len(providers) == 1:  # a GPU has a limit of its own
            _bound_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors come as exceptions; nothing is printed beside them
        options.enable_mem_pattern = False  # tiles differ in shape; a plan for each would be kept
        processor.add_bytes_exactly(options)
        options.add_session_config_entry("session.load_model_format", "ONNX")  # the format that was checked
        try:
            session = self._runtime.InferenceSession(data, options, providers=providers)
        except Exception as error:  # onnxruntime raises a dozen private classes
            raise ModelError(f"{self.path}: not a model that can be loaded ({_first_line(error)})") from None
        session._model_bytes = None  # kept for a fallback we do not use: as much memory as the weights
        return session

    def part(self, data: bytes) -> Any:
        """Open a graph that was cut out of this model, on the same device: an onnxruntime session as it is."""
        return self._open(data, self._providers)

    def cancel(self, threads: Iterable[int]) -> None:
        """Let the calls that these threads are in, by their identifiers, end with a ModelError, soon."""
        for thread in threads:
            if (options := self._running.get(thread)) is not None:
                options.terminate = True

    def _check_signature(self) -> None:
        wanted = ["x", "sigma"] if self.card.noise_input else ["x"]
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        names = [node.name for node in inputs]
        if names != wanted or len(outputs) != 1:
            raise ModelError(f"{self.path}: inputs are {reprlib.repr(names)}, but its card says {wanted}")
        axes = _AXES.get(self.card.kind, "(N, C, H, W)")
        for node in (inputs[0], outputs[0]):
            fixed = [size for size in node.shape[2:] if isinstance(size, int)]
            if node.type != "tensor(float)" or len(node.shape) != axes.count(",") + 1 or fixed:
                raise ModelError(f"{self.path}: {node.name} is {node.type} {node.shape}, not float {axes}")
        channels = inputs[0].shape[1]
        if self.card.kind == "audio":
            if isinstance(channels, int):
                raise ModelError(f"{self.path}: takes {channels} channels; a model for recordings takes any number")
        elif channels != self.card.channels:
            raise ModelError(
                f"{self.path}: takes {inputs[0].shape[1]} channels, its card says {self.card.channels}"
            )

    def __call__(self, x: np.ndarray, sigma: float | None = None) -> np.ndarray:
        """Denoise float32 x, (N, C, H, W) or (N, C, T), whose H and W or T are multiples of `card.multiple`.

        `sigma` in [0, 1] is told to a model that takes it; None leaves it to find the level itself.

        Raises ModelError if what comes out has another shape or is not finite, InputError if what goes in is not
        finite either, OutOfMemory where the device has no room for it.
        """
        feed = {"x": np.ascontiguousarray(x, dtype=np.float32)}
        if self.card.noise_input:
            level = (UNTOLD if self.card.noise_optional else 0.0) if sigma is None else sigma
            feed["sigma"] = np.full(len(x), level, np.float32)
        here = threading.get_ident()
        options = self._running[here] = self._runtime.RunOptions()
        if self._last != x.shape and not self.on_gpu:
            self._last = x.shape
            if memory.used() > HELD + HELD_BY_CALL * len(self._running):
                options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            if self._turn is None:
                y = self._session.run(None, feed, options)[0]
            else:
                with self._turn:
                    y = self._session.run(None, feed, options)[0]
        except Exception as error:
            if "allocate" in str(error).lower() or "out of memory" in str(error).lower():
                raise OutOfMemory(
                    f"{self.path}: out of memory at {x.shape}; try a smaller --tile or --batch"
                ) from None
            raise ModelError(f"{self.path}: failed on {x.shape} ({_first_line(error)})") from None
        finally:
            self._running.pop(here, None)
        if y.shape != x.shape:
            raise ModelError(f"{self.path}: turned {x.shape} into {y.shape}")
        # One sum is finite only if every term is, and costs a tenth of isfinite over all.
        with np.errstate(over="ignore"):
            finite = np.isfinite(y.sum()) or np.isfinite(y).all()  # the sum of large ones may be infinite
        if not finite and not np.isfinite(x).all():
            raise InputError("holds values that are not finite")
        if not finite:
            raise ModelError(f"{self.path}: gave values that are not finite")
        return y


def has_cuda(device: str = "auto") -> bool:
    """Whether the runtime knows CUDA. No file is opened for it, so that a run can ask before any work.

    Raises BackendError where there is no runtime, or `device` asks for CUDA in vain.
    """
    there = "CUDAExecutionProvider" in _runtime().get_available_providers()
    if not there and parse_device(device)[0] == "cuda":
        raise BackendError(NO_CUDA)
    return there


def tried(path: Path) -> ModelFile:
    """Read, check and, unless it ships with the tool, try a model file."""
    file = ModelFile.read(path)
    _runtime()
    if path.resolve().parent not in shipped.FOLDERS:
        _try(file)
    return file


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise BackendError(MISSING) from None
    return onnxruntime


def _try(file: ModelFile) -> None:
    """Open and run a model once in a process that can be killed; raises ModelError unless all goes well."""
    digest = hashlib.sha256(file.data).digest()
    if digest in _TRIED:
        return
    try:
        fault = sandbox.call(__name__, rehearse.__name__, file.data)
    except sandbox.Died as end:
        raise ModelError(f"{file.path}: {end} when it was tried") from None
    if fault != _GOOD:
        raise ModelError(f"{file.path}: {printable(fault)[:300] or 'gave no answer when it was tried'}")
    _TRIED.add(digest)


_GOOD = "good"  # what a trial answers; anything else is a fault
_TRIED: set[bytes] = set()  # digests of what has been good once in this process


def rehearse(data: bytes) -> str:
    """In the sandbox: open the model in `data` and run it on a small input; "good", or what its fault is."""
    import onnxruntime  # noqa: F401 - is loaded before the limits hold

    size = len(data)
    sandbox.confine(memory=(256 << 20) + 4 * size, seconds=1 + size / (16 << 20))
    try:
        session = Session(ModelFile.parse(data, _UNNAMED), "cpu")
        session(_example(session.card), sigma=0.1)
        if session.card.noise_optional:
            session(_example(session.card))
    except (MemoryError, OutOfMemory):
        return "needs more memory than a model of its size should"
    except ModelError as error:
        return str(error).removeprefix(f"{_UNNAMED}: ")
    return _GOOD


def _example(card: ModelCard) -> np.ndarray:
    """A ramp over a small input that is wider than high, so that a swap of the axes shows."""
    step = card.multiple
    side = -(-16 // step) * step
    shapes = {"audio": (1, 2, 64 * step), "series": (1, card.channels, 16 * step), "table": (16, card.channels)}
    shape = shapes.get(card.kind, (1, card.channels, side, side + step))
    x = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    if card.kind in ("series", "table"):
        x[..., -1] = np.nan  # a missing value, which such a model must take
    return x


_AXES = {"audio": "(N, C, T)", "series": "(N, C, T)", "table": "(N, C)"}
_UNNAMED = Path("model")


@functools.cache
def _bound_memory() -> None:
    """Give all sessions of this process one allocator, with a limit: a model may need any amount at full size."""
    import onnxruntime as runtime

    kind = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    names = ("arena_extend_strategy", "initial_chunk_size_bytes", "max_dead_bytes_per_chunk")  # -1: as by default
    arena = runtime.OrtArenaCfg({"max_mem": memory.total() // 2, **dict.fromkeys(names, -1)})
    runtime.create_and_register_allocator(kind, arena)


def _first_line(error: Exception) -> str:
    """What onnxruntime says, without its codes and places in its source."""
    text = re.sub(
        r"\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\) ", "", str(error).strip()
    )
    return printable(text.splitlines()[0][:200]) if text else type(error).__name__
