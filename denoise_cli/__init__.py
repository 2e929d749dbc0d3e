"""denoise: clean photographs, recordings and sensor logs with denoising autoencoders."""

import os

# From 1.29 on, onnxruntime reports its use to Microsoft, and leaves files in the home and in TMPDIR, unless this
# stands in the environment before it is loaded. This tool calls no network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
