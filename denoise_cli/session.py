"""A model, opened: the only file that imports onnxruntime.

One session serves N Python threads that call it at the same time, each on one core: onnxruntime releases
the GIL, and N calls in parallel scale better than one call on N threads (1.9 against 1.8 on two cores).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from denoise_cli.card import METADATA_KEY, ModelCard
from denoise_cli.errors import BackendError, ModelError, OutOfMemory, UsageError

MISSING = 'onnxruntime is not installed; run: pip install "denoise-cli[cpu]"  (or [gpu] for NVIDIA cards)'
NO_CUDA = 'device "cuda" is not to be had: this onnxruntime has no CUDA; run: pip install "denoise-cli[gpu]"'


def parse_device(device: str) -> tuple[str, int]:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` -> (name, index); raises UsageError for anything else."""
    name, colon, index = device.partition(":")
    if name not in ("auto", "cpu", "cuda") or (colon and (name != "cuda" or not index.isdecimal())):
        raise UsageError(f'unknown device "{device}"; choose from auto, cpu, cuda, cuda:N')
    return name, int(index or 0)


class Session:
    """An opened model: ``session(x)`` maps float32 to the same shape. Safe to call from threads.

    x is (N, C, H, W) for pictures and (N, C, T), with any C, for recordings.

    Raises ModelError for a file that is not a model of ours or lies about itself, BackendError where
    the runtime or the named device is missing.
    """

    def __init__(self, path: Path, device: str = "auto"):
        name, index = parse_device(device)
        try:
            import onnxruntime
        except ImportError:
            raise BackendError(MISSING) from None
        self._runtime = onnxruntime
        self.path = path
        cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        if name == "cuda" and not cuda:
            raise BackendError(NO_CUDA)
        providers: list[Any] = [("CUDAExecutionProvider", {"device_id": index})] if cuda and name != "cpu" else []
        self._session = self._open([*providers, "CPUExecutionProvider"])
        self.on_gpu = self._session.get_providers()[0] == "CUDAExecutionProvider"
        if name == "cuda" and not self.on_gpu:
            raise BackendError(f'device "{device}" could not be opened; onnxruntime fell back to the processor')
        self.fell_back = bool(providers) and not self.on_gpu  # only ever with "auto"
        self.card = self._card()
        self._check_signature()
        # The CUDA provider serialises calls anyway, and a queue of them only holds memory.
        self._turn = threading.Semaphore(1) if self.on_gpu else None

    def _open(self, providers: list[Any]) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors come as exceptions; nothing is printed beside them
        options.enable_mem_pattern = False  # tiles differ in shape; a plan for each would be kept
        try:
            return self._runtime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # onnxruntime raises a dozen private classes
            raise ModelError(f"{self.path}: not a model that can be loaded ({_first_line(error)})") from None

    def _card(self) -> ModelCard:
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise ModelError(f"{self.path}: no model card; was it made by denoise train?")
        try:
            return ModelCard.from_json(text)
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from None

    def _check_signature(self) -> None:
        wanted = ["x", "sigma"] if self.card.noise_input else ["x"]
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        names = [node.name for node in inputs]
        if names != wanted or len(outputs) != 1:
            raise ModelError(f"{self.path}: inputs are {names}, but its card says {wanted}")
        axes = "(N, C, T)" if self.card.kind == "audio" else "(N, C, H, W)"
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

        `sigma` in [0, 1] is told to a model that takes it.

        Raises ModelError if what comes out has another shape or is not finite, OutOfMemory where the
        device has no room for it.
        """
        feed = {"x": np.ascontiguousarray(x, dtype=np.float32)}
        if self.card.noise_input:
            feed["sigma"] = np.full(len(x), 0.0 if sigma is None else sigma, np.float32)
        try:
            if self._turn is None:
                y = self._session.run(None, feed)[0]
            else:
                with self._turn:
                    y = self._session.run(None, feed)[0]
        except Exception as error:
            if "allocate" in str(error).lower() or "out of memory" in str(error).lower():
                raise OutOfMemory(f"out of memory at {x.shape}; try a smaller --tile or --batch") from None
            raise ModelError(f"{self.path}: failed on {x.shape} ({_first_line(error)})") from None
        if y.shape != x.shape:
            raise ModelError(f"{self.path}: turned {x.shape} into {y.shape}")
        # One sum is finite only if every term is, and costs a tenth of isfinite over all.
        if not np.isfinite(y.sum()):
            raise ModelError(f"{self.path}: gave values that are not finite")
        return y


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
