"""Conversations through ds-tokenize --messages, held against what apply_chat_template makes of them (golden/chat).

    python3 chat.py FOLDER

FOLDER gets tokenizer.json, with what the prompts need, and tokenizer_config.json.  A line for each template and way to think: 0 or 1, a tab, what was
compared, a tab, why it failed.
"""
import gzip
import json
import os
import re
import subprocess
import sys

import frame

G = os.environ["G"]
folder = sys.argv[1]
E = json.load(gzip.open(G + "/chat/expected.json.gz"))
KNOWN = json.load(open(G + "/chat/templates.json"))
CONFIG = json.load(open(G + "/tokenizer/tokenizer_config.json"))
TALKS = list(E["conversations"].values())
NAMES = list(E["conversations"])
# what Jinja makes of these is compared for others that resemble them
NATIVE = {"chatml", "qwen2", "smollm2", "qwen2.5-coder", "qwen3-later", "qwen3-instruct-2507",
          "qwen3-thinking-2507", "llama3", "moonlight"}


def tokenizer():
    """The golden one without what takes no part: the rest keeps its order and ids."""
    whole = json.load(gzip.open(G + "/tokenizer/tokenizer.json.gz"))
    model, used = whole["model"], {i for ids in E["ids"] for i in ids}
    parts = {t[a:b] for t, i in model["vocab"].items() if i in used
             for a in range(len(t)) for b in range(a + 1, len(t) + 1)}
    model["merges"] = [m for m in model["merges"] if m.replace(" ", "") in parts]
    model["vocab"] = {t: i for t, i in model["vocab"].items() if len(t) == 1 or t in parts}
    return whole


def plain(talk):
    return isinstance(talk, list) and all(set(m) == {"role", "content"} and isinstance(m["content"], str) and
                                          m["role"] in ("system", "user", "assistant") for m in talk)


def tokenize(talks, way, python=None):
    """Exit status, ids of each sequence, what it said."""
    args = ["ds-tokenize", "-m", folder, "--messages"]
    if way != "None":
        args += ["--thinking", "on" if way == "True" else "off"]
    text = "\n".join(json.dumps(t, ensure_ascii=i % 2 == 0) for i, t in enumerate(talks))
    env = dict(os.environ, **({"DS_PYTHON": python} if python else {}))
    p = subprocess.run(args, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=60)
    out = []
    if p.returncode == 0:
        import io
        out = [f.tensors["ids"].tolist() if "op" not in f.header else f.header["text"]
               for f in frame.read_frames(io.BytesIO(p.stdout)) if f.header.get("op") != "end"]
    return p.returncode, out, p.stderr.decode()


def check(name, way, wanted, python, which):
    """What is wrong with the conversations `which`, or nothing."""
    status, got, said = tokenize([TALKS[i] for i in which], way, python)
    if status != 0:
        return "status %d: %s" % (status, said)
    for i, ids in zip(which, got):
        if ids != E["ids"][wanted[i]]:
            return "%s: %s, not %s" % (NAMES[i], ids, E["ids"][wanted[i]])
    return "" if len(got) == len(which) else "%d of %d conversations" % (len(got), len(which))


def refused(way, which):
    """Each costs its own sequence, and a good one after them is not touched."""
    good = next(i for i, talk in enumerate(TALKS) if i not in which and plain(talk))
    status, got, said = tokenize([TALKS[i] for i in which] + [TALKS[good]], way)
    if status or said or len(got) != len(which) + 1 or not got[-1] or isinstance(got[-1], str):
        return "status %d: %s" % (status, said)
    for i, text in zip(which, got):
        if not isinstance(text, str) or "\n" in text:
            return "%s: %s" % (NAMES[i], text)
    return ""


def report(what, why):
    print("%d\t%s\t%s" % (why != "", what, " ".join(why.split())), flush=True)


def main():
    with open(folder + "/tokenizer.json", "w") as f:
        json.dump(tokenizer(), f)
    for name, ways in E["prompts"].items():
        text = KNOWN.get(name) or E["neighbours"][name]
        json.dump({**CONFIG, "chat_template": text}, open(folder + "/tokenizer_config.json", "w"))
        for way, wanted in ways.items():
            # the same with newlines spelled otherwise
            copy = re.sub(r"-\d$", "", name) != name
            if copy and way != "None":
                continue
            what = "%s%s" % (name, {"None": "", "True": ", thinking", "False": ", not thinking"}[way])
            fine = [i for i, w in enumerate(wanted) if w is not None]
            if not copy and name not in NATIVE:
                report(what + ": the ids are those of transformers", check(name, way, wanted, None, fine))
            own = [i for i in fine if plain(TALKS[i])]
            if name in KNOWN:
                report(what + ": without Python, too", check(name, way, wanted, "/nonexistent/python3", own))
            elif way == "None":
                status, _, said = tokenize([TALKS[0]], way, "/nonexistent/python3")
                report(what + " is taken for no other", "" if status == 3 and "'/nonexistent/python3'" in said else said)
        if name in ("v2", "v3", "v3.1", "refuses a system prompt"):
            report(name + ": what transformers refuses is one line", refused("None", [i for i, w in enumerate(ways["None"]) if w is None]))


main()
