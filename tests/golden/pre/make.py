#!/usr/bin/env python3
"""Make expected.json.gz, vocab.json.gz and texts.gz: the ids of 2000 texts with each pre-tokenizer.

    python3 make.py

It needs the packages tokenizers (0.23), which makes the ids, and tiktoken (0.14). The vocabulary
is trained on the texts without any split. So its merges cross all places where a pre-tokenizer may
split, and one wrong split changes the ids. Of the ids of a text, and of the text that they decode
to, three bytes of a SHA-256 are kept.
"""
import gzip
import hashlib
import json
import os
import random
import struct
import tempfile

import tiktoken
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
COUNT = 2000
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>"]
ADDED = ["<think>", "</think>", "<｜User｜>", "<tool_call>"]
OTHERS = ["<|eot_id|>", "<|not_a_token|>", "<|", "|>", "<", "< think>"]
WORDS = [
    "the", "Hello", "I'm", "DON'T", "we'll", "they've", "it's", "It’S", "'s", "'LL", "naïve",
    "café", 'cafe\u0301', "Ångström", 'A\u030angstro\u0308m', "straße", "İstanbul", "ſ", "K",
    "Привет", "мир", "Ελλάδα", "שלום", "مرحبا", "عربي", '\u0928\u092e\u0938\u094d\u0924\u0947',
    '\u0939\u093f\u0928\u094d\u0926\u0940', "বাংলা", "ไทย", "ภาษาไทย", "한국어", "한국", "日本語",
    "カタカナ", "ひらがな", "中文", "漢字", "繁體", "𠮷野家", "ﬁ", "①②", "½", "x²", "٣٤", "३", "Ⅷ", "၁", "🙂",
    '\U0001f469\u200d\U0001f469\u200d\U0001f467', "🇩🇪", "👍🏽",
    '\U0001f3f3\ufe0f\u200d\U0001f308', 'e\u0323\u0301', 'q\u0307\u0323', "ṩ", '\u0344', "Å",
    "Ω", "각", "def", "return", "x==y", "a->b", "foo_bar", "camelCase", "std::vector<int>",
    "#include", "/*", "*/", "//", "\\n", "{}", "();", "!=", "&&", "<<=", "...", "——", "、", "。",
    "！", "“quoted”", "http://a.b/c?d=e&f#g", "user@host", "$5.99", "100%", "1,234,567.89",
    "0x1F", "3.14159", "2024-11-28", "12345678901234567890", "٠١٢٣٤٥", "１２３", '\u200b',
    '\u200d', '\ufeff', '\xad', "ำ", '\u0f71\u0f72', "�", "𑤸", '\u1ace\u0323', "ୋ",
]
SPACES = [
    "", "", " ", " ", " ", " ", "  ", "   ", '\t', '\n', '\n\n', '\r\n', ' \n', '\n ', '\xa0',
    '\u3000', '\u2003', '\u2028', '\x85', '\x0b', '\x1f', "        ", '\t\t', ' \t \n  ',
]

GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PLAIN = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
# of Kimi's tokenization_kimi.py
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI = "|".join([
    r"[\p{Han}]+",
    r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + CONTRACTION,
    r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*" + CONTRACTION,
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
# the same without an intersection of classes
KIMI2 = KIMI.replace(UPPER, r"(?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])") \
    .replace(LOWER, r"(?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}])")
# cased letters, as in the tokenizer.json of DeepSeek-LLM and V2
CASED = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-"
    "\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90"
    "-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-"
    "\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4"
    "\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d"
    "\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e"
    "\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f"
    "\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943")
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def split(regex):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


NFC = {"type": "NFC"}
# name: normalizer, ignore_merges, pre_tokenizer
PRES = {
    "deepseek-v3": (None, False, sequence(split(r"\p{N}{1,3}"),
        split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
        split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
              "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
              "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), PLAIN)),
    "deepseek-llm": (None, False, sequence(split("[\r\n]"), split("\\s?[" + CASED + "]+"),
        split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
        split(r"\s+$"), split(CJK), DIGITS, PLAIN)),
    "deepseek-coder": (None, False, sequence(split("[\r\n]"), split(r"\s?\p{L}+"),
        split(r"\s?\p{P}+"), split(CJK), DIGITS, PLAIN)),
    "qwen2": (NFC, False, sequence(split(QWEN2), PLAIN)),
    "deepseek-r1-qwen": (NFC, False, sequence(split(QWEN2), PLAIN)),
    "llama-bpe": (None, True, sequence(split(LLAMA3), PLAIN)),
    "smollm": (None, False, sequence(DIGITS, GPT2)),
    "gpt-2": (None, False, GPT2),
    "kimi-k2": (None, True, sequence(split(KIMI2), PLAIN)),
    # llama.cpp's own, for files that name none
    "default": (None, False, sequence(split(r"[\p{P}\$\+<=>\^~\|]+"),
        split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
        split(r"\p{N}+"), split("[0-9][0-9][0-9]"), PLAIN)),
}


def word(r):
    k = r.random()
    if k < .6:
        return r.choice(WORDS)
    if k < .7:
        return "".join(chr(r.choice((r.randrange(32, 127), r.randrange(0xa0, 0x250),
                                     r.randrange(0x370, 0x600)))) for _ in range(r.randrange(1, 9)))
    if k < .78:
        return str(r.randrange(10 ** r.randrange(1, 15)))
    if k < .84:
        return r.choice("aeiou xyz'!?-=#*~.,0123") * r.randrange(1, 40)
    if k < .92:
        return r.choice(SPECIAL + ADDED + OTHERS)
    while True:
        c = r.choice((r.randrange(0x300, 0x3400), r.randrange(0x3400, 0xd800),
                      r.randrange(0xe000, 0x20000), r.randrange(0x20000, 0x32000),
                      r.randrange(1, 0x110000)))
        if not 0xd800 <= c < 0xe000:
            return chr(c)


def texts():
    r = random.Random(14)
    out = []
    for _ in range(COUNT):
        text = "".join(word(r) + r.choice(SPACES) for _ in range(r.choice((1, 2, 3, 5, 8, 20))))
        out.append(r.choice(SPACES) + text if r.random() < .3 else text)
    return out


def digest(data):
    return hashlib.sha256(data).hexdigest()[:6]


def digests(ids, back):
    return {"ids": "".join(digest(struct.pack("<%di" % len(i), *i)) for i in ids),
            "text": "".join(digest(b.encode()) for b in back)}


def write(name, data):
    with gzip.GzipFile(os.path.join(HERE, name), "wb", mtime=0) as f:
        f.write(data)


def main():
    all_texts = texts()
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    without = all_texts
    for token in SPECIAL + ADDED:
        without = [t.replace(token, "") for t in without]
    trained.train_from_iterator(without, trainers.BpeTrainer(vocab_size=3000, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), max_token_length=24))
    model = json.loads(trained.to_str())["model"]
    vocab = model["vocab"]
    # the single bytes first, in their order, as in a vocabulary by rank
    order = sorted(vocab, key=vocab.get)
    vocab = {t: i for i, t in enumerate(order)}
    out = {}
    for name, (normalizer, whole, pre) in PRES.items():
        added = [{"id": len(vocab) + i, "content": c, "single_word": False, "lstrip": False,
                  "rstrip": False, "normalized": False, "special": c in SPECIAL}
                 for i, c in enumerate(SPECIAL + ADDED)]
        it = {"version": "1.0", "added_tokens": added, "normalizer": normalizer,
              "pre_tokenizer": pre, "post_processor": None, "decoder": PLAIN,
              "model": dict(model, vocab=vocab, ignore_merges=whole)}
        t = Tokenizer.from_str(json.dumps(it))
        ids = [e.ids for e in t.encode_batch(all_texts, add_special_tokens=False)]
        back = t.decode_batch(ids, skip_special_tokens=False)
        out[name] = {"normalizer": normalizer, "ignore_merges": whole, "pre_tokenizer": pre,
                     **digests(ids, back)}
        if name == "kimi-k2":
            it["pre_tokenizer"] = sequence(split(KIMI), PLAIN)
            t = Tokenizer.from_str(json.dumps(it))
            assert ids == [e.ids for e in t.encode_batch(all_texts, add_special_tokens=False)]
    byte_of = {c: b for b, c in zip(*alphabet())}
    ranks = {bytes(byte_of[c] for c in t): i for t, i in vocab.items()}
    enc = tiktoken.Encoding("x", pat_str=KIMI, mergeable_ranks=ranks,
        special_tokens={c: len(vocab) + i for i, c in enumerate(SPECIAL + ADDED)})
    ids = [enc.encode(t, allowed_special="all") for t in all_texts]
    out["tiktoken"] = digests(ids, [enc.decode(i) for i in ids])
    write("texts.gz", "".join(t + "\0" for t in all_texts).encode())
    write("vocab.json.gz", json.dumps({"vocab": vocab, "merges": model["merges"],
                                       "special": SPECIAL, "added": ADDED}, ensure_ascii=False).encode())
    write("expected.json.gz", json.dumps(out, ensure_ascii=False).encode())
    print(len(vocab), "tokens;", {n: len(o["ids"]) // 6 for n, o in out.items()})


def alphabet():
    """The bytes and their characters in GPT-2's alphabet."""
    own = [b for b in range(256) if 32 < b < 127 or 160 < b < 256 and b != 173]
    rest = [b for b in range(256) if b not in own]
    return own + rest, [chr(b) for b in own] + [chr(256 + i) for i in range(len(rest))]


main()
