"""Training: clean files in, one self-describing ONNX file out.

fit.py         a whole training, from the folders to the model; paths.py  where it writes
tasks.py       what differs between pictures.py, stacks.py, sounds.py and tables.py
data.py        pictures -> batches of clean patches, a pure function of (seed, step)
mixing.py      speech and noise -> batches of mixtures, as well
stream.py      batches, made ahead of the loop by a thread
columns.py     which columns of tables are modelled; scale.py  what they are divided by
loop.py        batches -> weights; schedule, validation
checkpoint.py  a training in a file; origin.py  what such a file says of itself
losses.py      what is minimised, loudness.py  for the ear; muon.py  how
perturb.py     noise on weights and parameters, adversarial inputs
rounding.py    a net that computes in bytes while it learns
export.py      weights -> ONNX with its card, and a parity check
quantise.py    that model in bytes; half.py  in half precision; average.py  several as one
"""
