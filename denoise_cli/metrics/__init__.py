"""Numbers for how good a result is, and for how much noise there is.

                    against a clean reference               against nothing
    pictures        pictures.py  PSNR, SSIM, residual       noise.py  NoiseMeter, 8-bit steps
                                                            white.py  is it white?
                                                            risk.py   the error a model leaves, where it is
                                                            (patches.py: where both look)
    recordings      sound.py     SI-SDR, SNR, spectra       floor.py  LevelMeter, dB of full scale
    speech          speech.py    STOI, PESQ (optional packages)
    anything                                                reconstruction.py  ErrorMeter, for anomalies

Every comparison is called as ``metric(x, reference)``, with the sampling rate third for recordings. numpy is
all that loading this takes.
"""

from denoise_cli.metrics.floor import LevelMeter, noise_level
from denoise_cli.metrics.noise import FLATTEST, NoiseMeter, noise_std
from denoise_cli.metrics.pictures import STEPS, WINDOW, ResidualMeter, mse, psnr, residual, ssim
from denoise_cli.metrics.reconstruction import ErrorMeter, exceeds
from denoise_cli.metrics.risk import probed, risks
from denoise_cli.metrics.sound import NoScore, log_spectral_distance, segmental_snr, si_sdr, snr
from denoise_cli.metrics.speech import pesq, stoi
from denoise_cli.metrics.white import NoiseTraits, is_white, traits, white_std

__all__ = [
    "FLATTEST", "STEPS", "WINDOW",
    "ErrorMeter", "LevelMeter", "NoScore", "NoiseMeter", "NoiseTraits", "ResidualMeter",
    "exceeds", "is_white", "log_spectral_distance", "mse", "noise_level", "noise_std", "pesq", "probed", "psnr",
    "residual", "risks", "segmental_snr", "si_sdr", "snr", "ssim", "stoi", "traits", "white_std",
]  # fmt: skip
