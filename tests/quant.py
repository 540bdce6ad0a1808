"""Checkpoints of ds-quant, read from what ds-quant(1) says of them and nothing else.

usage: quant.py losses OLD NEW        for each matrix that differs: its relative error and the largest difference, then its name
       quant.py same OLD NEW REGEX    0 if all tensors are byte for byte those of OLD, but for matrices whose names match
       quant.py damage NEW OUT        a folder in OUT for each way to break NEW; prints folder, regular expression, sentence
"""
import json, os, re, shutil, sys
import numpy as np
from badmodels import read, write

LEVELS = np.array([-127, -102, -81, -64, -48, -34, -21, -9, 2, 13, 24, 36, 49, 64, 83, 110], dtype="f4")
SCALES = ("_scale_inv", "_scale", "_scale_2")


def tensors(folder):
    """name -> (dtype, shape, bytes)"""
    found = {}
    for f in sorted(os.listdir(folder)):
        if f.endswith(".safetensors") and f != "expected.safetensors":
            header, data = read(os.path.join(folder, f))
            at = 0
            for name, t in sorted((i for i in header.items() if i[0] != "__metadata__"), key=lambda i: i[1]["data_offsets"]):
                begin, end = t["data_offsets"]
                assert begin == at, f"{f}: a gap before {name}"
                at = end
                found[name] = t["dtype"], t["shape"], data[begin:end]
            assert at == len(data), f"{f}: bytes behind the last tensor"
    return found


def e4m3(b):
    b = np.frombuffer(b, "u1").astype("i4")
    e, m = b >> 3 & 15, b & 7
    x = np.where(e > 0, (8 + m) * 2.0 ** (e - 10.0), m * 2.0 ** -9).astype("f4")
    assert ((b & 127) != 127).all()
    return np.where(b & 128, -x, x)


def plain(all_, name, cols):
    """A matrix as float64 [rows][cols]."""
    dtype, shape, b = all_[name]
    rows = shape[0]
    if dtype in ("I8", "U8"):
        groups = -(-cols // 16)
        assert all_[name + "_scale"][:2] == ("F8_E4M3", [rows, groups]), name
        assert all_[name + "_scale_2"][:2] == ("F32", [1]), name
        factor = np.frombuffer(all_[name + "_scale_2"][2], "<f4")[0]
        scale = (e4m3(all_[name + "_scale"][2]) * factor).reshape(rows, groups).repeat(16, 1)[:, :cols]
        if dtype == "I8":
            assert shape == [rows, cols]
            code = np.frombuffer(b, "i1").reshape(rows, cols)
        else:
            assert shape == [rows, -(-cols // 32) * 16]
            half = np.frombuffer(b, "u1").reshape(rows, -1, 16)
            code = LEVELS[np.concatenate([half & 15, half >> 4], 2)].reshape(rows, -1)[:, :cols]
        return code.astype("f8") * scale
    if dtype == "F8_E4M3":
        blocks = [-(-n // 128) for n in shape]
        assert all_[name + "_scale_inv"][:2] == ("F32", blocks), name
        scale = np.frombuffer(all_[name + "_scale_inv"][2], "<f4").reshape(blocks)
        return (e4m3(b).reshape(shape) * scale.repeat(128, 0).repeat(128, 1)[:rows, :cols]).astype("f8")
    if dtype == "BF16":
        return (np.frombuffer(b, "<u2").astype("<u4") << 16).view("<f4").reshape(shape).astype("f8")
    return np.frombuffer(b, {"F16": "<f2", "F32": "<f4"}[dtype]).reshape(shape).astype("f8")


def losses(old, new):
    a, b = tensors(old), tensors(new)
    for name in b:
        if name not in a or a[name] == b[name] or name.endswith(SCALES):
            continue
        assert a[name][0] not in ("I8", "U8")
        x = plain(a, name, a[name][1][1])
        y = plain(b, name, a[name][1][1])
        print(f"{np.sqrt(((x - y) ** 2).sum() / (x * x).sum()):.6f} {abs(x - y).max():.3g} {name}")


def same(old, new, regex):
    a, b = tensors(old), tensors(new)
    bare = lambda n: re.sub("_scale(_inv|_2)?$", "", n)
    keep = lambda t: {n: v for n, v in t.items() if not re.search(regex, bare(n))}
    changed = {bare(n) for n in a if a[n] != b.get(n)}
    if keep(a) != keep(b) or not changed:
        sys.exit(f"{sorted(changed)[:3]} changed")


def damage(new, out):
    header, data = read(os.path.join(new, "model.safetensors"))
    name = "model.layers.1.mlp.experts.0.up_proj.weight"
    scale, factor = name + "_scale", name + "_scale_2"

    def case(folder, change, regex, says, config=None, fill=None):
        d = os.path.join(out, folder)
        shutil.copytree(new, d, ignore=shutil.ignore_patterns("model.safetensors"))
        h, b = json.loads(json.dumps(header)), bytearray(data)
        change(h)
        if fill is not None:
            b[slice(*header[factor]["data_offsets"])] = np.array([fill], "<f4").tobytes()
        write(os.path.join(d, "model.safetensors"), h, bytes(b))
        if config:
            c = json.load(open(os.path.join(d, "config.json")))
            c["quantization_config"].update(config)
            json.dump(c, open(os.path.join(d, "config.json"), "w"))
        print(d, regex, says, sep="\t")

    def none(h):
        pass
    rows, cols = header[name]["shape"]
    case("scale-gone", lambda h: h.pop(scale), f"has no tensor '{scale}'", "scales that are not there")
    case("factor-gone", lambda h: h.pop(factor), f"has no tensor '{factor}'", "a factor that is not there")
    case("scale-shape", lambda h: h[scale]["shape"].reverse(), f"tensor '{scale}' is F8_E4M3 .*, must be", "scales that lie on their side")
    case("scale-type", lambda h: h[scale].update(dtype="U8"), f"tensor '{scale}' is U8 .*, must be F8_E4M3", "scales of another dtype")
    case("factor-type", lambda h: h[factor].update(dtype="I32"), f"tensor '{factor}' is I32 .*, must be F32", "a factor that is an integer")
    case("code-shape", lambda h: h[name].update(shape=[rows // 2, cols * 2]), f"tensor '{name}' is .*, must be", "codes of another shape")
    case("factor-odd", none, f"tensor '{factor}' is 3, must be 0 or a power of two", "a factor that is no power of two", fill=3)
    case("factor-negative", none, f"tensor '{factor}' is -1, must be", "a negative factor", fill=-1)
    case("factor-nan", none, f"tensor '{factor}' is -?nan, must be", "a factor that is no number", fill=np.nan)
    case("factor-large", none, f"tensor '{factor}' is 1.70141e\\+38, must be", "a factor that is too large", fill=2.0**127)
    case("config-group", none, "group_size is 32, must be", "groups of another size", config={"group_size": 32})
    case("config-format", none, "format is 'q3'", "a format that is not known", config={"format": "q3"})
    case("config-method", none, "quant_method is 'gptq'", "a method that is not known", config={"quant_method": "gptq"})
    if header[name]["dtype"] == "I8":
        case("code-bytes", lambda h: h[name]["data_offsets"].__setitem__(1, h[name]["data_offsets"][1] - 16),
             f"tensor '{name}' is I8 .*, which does not fill", "codes that are cut")


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("losses", "same", "damage"):
        sys.exit(__doc__)
    {"losses": losses, "same": same, "damage": damage}[sys.argv[1]](*sys.argv[2:])
