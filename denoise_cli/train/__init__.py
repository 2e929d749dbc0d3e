"""Training: clean pictures in, one self-describing ONNX file out.

data.py    pictures -> batches of clean patches, a pure function of (seed, step)
loop.py    batches -> weights; checkpoints, schedule, validation
losses.py  what is minimised
perturb.py noise on weights and parameters, adversarial inputs
export.py  weights -> ONNX with its card, and a parity check
"""
