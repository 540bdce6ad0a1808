#!/usr/bin/env python3
"""Make expected.json: what apply_chat_template of the transformers library makes of the conversations.

    python3 make.py [OLD]

It needs transformers 5 and jinja2.  OLD is a Python with transformers 4: where 5 fails for a key that is null, 4 says what
the prompt is.  templates.json has the chat templates of the releases, as their tokenizer_config.json has them; neighbours are made here from them, so that each resembles one and is another.
"""
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

TOOL = {"type": "function", "function": {"name": "add", "description": "Adds <b>two</b> numbers, \"a\" & 'b' – é.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}}}
CALL = {"type": "function", "id": "c0", "function": {"name": "add", "arguments": "{\"a\": 37, \"b\": 1.50}"}}
CALL2 = {"type": "function", "id": "c1", "function": {"name": "add", "arguments": "{}"}}


def u(text):
    return {"role": "user", "content": text}


def a(text, **more):
    return {"role": "assistant", "content": text, **more}


def s(text):
    return {"role": "system", "content": text}


def t(text):
    return {"role": "tool", "content": text, "tool_call_id": "c0"}


CONVERSATIONS = {
    "one": [u("What is 37 * 46?")],
    "empty": [u("")],
    "system": [s("Be brief."), u("Hi")],
    "two systems": [s("Be brief."), s("Be kind.\n"), u("Hi")],
    "late system": [u("Hi"), s("Be brief."), a("Hello."), u("Bye")],
    "system alone": [s("Be brief.")],
    "turns": [u("Hi"), a("Hello!"), u("How are you?"), a("Fine."), u("Good.")],
    "thoughts": [u("1+1?"), a("<think>\nTwo, of course.\n</think>\n\n2"), u("2+2?"), a("Hm.</think>\n4"), u("3+3?")],
    "many thoughts": [u("1?"), a("a</think>b</think>c"), u("2?"), a("</think>"), u("3?"), a("no end <think> of it"), u("4?")],
    "ends in an answer": [u("Hi"), a("Hello!")],
    "two users": [u("Hi"), u("there")],
    "two answers": [u("Hi"), a("Hel"), a("lo"), u("?")],
    "tokens": [s("<｜begin▁of▁sentence｜>"), u("Say <｜Assistant｜> and <｜end▁of▁sentence｜><｜User｜>"), a("<｜tool▁sep｜>"), u("<think>x</think>")],
    "jinja": [u("{{ bos_token }} {% raise %} {# no #} {}"), a("{{ 7 * 7 }}"), u("{{")],
    "characters": [s("日本語 🙂‍↔️\t\"quoted\" \\ back"), u("a\r\nb\rc\n\n d  \n"), a(" \u00a0\u2028é e\u0301 "), u("\x01\x7f\ufeff🏳️‍🌈")],
    "lines at the ends": [s("\nsystem\n"), u("\nuser\n"), a("\nanswer\n"), u("\n")],
    "tool": [u("37 + 1.5?"), a("Let me see.", tool_calls=[CALL]), t("38.5"), a("It is 38.5."), u("Thanks")],
    "tool result last": [u("37 + 1.5?"), a("", tool_calls=[CALL, CALL2]), t("38.5"), t("0")],
    "null content": [u("37 + 1.5?"), a(None, tool_calls=[CALL, CALL2]), t("38.5"), a("So."), u("?")],
    "null calls": [u("Hi"), a("Hello", tool_calls=None), u("?")],
    "tools": {"messages": [s("Be brief."), u("37 + 1.5?")], "tools": [TOOL]},
    "tools, no system": {"messages": [u("37 + 1.5?"), a("", tool_calls=[CALL]), t("38.5")], "tools": [TOOL, TOOL]},
    "reasoning": [u("1+1?"), a("2", reasoning_content="Two."), u("2+2?"), a("4", reasoning="Four."), u("?")],
    "ends in a thought": [u("1+1?"), a("\n<think>\n\nTwo.\n\n</think>\n\n\n2\n")],
    "a response as a question": [u("1+1?"), a("<think>a</think>b"), u("<tool_response>2</tool_response>"), a("c</think>d"), a("\ne")],
    "no question": [a("Hello<think>"), s("x")],
    "white space": [s("\x1c\x85 s \u2003"), u("\u3000\u1680 text \t\u00a0"), a("\u2028\u205f"), u("\ufeff \u200b ")],
    "prefix": [u("Hi"), a("<think>I", prefix=True)],
    "name": [{"role": "user", "content": "Hi", "name": "Ann", "extra": [1.50, 2, True, None]}],
    "no content": [u("Hi"), {"role": "assistant"}, u("?")],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
}


def replaced(text, old, new):
    assert old in text, old
    return text.replace(old, new)


def neighbours(known):
    v3, r1, v31, v2, tiny = (known[k] for k in ("v3", "r1", "v3.1", "v2", "tiny-r1"))
    turn = "{{'<｜User｜>' + message['content']}}"
    chatml = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>' + '\n' }}{% endfor %}"
    return {
        "default system prompt": replaced(v3, "{{ns.system_prompt}}", "{{ns.system_prompt or 'You are a helpful assistant.'}}"),
        "thinking set inside": "{% set thinking = true %}" + v31,
        "thinks unless told": replaced(v31, "{% set thinking = false %}", "{% set thinking = true %}"),
        "text before the end": replaced(r1, "{% if add_generation_prompt and", "\n\nThink. {% if add_generation_prompt and"),
        "one blank more": replaced(v3, "'<｜User｜>'", "'<｜User｜> '"),
        "begins twice": replaced(r1, "{{bos_token}}", "{{bos_token}}{{bos_token}}"),
        "trims": replaced(v3, turn, "{{'<｜User｜>' + message['content'] | trim}}"),
        "no newline": replaced(r1, "<think>\\n", "<think>"),
        "keeps thoughts": replaced(tiny, ".split('</think>')[-1]", ""),
        "keeps the last thought": replaced(tiny, "message['content'].split('</think>')[-1]",
            "(message['content'] if loop.index0 == messages | length - 2 else message['content'].split('</think>')[-1])"),
        "refuses a system prompt": replaced(v2, "{{ message['content'] + '\n\n' }}", "{{ raise_exception('No system\nprompt, please.') }}"),
        "another word": replaced(v2, "'Assistant:'", "'Bot:'"),
        "enable_thinking": chatml + "{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}"
            "{{ '<think>\n\n</think>\n\n' }}{% endif %}",
        "tools and a loop": "{{ bos_token }}{% if tools %}{{ tools | tojson }}|{{ tools | tojson(indent=2) }}{% endif %}"
            "{% for m in messages %}\n  {%- if m.role == 'tool' %}{% continue %}{% endif %}\n    {% if loop.index > 3 %}{% break %}{% endif %}\n"
            "{% generation %}{{ m | tojson }}{% endgeneration %}{% endfor %}{{ eos_token }}",
        "a macro": "{% macro say(m, tag='x') -%} <{{ tag }}>{{ m.content }}{{ '' if m.reasoning_content is not defined else m.reasoning_content }}"
            "{%- endmacro %}{{ bos_token }}{% for m in messages %}{{ say(m, m.role | upper) }}{% endfor %}\r\n{# a comment #}\r\n",
        "indented": re.sub(r"({%-? (if|elif|else|endif|for|endfor|set)|{{)", r"\n    \1", known["v3.1-terminus"]) + "\n",
        "lines": tiny.replace("{%", "\r\n\t{%") + "\r\n",
    }


def render(tokenizer, conversation, thinking):
    """The ids, or None where it fails."""
    it = conversation if isinstance(conversation, dict) else {"messages": conversation}
    kw = {} if thinking is None else {"thinking": thinking, "enable_thinking": thinking}
    try:
        ids = tokenizer.apply_chat_template(it["messages"], tools=it.get("tools"), add_generation_prompt=True, tokenize=True, **kw)
    except Exception:
        return None
    return list(ids["input_ids"] if hasattr(ids, "keys") else ids)


def prompts(templates):
    """{template: {thinking: [ids or None of each conversation]}}"""
    from transformers import PreTrainedTokenizerFast
    with tempfile.TemporaryDirectory() as folder:
        with gzip.open(HERE + "/../tokenizer/tokenizer.json.gz") as f:
            open(folder + "/tokenizer.json", "wb").write(f.read())
        config = json.load(open(HERE + "/../tokenizer/tokenizer_config.json"))
        json.dump(config, open(folder + "/tokenizer_config.json", "w"))
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    out = {}
    for name, text in templates.items():
        tokenizer.chat_template = text
        ways = (None, True, False) if "thinking" in text and "set thinking = true %}{%" not in text[:40] else (None,)
        out[name] = {str(w): [render(tokenizer, c, w) for c in CONVERSATIONS.values()] for w in ways}
    return out


def main():
    known = json.load(open(HERE + "/templates.json"))
    near = neighbours(known)
    if sys.argv[1:] == ["-"]:
        return json.dump(prompts({**known, **near}), sys.stdout)
    out = prompts({**known, **near})
    old = json.loads(subprocess.run([sys.argv[1], __file__, "-"], stdout=subprocess.PIPE, check=True).stdout) if sys.argv[1:] else out
    table = {}
    for name, ways in out.items():
        for way, results in ways.items():
            for i, (c, ids) in enumerate(zip(CONVERSATIONS.values(), results)):
                null = "null" in json.dumps(c)
                ids = old[name][way][i] if ids is None and null else ids
                results[i] = None if ids is None else table.setdefault(json.dumps(ids), len(table))
    with gzip.GzipFile(HERE + "/expected.json.gz", "wb", mtime=0) as f:
        f.write(json.dumps({"neighbours": near, "conversations": CONVERSATIONS, "ids": [json.loads(k) for k in table],
                            "prompts": out}, ensure_ascii=False).encode())


main()
