#!/bin/sh
# ds-hash: traces, what they do not depend on, and their check.
# only: asan
# check: yes
. "${0%/*}/lib.sh"

ok "the trace of tiny-r1 that is shipped is what this machine computes" pipe '"$R/examples/trace.sh" >trace'
same trace "$R/examples/tiny-r1/trace.txt" "to the last bit"
is "$(awk 'NF != 8 || length($1) != 64' trace)" "" "its lines have eight fields"
is "$(awk '$4 != 0 || $5 != "0-14"' trace)" "" "of one sequence of 15 positions"

export DS_MODEL="$M"
prompt='ds-tokenize -c -a "What is 37 * 46?"'
ok "a run in one process and small batches fulfils its part of it" \
    pipe "$prompt"' | ds-embed -B 4 | ds-block -l 0-1 >two; ds-hash two >part && grep -qxFf part trace && test $(sort part trace | uniq -d | wc -l) -eq 2'
ok "so does one beside other sequences" \
    pipe '(ds-tokenize -c -a "What is 37 * 46?" "Why?" "What is 1 + 1?") | ds-embed | ds-block -l 0-1 | ds-hash --check part'
ok "a check is quiet where all is well" pipe 'ds-hash --check part two >said 2>&1; test ! -s said'
fails_with 0 "2 lines match 'part'" "and says so with -v" ds-hash -v --check part two

py - "$T" <<'EOP'
import frame, numpy as np
def frames(name, *spans, at=("attn", 3)):
    """spans: sequence, first position, values of h"""
    with open(name, "wb") as out:
        for s in spans:
            if s is None or isinstance(s, int):
                frame.write_frame(out, {"op": "end"} if s is None else {"op": "free", "seq": s})
                continue
            h = np.array(s[2], "<f4").reshape(-1, 1) * np.ones(4, "<f4")
            frame.write_frame(out, {"at": at[0], "layer": at[1], "spans": [[s[0], s[1], len(h), 0]]}, {"h": h})
frames("plain", (5, 0, [1, 2, 3, 4, 5]), (6, 0, [7]), None)
frames("mixed", (6, 0, [7]), (5, 0, [1, 2]), (5, 2, [3, 4, 5]), None)
frames("draft", (5, 0, [1, 2, 8, 9, 9, 9, 9]), (5, 2, [3, 4]), (5, 4, [5]), (6, 0, [7]), None)
frames("gaps", (5, 0, [1, 2]), (5, 3, [4]), None)
frames("again", (5, 0, [1, 2]), 5, (5, 0, [1, 3]), 5, None)
frames("later", (5, 0, [1, 2, 3, 4, 5, 6]), (6, 0, [7]), None)
frames("other", (5, 0, [1, 2, 3.5, 4, 5]), None)
frames("open", (5, 0, [1, 2]))
EOP
ds-hash plain >plain.txt
is "$(ds-hash mixed | cmp - plain.txt)" "" "batches and the order of sequences do not matter"
is "$(ds-hash draft | cmp - plain.txt)" "" "nor does a draft that was taken back"
is "$(ds-hash plain plain draft | cmp - plain.txt)" "" "nor do points that repeat rows"
is "$(ds-hash - <mixed | cmp - plain.txt)$(ds-hash /dev/stdin <mixed | cmp - plain.txt)" "" "standard input is read as - and as a file"
is "$(cut -d' ' -f2- plain.txt)" "$(printf 'expert 2 %s h F32 4\n' '5 0-4' '6 0-0')" "a line says whose hash it is"
is "$(head -1 plain.txt | cut -d' ' -f1)" "$(py -c '
import hashlib, numpy as np
sha = lambda b: hashlib.sha256(b).digest()
print(sha(b"".join(sha((np.ones(4, "<f4") * i).tobytes()) for i in (1, 2, 3, 4, 5))).hex())')" \
    "the hash is the one that the page defines"
is "$(ds-hash gaps | cut -d' ' -f2-6)" "$(printf 'expert 2 %s h\n' '5 0-1' '5 3-3')" "each run of positions has its line"
is "$(ds-hash again | cut -d' ' -f2-6)" "$(printf 'expert 2 %s h\n' '5 0-1' '5:2 0-1')" "a number that is used again is another sequence"
is "$(ds-hash again plain | cut -d' ' -f2-6)" "$(printf 'expert 2 %s h\n' '5 0-4' '5:2 0-1' '6 0-0')" "in each stream by itself"
frame end >end
fails_with 3 "^ds-hash: nothing to hash: no frame has tensors" "a run without rows has no trace" ds-hash end
is "$(cat .out)" "" "... and no lines"

fails_with 0 "'plain.txt' asks for no row, or not for all, of 1 tensor of the run" "a check asks for no more than its lines, and says so" \
    ds-hash --check plain.txt later
head -1 plain.txt >one.txt
fails_with 0 "of 2 tensors of the run" "so it does of several" ds-hash --check one.txt plain again
fails_with 0 "" "of none it says nothing" ds-hash --check plain.txt plain
is "$(ds-hash --check plain.txt other 2>said; echo $?)" "$(printf 'expert 2 5 0-4 h: FAILED\nexpert 2 6 0-0 h: MISSING\n1')" \
    "lines that fail are named"
is "$(cat said)" "ds-hash: 2 of 2 lines differ from 'plain.txt'" "and counted"
is "$(ds-hash --check plain.txt gaps 2>said)" "$(printf 'expert 2 %s h: MISSING\n' '5 0-4' '6 0-0')" "rows that did not come are missing"
(echo "# made by hand"; echo; cat plain.txt) >comment
ok "comments and empty lines are left out" ds-hash --check comment plain
sed 's/F32/F16/' plain.txt >type
fails_with 1 "2 of 2" "a dtype is held against the run as well" ds-hash --check type plain
for bad in 's/^./&&/' 's/0-4/4-0/' 's/ h / /' 's/ 4$/& 4/' 's/0-4/0-99999999999/'; do
	sed "$bad" plain.txt >bad
	fails_with 3 "'bad': line 1: not a line of ds-hash" "a line changed by $bad is none" ds-hash --check bad plain
done
printf 'a\0b\n' >bad
fails_with 3 "not a text" "nor is a file with a NUL a trace" ds-hash --check bad plain
fails_with 3 "no line to check" "an empty file checks nothing" ds-hash --check /dev/null plain
fails_with 3 "cannot open 'none'" "a missing one neither" ds-hash --check none plain
fails_with 3 "open: ended without an end frame" "a stream without an end is trouble" ds-hash open
fails_with 3 "standard input: ended without" "as is empty input" ds-hash </dev/null
py -c 'd = bytearray(open("plain", "rb").read()); d[150] ^= 1; open("bad", "wb").write(d)'
fails_with 3 "ds-hash: bad: frame 1" "and a wrong byte" ds-hash bad
ok "a reader that goes away ends it quietly" pipe 'ds-hash plain 2>err | true; test ${PIPESTATUS[0]} -eq 141 -o ${PIPESTATUS[0]} -eq 0 && test ! -s err'
fails_with 3 "cannot write" "a full disk is noticed" sh -c 'ds-hash plain >/dev/full'
done_testing
