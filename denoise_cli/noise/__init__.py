"""How noise passes through a network: exactly, layer by layer, and measured, in a real one.

    theory                                             experiment
    activations.py  what ReLU, tanh, ... do            network.py   an ONNX model with its insides out
    density.py      Law: density and CDF, composed     measure.py   statistics of one layer over many draws
    moments.py      closed forms, quadrature           predict.py   moments through one node of the graph
    layers.py       specs; which steps are exact       study.py     one network, one picture, many draws
    sampling.py     Monte Carlo; KS distance           verdict.py   the answer in words
    drawing.py      density over histogram             page.py      the answer as an HTML file
    settings.py     random layers, one against the other

Why numpy and the standard library alone: see denoise_cli.gaussian. `network` and `predict` need onnx and
onnxruntime, and import them where they are used; nothing here needs torch or scipy.

>>> from denoise_cli.noise import layers
>>> for step in layers.propagate(layers.parse("conv(9*0.1),relu,maxpool(4)")):
...     print(step.name, f"{step.moments.mean:.4f} {step.moments.std:.4f}", step.exact)
input 0.0000 1.0000 True
conv(9*0.1) 0.0000 0.3000 True
relu 0.1197 0.1751 True
maxpool(4) 0.3137 0.2013 True
"""
