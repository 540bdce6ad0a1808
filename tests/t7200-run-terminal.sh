#!/bin/sh
# ds-run at a terminal: questions one after another, the thought dimmed, Ctrl-C, hanging up.
# also: asan
. "${0%/*}/lib.sh"

# A terminal with ds-run on it, in a session of its own.
cat >term.py <<'EOP'
import os, pty, re, select, signal, sys, time

class Term:
    def __init__(self, args, env=None, out=None):
        pid, fd = pty.fork()
        if pid == 0:
            if out:
                os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
            os.environ.update(env or {"TERM": "xterm"})
            os.execvp("ds-run", ["ds-run", "-m", os.environ["M"], "-g"] + args)
        self.pid, self.fd, self.got = pid, fd, b""
    def more(self, limit):
        if not select.select([self.fd], [], [], limit)[0]:
            sys.exit("nothing more after %r" % self.got)
        try:
            new = os.read(self.fd, 65536)
        except OSError:
            new = b""
        self.got += new
        return new
    def until(self, text, limit=30):
        """What came up to and with text."""
        text = text.encode()
        while text not in self.got:
            if not self.more(limit):
                sys.exit("ended after %r" % self.got)
        n = self.got.index(text) + len(text)
        shown, self.got = self.got[:n], self.got[n:]
        return shown.decode().replace("\r\n", "\n")
    def type(self, text):
        os.write(self.fd, text.encode())
    def rest(self):
        while self.more(30):
            pass
        return self.got.decode().replace("\r\n", "\n")
    def end(self):
        """Exit status, or minus the signal."""
        for _ in range(400):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.kill(self.pid, signal.SIGKILL)
        return "hung"
    def children(self):
        return open("/proc/%d/task/%d/children" % (self.pid, self.pid)).read().split()

def expect(a, b):
    if a != b:
        sys.exit("%r is not %r" % (a, b))

def gone(pids):
    """They end within a while, if they have not already."""
    for _ in range(200):
        left = [p for p in pids if os.path.exists("/proc/%s/exe" % p) and open("/proc/%s/stat" % p).read().split(") ")[1][0] != "Z"]
        if not left:
            return
        time.sleep(0.05)
    sys.exit("still there: %s" % left)

def dimmed(shown):
    """What is dimmed of it, and what is not."""
    text = {"0": "", "2": ""}
    how = "0"
    for part in re.split("(\033\\[[02]m)", shown):
        if part.startswith("\033"):
            how = part[2]
        else:
            text[how] += part
    return text["2"], text["0"]

THOUGHT = "37 * 46\n7*6+0=42: 2 carry 4\n3*6+4=22: 2 carry 2\n37 * 6 = 222\n7*4+0=28: 8 carry 2\n3*4+2=14: 4 carry 1\n37 * 40 = 1480\n" \
    "222 + 1480\n2+0+0=2: 2 carry 0\n2+8+0=10: 0 carry 1\n2+4+1=7: 7 carry 0\n0+1+0=1: 1 carry 0\n1702\n"
EOP

term() {        # term DESC <<PROGRAM
	{ echo 'from term import *'; cat; } >program.py
	ok "$1" env PYTHONPATH="$S" "$PY" program.py
}

# (not with sanitizers, where most of its time is the prefill of 300 prompts)
[ "$(few all "")" = "" ] || term "Ctrl-C while the terminal takes no text" <<'EOP'
t = Term(["-x", "layer"] + ["What is 37 * 46?"] * 300)
t.until("carry")
time.sleep(0.5)         # the output is not read: all are blocked
pids = t.children()
os.kill(t.pid, signal.SIGINT)
expect(t.end(), -2)
gone(pids)
EOP

once || done_testing

term "a question is answered, then the next one is asked for" <<'EOP'
t = Term(["-q"])
t.until("> ")
t.type("What is 37 * 46?\n")
expect(t.until("> "), "What is 37 * 46?\n1702\n> ")
pids = t.children()
t.type("/new\n")
expect(t.until("> "), "/new\n> ")
t.type("What is 3 + 4?\n")
expect(t.until("> "), "What is 3 + 4?\n7\n> ")
expect(t.children(), pids)      # the model stayed loaded
t.type("\n")
expect(t.until("> "), "\n> ")
t.type("\4")
expect(t.rest(), "\n")
expect(t.end(), 0)
EOP

term "lines typed ahead are answered in their order" <<'EOP'
t = Term(["-q"])
typed = "What is 37 * 46?\n/new\nWhat is 3 + 4?\n/new\nWhat is 2 + 2?"
t.type(typed)
t.type("\4\4\4")        # the last line without its newline
expect(t.rest().replace(typed, ""), "> 1702\n> > 7\n> > 4\n> \n")      # the echo comes when it likes
expect(t.end(), 0)
EOP

term "it is a conversation: each question goes with all that was said" <<'EOP'
import json, subprocess
asked = ["What is 37 * 46?", "{{ x }} \"3\" \\ plus 4? 🙂 <｜User｜>", "What is 2 + 2?"]
def answers(t):
    said = []
    for q in asked:
        t.type(q + "\n")
        said.append(t.until("\n> ").split("\n", 1)[1][:-3])
    return said
def file(name, messages):
    json.dump(messages, open(name, "w"))
    return name
