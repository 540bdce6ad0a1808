#!/usr/bin/env python3
"""hf-frames.py MODEL [DTYPE] <IDS >FRAMES: the tensors of a model in transformers.

It runs the model in transformers and writes its tensors as frames of dspipe.
IDS is a stream of tokens: from ds-tokenize, or 001-embed.dsf of a saved run, which also contains
the generated tokens.  Each sequence passes the model once, alone, in DTYPE (float32).
ds-diff compares FRAMES with a run of dspipe:

	cookbook/dequantize.py "$DS_MODEL" plain F32            # if it has FP8 weights
	ds-run -x stage -w -n 0 --keep ours "12 + 30 ="
	hf-frames.py plain <ours/001-embed.dsf >theirs.dsf
	ds-diff --tol 1e-3 --common ours theirs.dsf

The first line of ds-diff is the number of compared tensors.  Exit status 1 means that they differ,
and 4 that some tensors are only in one of the two.  The first difference is the step that the two
compute differently.  The last generated token of a run is only in 015-sample.dsf, because no step
computes with it.  With -n 1 or more, compare without that file.

Requires torch, transformers, numpy and msgpack.  The modules of the model must have the same names
as those of DeepSeek.  For another implementation, write hooks of your own around write_points.
"""
import sys

import msgpack
import numpy as np

DTYPES = {"float32": "F32", "int32": "I32", "int64": "I64", "uint8": "U8"}

try:
    from crc32c import crc32c           # the package of that name; the fallback is slow
except ImportError:
    TABLE = list(range(256))
    for _ in range(8):
        TABLE = [c >> 1 ^ (0x82F63B78 if c & 1 else 0) for c in TABLE]

    def crc32c(data):
        crc = 0xFFFFFFFF
        for byte in data:
            crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
        return crc ^ 0xFFFFFFFF


# --- frames: three msgpack objects each, see ds-frame(5) ---

def write_frame(out, header, tensors=None):
    """header: a map without `tensors`; tensors: name -> array, None for a control frame."""
    header, payload = dict(header), b""
    if tensors is not None:
        header["tensors"] = []
        for name, a in tensors.items():
            payload += bytes(-len(payload) % 64)
            header["tensors"].append([name, DTYPES[a.dtype.name], list(a.shape), len(payload)])
            payload += np.ascontiguousarray(a).tobytes()
    for pad in range(128):              # align the data of the payload to 64
        head = msgpack.packb({**header, "": " " * pad})
        if (18 + len(head) + 5) % 64 == 0:
            break
    sizes = len(head).to_bytes(4, "big"), len(payload).to_bytes(4, "big")
    out.write(b"\xd8\x44dsf1" + sizes[0] + sizes[1] + crc32c(head + payload).to_bytes(4, "big"))
    out.write(head + b"\xc6" + sizes[1] + payload)


def read_frames(file):
    """Yield (header, tensor name -> bytes) for each frame with rows."""
    objects = msgpack.Unpacker(file, strict_map_key=False, max_buffer_size=0)
    for preamble, header, payload in zip(objects, objects, objects):
        if not isinstance(preamble, msgpack.ExtType) or preamble.data[:4] != b"dsf1":
            sys.exit("hf-frames.py: standard input has no frames")
        if header.get("op") == "end":
            return
        if "op" not in header:
            yield header, {t[0]: payload[t[3]:] for t in header["tensors"]}
    sys.exit("hf-frames.py: standard input ended without an end frame")


def sequences(file):
    """{seq: (ids, wanted)}: the tokens, and for each whether its logits are requested."""
    found = {}
    for header, tensors in read_frames(file):
        rows = sum(n for _, _, n, _ in header["spans"])
        ids = iter(np.frombuffer(tensors["ids"], "<i4", rows).tolist())
        for seq, pos, n, flags in header["spans"]:
            got = found.setdefault(seq, ([], []))
            if pos > len(got[0]):
                sys.exit(f"hf-frames.py: sequence {seq}: position {pos} follows "
                         f"{len(got[0])} tokens")
            for i in range(n):          # a repeated position truncates the sequence there
                del got[0][pos + i:], got[1][pos + i:]
                got[0].append(next(ids))
                got[1].append(bool(flags & 2 or flags & 1 and i == n - 1))
    return found


