#!/bin/sh
# What nobody knows goes all the way: keys, parameters of a sequence, tensors; however the line is cut.
# also: asan
# check: yes
. "${0%/*}/lib.sh"
export DS_MODEL=$G/v3

py - >prompts <<'EOP'
import frame, numpy as np, sys
out = sys.stdout.buffer
for seq, pos, n, flags in (2**64 - 1, 0, 7, 3), (4, 0, 1, 1), (2**64 - 1, 7, 2, 3):
    f = frame.prompt((seq, pos, flags, range(5, 5 + n)))
    f.header["who"] = {"wrote": ["this", None, -5, 2.5, b"\0\1"], str(seq): True}
    f.header["edits"] = [["mine", "nothing", 0]]
    f.header["seqs"] = {seq: {"greedy": True, "colour": [1, {"deep": "red"}]}}
    f.tensors["mine"] = np.arange(n * 6, dtype="<i8").reshape(n, 2, 3, 1) * -7
    f.tensors["bytes"] = np.arange(n * 5, dtype="u1").reshape(n, 5)
    f.tensors["nothing"] = np.zeros((n, 0), "<f4")
    f.tensors["half"] = np.full((n,), 0x3c01, "<u2")
    f.dtypes["half"] = "F16"
    out.write(f.bytes())
frame.write_frame(out, {"op": "later", "note": [1]})
frame.write_frame(out, {"op": "end"})
EOP
# seen FILE: what is unknown in it, in a form that does not depend on how prompts are cut
seen() {
	py - "$1" <<'EOP'
import frame, sys
for f in frame.read_frames(open(sys.argv[1], "rb")):
    h = f.header
    if "op" in h:
        if h["op"] != "free":
            print(h)
        continue
    for i, (seq, pos) in enumerate(f.rows()):
        print(seq, pos, h["who"], h["edits"], *((k, f.dtypes[k], f.tensors[k][i].tolist()) for k in ("mine", "bytes", "nothing", "half")))
    for seq in h.get("seqs", {}):
        print("first of", seq, h["seqs"][seq], [s for s in h["spans"] if s[0] == seq][0][1] in (0, 7))
EOP
}
seen prompts | sort >want
is "$(grep -c deep want)" 3 "three prompts have parameters that nobody knows"
through() {     # DESC PIPELINE
	rm -f got
	ok "$1: the line runs" pipe "$2"
	seen got | sort >seen
	same want seen "$1: keys, parameters and tensors arrive as they were"
}
through "one block" 'ds-embed <prompts | ds-block | ds-head >got'
through "every stage, in chunks" 'ds-embed -B 2 <prompts | ds-block -l 0 | ds-attn -l 1-3 | ds-route -l 1-3 | ds-expert -l 1-3 |
	ds-attn -l 2 | ds-route -l 2 | ds-expert -l 2 | ds-block -l 3 | ds-head --tap head.norm >got'
through "experts in a chain" 'ds-embed <prompts | ds-block -l 0 | ds-attn -l 1 | ds-route -l 1 | ds-expert -l 1 -e 3-15 | ds-expert -l 1 -e s,0-2 |
	ds-block -l 2-3 | ds-head >got'
mkfifo a b c d
through "experts side by side" 'ds-expert -l 1 -e 3-15 -i a -o c & p=$!; ds-expert -l 1 -e s,0-2 -i b -o d & p="$p $!"
	ds-join -i c -i d | ds-block -l 2-3 | ds-head >got & p="$p $!"
	ds-embed <prompts | ds-block -l 0 | ds-attn -l 1 | ds-route -l 1 -o a -o b || exit 1
	for i in $p; do wait $i || exit 1; done'

# ds-join has no business with these either
ds-embed <prompts >other
ds-join -i other -i other -o got
same other got "ds-join passes on once what it has no part in, byte for byte"
done_testing
