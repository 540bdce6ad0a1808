#!/usr/bin/python3
"""Renders chat templates with Jinja, set up as transformers' apply_chat_template sets it up.

Requests come on standard input, answers go to standard output, each as a decimal length, a
newline and that many bytes.  The first request is a JSON object: "template", "tool_use" (the
template for conversations with tools, or null), "tokens" and "variables".  Its answer lists the
variables that the template reads.  Each later request is a conversation in JSON: an array of
messages, or an object with "messages" and "tools".  Its answer is the text.  The first byte of an
answer is "+", or "-" where the rest is one line that says what is wrong.

A template comes from outside: its processor time and its memory are bounded.
"""
import datetime
import json
import os
import resource
import sys
import traceback

SECONDS = 2             # and one more for each SLOW bytes of the request
SLOW = 100_000
MEMORY = 1 << 30        # and GROWTH bytes more for each byte of the request
GROWTH = 32

REASONING = ("reasoning_content", "thinking", "reasoning")


def receive():
    line = sys.stdin.buffer.readline()
    return sys.stdin.buffer.read(int(line)) if line else None


def answer(status, text):
    data = status + text.encode()
    sys.stdout.buffer.write(b"%d\n" % len(data) + data)
    sys.stdout.buffer.flush()


def bound(size):
    """Limit the time and memory of what follows.  SIGXCPU ends a program whose time is used up."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(usage.ru_utime + usage.ru_stime) + 1 + SECONDS + size // SLOW
    memory = MEMORY + GROWTH * size
    for what, limit in (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0):
        most = resource.getrlimit(what)[1]
        resource.setrlimit(what, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def explain(e):
    if isinstance(e, MemoryError):
        return "it takes more than %d MiB of memory" % (resource.getrlimit(resource.RLIMIT_AS)[0] >> 20)
    if isinstance(e, RecursionError):
        return "it calls itself without end"
    if isinstance(e, UnicodeEncodeError):
        return "it makes text that is not Unicode"
    lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename in ("<template>", "<unknown>")]
    line = getattr(e, "lineno", None) or (lines[-1] if lines else None)
    text = " ".join((str(e) or type(e).__name__).split())
    return ("line %d: " % line if line else "") + text[:300]


def environment(jinja2):
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} marks what the assistant said; here it changes nothing."""
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

        def _body(self, caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(form):
        """The date of SOURCE_DATE_EPOCH, so that a prompt can be made again; else today's."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        utc = datetime.timezone.utc
        now = datetime.datetime.fromtimestamp(int(epoch), utc) if epoch else datetime.datetime.now()
        return now.strftime(form)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def named(message):
    """A message with its reasoning under the names that templates read it by."""
    reasoning = next((message[key] for key in REASONING if message.get(key) is not None), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def conversation(request):
    """Its messages and its tools, or None."""
    it = json.loads(request, strict=False)
    messages, tools = (it["messages"], it.get("tools")) if isinstance(it, dict) else (it, None)
    return messages, tools


def render(template, messages, tools, variables):
    """Keys without a value are dropped, as transformers 5 does it; a template that fails so gets them as they are, as
    transformers 4 gave them."""
    def attempt(kept):
        return template.render(messages=[named(m) for m in kept], tools=tools, documents=None, add_generation_prompt=True,
                               **variables)
    dropped = [{k: v for k, v in m.items() if v is not None} for m in messages]
    try:
        return attempt(dropped)
    except Exception:
        if dropped == messages:
            raise
        try:
            return attempt(messages)
        except Exception:
            pass
        raise


def main():
    request = receive()
    if request is None:
        return
    try:
        import jinja2
        import jinja2.meta
    except ImportError:
        return answer(b"-", "!")
    bound(len(request))
    setup = json.loads(request)
    variables = {**setup["tokens"], **setup["variables"]}
    try:
        env = environment(jinja2)
        texts = [text for text in (setup["template"], setup["tool_use"]) if text is not None]
        trees = [env.parse(text) for text in texts]
        reads = set().union(*map(jinja2.meta.find_undeclared_variables, trees))
        templates = [env.from_string(tree) for tree in trees]
        answer(b"+", " ".join(sorted(reads)))
    except Exception as e:
        return answer(b"-", explain(e))
    while (request := receive()) is not None:
        bound(len(request))
        try:
            messages, tools = conversation(request)
            answer(b"+", render(templates[-1 if tools is not None else 0], messages, tools, variables))
        except Exception as e:
            answer(b"-", explain(e))


main()