def spans_of(seq, wanted):
    """Split the rows into spans with flag 2 (all logits) and without."""
    spans = []
    for pos, want in enumerate(wanted):
        if spans and spans[-1][3] == 2 * want:
            spans[-1][2] += 1
        else:
            spans.append([seq, pos, 1, 2 * want])
    return spans


def write_points(out, seq, ids, wanted, layers, seen):
    """Write the tensors of one sequence as the frames that the programs of dspipe would send.

    seen: float32 arrays by point: "embed", "norm" [T, D], "logits" [T, V].  By (point, layer):
    "attn" and "out" [T, D], the residual stream after attention and after the experts; "idx"
    (integers) and "weight" [T, K].  Any of them may be missing.
    """
    spans, ids = spans_of(seq, wanted), np.array(ids, "<i4")

    def frame(at, layer, **tensors):
        header = {"at": at, "spans": spans}
        if layer is not None:
            header["layer"] = layer
        write_frame(out, header, {name.replace("_", "."): a for name, a in tensors.items()})

    for layer in range(layers):
        before = seen.get(("out", layer - 1)) if layer else seen.get("embed")
        if before is not None:
            frame("attn", layer, ids=ids, h=before)
        if ("attn", layer) not in seen:
            continue
        h = seen["attn", layer]
        frame("route", layer, ids=ids, h=h)
        if ("idx", layer) in seen:      # frames list the experts of a row in ascending order
            idx, weight = seen["idx", layer], seen["weight", layer]
            order = np.argsort(idx, axis=1)
            frame("expert", layer, ids=ids, h=h,
                  expert_idx=np.take_along_axis(idx, order, 1).astype("<i4"),
                  expert_w=np.take_along_axis(weight, order, 1))
    if ("out", layers - 1) in seen:
        frame("head", layers, ids=ids, h=seen["out", layers - 1])
    rows = np.flatnonzero(wanted).astype("<i4")
    last = {name: seen[key][rows]
            for name, key in (("head_norm", "norm"), ("logits", "logits")) if key in seen}
    if last:
        frame("sample", None, ids=ids, **last, row=rows)


# --- transformers ---

def load(model, dtype):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    if getattr(AutoConfig.from_pretrained(model), "quantization_config", None):
        sys.exit("hf-frames.py: the weights are quantized, and transformers would round them "
                 "again: convert them with cookbook/dequantize.py MODEL COPY F32")
    return AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype),
                                                attn_implementation="eager").eval()


def array(tensor):
    """[1, T, N] or [T, N], of any type, as an array [T, N]."""
    tensor = tensor.detach().reshape(-1, tensor.shape[-1])
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def hook(model, seen):
    """Store what the model computes from now on in `seen`."""
    def result(key):
        def keep(module, args, out):
            seen[key] = array(out[0] if isinstance(out, tuple) else out)
        return keep

    def argument(key):
        def keep(module, args):
            seen[key] = array(args[0])
        return keep

    def gate(layer):    # it returns experts and weights, in new versions also logits, in any order
        def keep(module, args, out):
            out = out if isinstance(out, tuple) else ()
            integers = [t for t in out if not t.is_floating_point()]
            if not integers:
                print(f"hf-frames.py: layer {layer}: its gate returns no experts: they are omitted",
                      file=sys.stderr)
                return
            idx = integers[0]
            weight = [t for t in out if t.is_floating_point() and t.shape == idx.shape][-1]
            seen["idx", layer], seen["weight", layer] = array(idx), array(weight)
        return keep

    base = model.model
    base.embed_tokens.register_forward_hook(result("embed"))
    for n, layer in enumerate(base.layers):
        layer.post_attention_layernorm.register_forward_pre_hook(argument(("attn", n)))
        if hasattr(layer.mlp, "gate"):
            layer.mlp.gate.register_forward_hook(gate(n))
        layer.register_forward_hook(result(("out", n)))
    base.norm.register_forward_hook(result("norm"))
    model.lm_head.register_forward_hook(result("logits"))
    return len(base.layers)


def main(path, dtype="float32"):
    import torch
    asked = sequences(sys.stdin.buffer)
    model, seen = load(path, dtype), {}
    layers = hook(model, seen)
    for seq, (ids, wanted) in asked.items():
        seen.clear()
        with torch.no_grad():
            model(torch.tensor([ids]), use_cache=False)
        write_points(sys.stdout.buffer, seq, ids, wanted, layers, seen)
    write_frame(sys.stdout.buffer, {"op": "end"})


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
