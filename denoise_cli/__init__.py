"""denoise: clean photographs, recordings and sensor logs with denoising autoencoders."""

__version__ = "0.1.0"
