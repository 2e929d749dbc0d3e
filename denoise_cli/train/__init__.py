"""Training: clean files in, one self-describing ONNX file out.

fit.py         a whole training, from the folders to the model; paths.py  where it writes
tasks.py       what differs between pictures.py and sounds.py
data.py        pictures -> batches of clean patches, a pure function of (seed, step)
mixing.py      speech and noise -> batches of mixtures, as well
loop.py        batches -> weights; schedule, validation
checkpoint.py  a training in a file; origin.py  what such a file says of itself
losses.py      what is minimised; muon.py  how
perturb.py     noise on weights and parameters, adversarial inputs
export.py      weights -> ONNX with its card, and a parity check
"""
