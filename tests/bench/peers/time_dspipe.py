"""Times a pipeline of dspipe, prints JSON: time_dspipe.py MODEL OPTIONS THREADS NEW PROMPT...
OPTIONS: of ds-block, in one word.  The precision is DS_PRECISION."""
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from line import Line       # noqa: E402

MODEL, OPTIONS, THREADS, NEW, *PROMPTS = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    start = time.monotonic()
    line = Line(MODEL, THREADS, folder, (("ds-block", *OPTIONS.split()),))
    line.run(8, 2)
    result = {"start": time.monotonic() - start, "prefill": {}, "decode": {}}
    for n in PROMPTS:
        result["prefill"][n], result["decode"][n] = line.run(int(n), int(NEW))
    result["memory"] = line.memory()
    line.end()
print("RESULT", json.dumps(result), flush=True)