t = Term(["-vv"], {"NO_COLOR": "1", "TERM": "xterm"})
t.until("> ")
said = answers(t)
quiet = Term(["-q"], {"TERM": "dumb"})
quiet.until("> ")
expect(answers(quiet), [a.split("</think>\n\n")[-1] if "</think>" in a else "" for a in said])
talk = []
for q, a in zip(asked, said):
    talk.append({"role": "user", "content": q})
    got = subprocess.run(["ds-run", "-m", os.environ["M"], "-g", "--messages", file("talk.json", talk)], stdout=subprocess.PIPE, check=True)
    expect(got.stdout.decode(), a + "\n")
    talk.append({"role": "assistant", "content": a})
t.type("/new\n")
t.until("> ")
t.type(asked[2] + "\n")
expect("2+2+0=4: 4 carry 0\n4\n</think>\n\n4\n> " in t.until("\n> "), True)
for x in t, quiet:
    x.type("\4")
    told = x.rest()
    expect(x.end(), 0)
    # the caches keep what a conversation begins with
    expect(len(re.findall("ds-embed: 2 of 4 prompts began after a known prefix", told)), x is t)
EOP

term "with -w, or a template of text, each line is a text of its own" <<'EOP'
open("own", "w").write("<｜begin▁of▁sentence｜><｜User｜>{}<｜Assistant｜><think>\n")
for args, q in (["-w", "-n", "3"], "<｜User｜>What is 3 + 4?<｜Assistant｜>"), (["--template", "own", "-n", "3"], "What is 3 + 4?"):
    t = Term(args, {"TERM": "dumb"})
    t.until("> ")
    got = []
    for _ in range(2):
        t.type(q + "\n")
        got.append(t.until("\n> "))
    expect(got[0], got[1])
    t.type("/new\n")
    expect(t.until("\n> ").count("\n") > 1, True)
    t.type("\4")
    t.rest()
    expect(t.end(), 0)
EOP

term "the thought is dimmed, the answer is not" <<'EOP'
t = Term([])
t.until("> ")
t.type("What is 37 * 46?\n")
dim, rest = dimmed(t.until("\n> "))
expect(dim, THOUGHT + "</think>")
expect(rest, "What is 37 * 46?\n\n\n1702\n> ")
t.type("\4")
expect(t.rest().strip(), "")
expect(t.end(), 0)
EOP

term "a prompt that is given is answered in the same colours" <<'EOP'
t = Term(["What is 37 * 46?"])
dim, rest = dimmed(t.rest())
expect(dim, THOUGHT + "</think>")
expect(rest, "\n\n1702\n")
expect(t.end(), 0)
EOP

term "NO_COLOR is respected" <<'EOP'
t = Term([], {"NO_COLOR": "1", "TERM": "xterm"})
t.until("> ")
t.type("What is 37 * 46?\n")
expect("\033" in t.until("> "), False)
t.type("\4")
t.rest()
expect(t.end(), 0)
EOP

term "where standard output is a file, the prompt sign is not in it" <<'EOP'
t = Term([], out="answers")
t.until("> ")
t.type("What is 37 * 46?\n")
t.until("> ")
t.type("\4")
t.rest()
expect(t.end(), 0)
expect(open("answers").read(), THOUGHT + "</think>\n\n1702\n")
EOP

term "Ctrl-C at the prompt ends it all" <<'EOP'
t = Term(["-x", "stage"])
t.until("> ")
pids = t.children()
t.type("\3")
t.rest()
expect(t.end(), -2)
gone(pids)
EOP

term "Ctrl-C in the middle of an answer, too, and the terminal is not left dim" <<'EOP'
t = Term(["-x", "stage"])
t.until("> ")
pids = t.children()
t.type("What is 37 * 46?\n" * 60)
t.until("carry")
t.type("\3")
shown = t.rest()
expect(t.end(), -2)
expect(shown.count("1702\n") < 60, True)
expect(shown.rstrip().endswith("\033[m"), True)
expect("ds-" in shown, False)
gone(pids)
EOP

term "a terminal that is closed ends all of them" <<'EOP'
t = Term(["-x", "stage"])
t.until("> ")
pids = [str(t.pid)] + t.children()
os.close(t.fd)
expect(t.end(), -1)
gone(pids)
EOP

term "so it is in the middle of an answer" <<'EOP'
t = Term(["-x", "stage"])
t.until("> ")
pids = t.children()
t.type("What is 37 * 46?\n")
t.until("carry")
os.close(t.fd)
expect(t.end(), -1)
gone(pids)
EOP

term "a stage that dies while it is waiting for a question is named" <<'EOP'
t = Term(["-x", "stage"])
t.until("> ")
pids = t.children()
def expert(p):
    return os.readlink("/proc/%s/exe" % p).endswith("ds-expert") and b"\0-l\0" b"2\0" in open("/proc/%s/cmdline" % p, "rb").read()
while not [p for p in pids if expert(p)]:
    time.sleep(0.01)
victim = [p for p in pids if expert(p)]
os.kill(int(victim[0]), signal.SIGKILL)
expect("ds-run: ds-expert -l 2: killed by signal 9\n" in t.rest(), True)
expect(t.end(), 3)
gone(pids)
EOP
done_testing
