"""Times llama.cpp on a GGUF, prints JSON: time_llama.py PACKAGE FILE THREADS NEW PROMPT...
PACKAGE is xllamacpp (llama.cpp) or ik_llama_cpp (the fork)."""
import json
import sys
import time

PACKAGE, FILE, THREADS, NEW, *PROMPTS = sys.argv[1:]
THREADS, NEW, PROMPTS = int(THREADS), int(NEW), [int(n) for n in PROMPTS]
CONTEXT = max(PROMPTS) + NEW + 64
CHUNK = 512


def prompt(n, salt):
    return [(7 * j + salt) % 1000 + 3 for j in range(n)]


class Llama:
    """The server's own clock is read; it counts neither HTTP nor tokens as text."""

    def __init__(self):
        import xllamacpp
        p = xllamacpp.CommonParams()
        p.model.path = FILE
        p.n_ctx = CONTEXT
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = THREADS
        p.n_parallel = 1
        p.warmup = False
        p.n_batch = p.n_ubatch = CHUNK
        self.server = xllamacpp.Server(p)

    def run(self, ids, new):
        t = self.server.handle_completions({"prompt": ids, "n_predict": new, "ignore_eos": True, "temperature": 0,
                                            "cache_prompt": False})["timings"]
        return t["prompt_per_second"], t["predicted_per_second"]


class Fork:
    """Its wrapper does not ask for latent attention when it loads, but does so when it computes; here it asks twice."""

    def __init__(self):
        from ik_llama_cpp import IkLlama, _internals
        defaults = _internals.C.llama_model_default_params

        def with_latents():
            params = defaults()
            params.mla = 3
            return params

        with open(FILE, "rb") as f:
            if b"deepseek2" in f.read(200):
                _internals.C.llama_model_default_params = with_latents
        self.model = IkLlama(FILE, n_ctx=CONTEXT, n_threads=THREADS, verbose=False)
        self.context = self.model._context

    def decode(self, batch):
        from ik_llama_cpp import llama
        if self.context.decode(batch) != 0:
            sys.exit("ik_llama_cpp: it could not decode")
        llama.C.llama_batch_free(batch)

    def run(self, ids, new):
        from ik_llama_cpp import llama
        self.context.kv_cache_clear()
        start = time.monotonic()
        for i in range(0, len(ids), CHUNK):
            self.decode(llama.make_batch_range(ids[i:i + CHUNK], pos_start=i, logits_last=i + CHUNK >= len(ids)))
        token = self.context.sample(-1, temperature=0.0, top_k=1, top_p=1.0)
        first = time.monotonic()
        for i in range(new - 1):
            self.decode(llama.make_batch_single(token, len(ids) + i))
            token = self.context.sample(-1, temperature=0.0, top_k=1, top_p=1.0)
        return len(ids) / (first - start), (new - 1) / (time.monotonic() - first)


def memory():
    with open("/proc/self/smaps_rollup", encoding="utf-8") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))


start = time.monotonic()
model = Llama() if PACKAGE == "xllamacpp" else Fork()
model.run(prompt(8, 1), 2)
result = {"start": time.monotonic() - start, "prefill": {}, "decode": {}}
for salt, n in enumerate(PROMPTS):
    result["prefill"][n], result["decode"][n] = model.run(prompt(n, salt), NEW)
result["memory"] = memory()
print("RESULT", json.dumps(result), flush=True)
