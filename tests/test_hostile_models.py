"""A model file is hostile until checked: what reads, loops, calls or lies is refused before onnxruntime sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, denoise, scene, write_png
from model_files import FLOAT, added, build, edit, identity, refused
from onnx import ModelProto, TensorProto, helper

from denoise_cli import nets
from denoise_cli.card import ModelCard
from denoise_cli.model_file import MAX_FIELDS, ModelFile
from denoise_cli.session import Session

TINY = {
    "unet": {"widths": (4, 8), "blocks": (1, 1)},
    "dncnn": {"width": 4, "depth": 3},
    "conv-dae": {"width": 4},
    "band-mixer": {"stem": 4, "channels": 8, "mixed": 4, "dilations": (1, 2)},
    "average": {"of": [{"arch": "dncnn", "net": {"width": 4, "depth": 3}}] * 2, "channels": 3},
}
node = helper.make_node


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return build(tmp_path / "m.onnx", identity())


# --- what must pass


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.onnx")), ids=lambda path: path.stem)
def test_every_model_that_ships_passes(path):
    assert ModelFile.read(path).card.name


@pytest.mark.parametrize("arch", nets.NETS)
def test_an_export_of_every_net_passes_and_stands_its_trial(arch, tmp_path):
    from denoise_cli.train.export import export

    net = nets.build(arch, TINY.get(arch, {}))
    kind = getattr(net, "kind", "image")
    channels = getattr(net.config, "channels", None) or getattr(net.config, "features", None)
    sizes = {"rate": 16_000} if kind == "audio" else {"channels": channels}
    card = ModelCard("tiny", kind=kind, multiple=getattr(net, "multiple", 1), arch=arch, **sizes)
    export(net, card, tmp_path / "m.onnx")
    assert Session(tmp_path / "m.onnx", "cpu").card.name == "tiny"


def test_a_model_that_ships_is_not_tried(monkeypatch, good):
    from denoise_cli import sandbox, shipped

    tried = []
    monkeypatch.setattr(sandbox, "call", lambda *args: tried.append(args) or "good")
    edit(good, lambda model: setattr(model, "doc_string", "not seen before"))
    Session(shipped.locate("image"), "cpu")
    assert not tried
    Session(good, "cpu")
    assert len(tried) == 1
    Session(good, "cpu")
    assert len(tried) == 1  # once a process is enough


@pytest.mark.parametrize("answer", ["", "good good", "\x1b[31mfault"])
def test_whatever_a_trial_answers_but_that_all_is_good_is_a_fault(monkeypatch, good, answer):
    from denoise_cli import sandbox

    edit(good, lambda model: setattr(model, "doc_string", f"for {answer!r}"))
    monkeypatch.setattr(sandbox, "call", lambda *args: answer)
    assert "\x1b" not in refused(good)


# --- what is refused by what it holds, without onnxruntime


def outside(location: str) -> TensorProto:
    tensor = TensorProto(name="b", data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def subgraph(operator: str, **attributes) -> list:
    body = helper.make_graph(identity("inner"), "body", [], [helper.make_tensor_value_info("y", FLOAT, None)])
    return [node(operator, ["x"], ["y"], **dict.fromkeys(attributes, body))]


def weight(**fields):
    """Change a model to add a tensor `b` to x."""

    def change(model: ModelProto) -> None:
        del model.graph.node[:]
        model.graph.node.extend(added("b"))
        model.graph.initializer.add(name="b", data_type=FLOAT, **fields)

    return change


def replaced(*nodes):
    def change(model: ModelProto) -> None:
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    return change


def sparse(model: ModelProto) -> None:
    tensor = model.graph.sparse_initializer.add(dims=[1 << 40])
    tensor.values.CopyFrom(helper.make_tensor("b", FLOAT, [1], [1.0]))


def function(model: ModelProto) -> None:
    opset = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], identity(), opset))


HOSTILE = {
    "up and out": (lambda m: m.graph.initializer.append(outside("../secret.bin")), "another file"),
    "absolute": (lambda m: m.graph.initializer.append(outside("/etc/passwd")), "another file"),
    "onnxruntime's memory": (lambda m: m.graph.initializer.append(outside("*/_ORT_MEM_ADDR_/*")), "another file"),
    "constant": (replaced(node("Constant", [], ["b"], value=outside("/etc/passwd")), *added("b")), "another file"),
    "only the location": (weight(dims=[1], data_location=TensorProto.EXTERNAL), "another file"),
    "sparse": (sparse, "sparse weights"),
    "loop": (replaced(*subgraph("Loop", body=1)), '"Loop"'),
    "if": (replaced(*subgraph("If", then_branch=1, else_branch=1)), '"If"'),
    "scan": (replaced(*subgraph("Scan", body=1)), '"Scan"'),
    "graph in a harmless operator": (replaced(*subgraph("Identity", body=1)), "a graph within an operator"),
    "function": (function, "functions"),
    "training": (lambda m: m.training_info.add(), "training steps"),
    "domain": (replaced(node("Conv", ["x"], ["y"], domain="com.evil")), '"com.evil"'),
    "microsoft": (replaced(node("EPContext", ["x"], ["y"], domain="com.microsoft")), '"EPContext"'),
    "opset of a domain": (lambda m: m.opset_import.append(helper.make_opsetid("com.evil", 1)), '"com.evil"'),
    "escape": (replaced(node("\x1b[31mEvil\n", ["x"], ["y"])), r"\x1b[31mEvil\n"),
    "decoder": (replaced(node("ImageDecoder", ["x"], ["y"])), '"ImageDecoder"'),
    "random": (replaced(node("RandomNormalLike", ["x"], ["y"])), '"RandomNormalLike"'),
    "large lie": (weight(dims=[1 << 30], raw_data=bytes(16)), "declares a tensor of 1073741824 values"),
    "negative": (weight(dims=[-5], raw_data=bytes(16)), "declares a tensor"),
    "overflow": (weight(dims=[1 << 32, 1 << 32], raw_data=bytes(16)), "declares a tensor"),
    "metadata": (lambda m: m.metadata_props.add(key="k", value="A" * 10_000_000), "metadata of 10000"),
    "two cards": (lambda m: m.metadata_props.append(m.metadata_props[0]), "two model cards"),
    "many parts": (lambda m: m.graph.node[0].input.extend([""] * MAX_FIELDS), "parts"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_model_of_ours_holds_is_refused(name, good, monkeypatch):
    change, said = HOSTILE[name]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # must not be asked
    assert said in refused(edit(good, change))


@pytest.mark.parametrize("location", ["../secret.bin", "{root}/secret.bin", "link.bin", "none.bin", "pipe"])
def test_nothing_outside_the_file_is_read(location, tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(4, np.float32).tobytes())
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    os.mkfifo(folder / "pipe")
    os.utime(secret, (0, 0))
    path = build(folder / "m.onnx", added("b"), constants={"b": np.zeros(4, np.float32)})

    def change(model: ModelProto) -> None:
        model.graph.initializer[0].CopyFrom(outside(location.format(root=tmp_path)))

    assert "another file" in refused(edit(path, change))
    assert secret.stat().st_atime == 0


# --- what is refused by what it computes


def chain(operator: str, start: str, length: int, other: str | None = None, **attributes) -> list:
    """t0 = start, t(i+1) = operator(t(i), other or t(i)), summed into y."""
    names = [start, *(f"t{i}" for i in range(length))]
    links = [node(operator, [a, other or a], [b], **attributes) for a, b in pairwise(names)]
    return [*links, *added(names[-1])]


BOMBS = {
    "zeros": ([node("ConstantOfShape", ["n"], ["b"]), *added("b")], {"n": np.array([1 << 20, 1 << 20])}),
    "2 GB of zeros": ([node("ConstantOfShape", ["n"], ["b"]), *added("b")], {"n": np.array([1 << 29])}),
    "doubled constant": (chain("Concat", "c", 36, axis=0), {"c": np.ones(64, np.float32)}),
    "doubled input": (chain("Concat", "x", 36, axis=2), {}),
    "outer product": (
        [node("Add", ["a", "b"], ["c"]), *added("c")],
        {"a": np.ones((1 << 18, 1), np.float32), "b": np.ones((1, 1 << 18), np.float32)},
    ),
    "tiled": ([node("Tile", ["x", "n"], ["b"]), *added("b")], {"n": np.array([1, 1, 1 << 10, 1 << 10])}),
    "padded": ([node("Pad", ["x", "n"], ["b"]), *added("b")], {"n": np.array([0, 0, 1 << 16, 1 << 16] * 2)}),
    "hours": (chain("MatMul", "a", 3000, "a"), {"a": np.full((1500, 1500), 1e-4, np.float32)}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_model_that_takes_too_much_is_refused_at_its_trial(name, tmp_path):
    nodes, constants = BOMBS[name]
    message = refused(build(tmp_path / "m.onnx", nodes, constants=constants))
    wanted = ("processor time",) if name == "hours" else ("memory", "bad_alloc")
    assert any(word in message for word in wanted)


def test_a_model_that_only_explodes_at_full_size_ends_in_a_line(tmp_path):
    flat = [node("Reshape", ["x", n], [n + n]) for n in ("row", "column")]
    nodes = [*flat, node("MatMul", ["columncolumn", "rowrow"], ["square"]), *added("square")]
    path = build(tmp_path / "m.onnx", nodes, constants={"row": np.array([1, -1]), "column": np.array([-1, 1])})
    code = """if True:
        import sys
        from pathlib import Path
        import numpy as np
        from denoise_cli import memory
        from denoise_cli.errors import OutOfMemory
        from denoise_cli.session import Session
        memory.total = lambda: 1 << 30
        session = Session(Path(sys.argv[1]), "cpu")
        try:
            session(np.zeros((1, 3, 128, 128), np.float32))  # 9.7 GB
        except OutOfMemory as error:
            print(error, Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    """
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    *message, kilobytes = done.stdout.split()
    assert " ".join(message).startswith(f"{path}: out of memory at (1, 3, 128, 128)")
    assert int(kilobytes) < 500_000


def test_what_was_checked_is_what_is_opened(good):
    file = ModelFile.read(good)
    good.write_bytes(b"another file by now")
    x = scene(8, 8)[None]
    assert np.array_equal(Session(file, "cpu")(x), x)


# --- the commands


@pytest.mark.parametrize("what", ["loop", "zeros"])
@pytest.mark.parametrize("command", ["run", "eval"])
def test_a_hostile_model_ends_a_command_in_one_line_and_exit_code_3(command, what, tmp_path, good):
    if what == "loop":
        edit(good, HOSTILE["loop"][0])
    else:
        build(good, BOMBS["zeros"][0], constants=BOMBS["zeros"][1])
    photo = write_png(tmp_path / "photo.png", scene(32, 32))
    output = ["-o", tmp_path / "out.png"] if command == "run" else ["--noise", "gaussian:std=25"]
    done = denoise(command, photo, "-m", good, *output)
    assert done.returncode == 3
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert str(good) in lines[0]
    assert not (tmp_path / "out.png").exists()
