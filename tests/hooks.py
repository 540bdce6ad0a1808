"""hooks.py CASE [N TENSOR]: what examples/hf-frames.py makes of a model that computes what CASE expects, without PyTorch.

The prompt comes on standard input, frames go to standard output.  The modules do nothing but show to their hooks
what expected.safetensors has; with N and TENSOR one number of that is off.  Routers return what transformers 4 returns, those
of odd layers what transformers 5 does.
"""
import importlib.util
import pathlib
import sys
import types

import numpy as np

import golden

path = pathlib.Path(__file__).parent.parent / "examples/hf-frames.py"
spec = importlib.util.spec_from_file_location("hf_frames", path)
hf_frames = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hf_frames)


class Tensor:
    """What the script asks of a torch.Tensor."""

    def __init__(self, a):
        self.a, self.shape = a, a.shape

    def detach(self):
        return self

    def reshape(self, *shape):
        return Tensor(self.a.reshape(shape))

    def is_floating_point(self):
        return self.a.dtype.kind == "f"

    def float(self):
        return Tensor(self.a.astype("f4"))

    def numpy(self):
        return self.a


class Module(types.SimpleNamespace):
    def register_forward_hook(self, hook):
        self.hook = hook

    def register_forward_pre_hook(self, hook):
        self.pre = hook

    def given(self, a):
        self.pre(self, (Tensor(a),))

    def returns(self, *a):
        out = tuple(map(Tensor, a))
        self.hook(self, (), out if len(out) > 1 else out[0])


def build(expected):
    layers = 1 + max(int(k.split(".")[1]) for k in expected if k.startswith("layers."))
    mlps = [Module(gate=Module()) if f"layers.{n}.router.idx" in expected else Module() for n in range(layers)]
    base = Module(embed_tokens=Module(), norm=Module(), layers=[Module(post_attention_layernorm=Module(), mlp=m) for m in mlps])
    return Module(model=base, lm_head=Module())


def run(model, expected):
    dice = np.random.default_rng(1)
    base = model.model
    base.embed_tokens.returns(expected["embed"][None])
    for n, layer in enumerate(base.layers):
        layer.post_attention_layernorm.given(expected[f"layers.{n}.attn"][None])
        if hasattr(layer.mlp, "gate"):
            idx, weight = (expected[f"layers.{n}.router.{k}"] for k in ("idx", "weight"))
            order = dice.permuted(np.tile(np.arange(idx.shape[1]), (len(idx), 1)), axis=1)
            idx, weight = (np.take_along_axis(a, order, 1) for a in (idx.astype("i8"), weight))
            layer.mlp.gate.returns(*((np.zeros((len(idx), 99), "f4"), weight, idx) if n % 2 else (idx, weight)))
        layer.returns(expected[f"layers.{n}.out"][None])
    base.norm.returns(expected["final_norm"][None].astype("f8"))
    model.lm_head.returns(expected["logits"][None])


def main(case, off=None, tensor=None):
    expected = golden.expected(case)
    if tensor:
        expected[tensor] = expected[tensor].copy()
        expected[tensor].flat[int(off)] += 1
    asked = hf_frames.sequences(sys.stdin.buffer)
    model, seen = build(expected), {}
    layers = hf_frames.hook(model, seen)
    for seq, (ids, wanted) in asked.items():
        run(model, expected)
        hf_frames.write_points(sys.stdout.buffer, seq, ids, wanted, layers, seen)
    hf_frames.write_frame(sys.stdout.buffer, {"op": "end"})


main(*sys.argv[1:])
