#!/bin/sh
# only: asan leaks
# ds-poke: editing in flight.
. "${0%/*}/lib.sh"

ds-tokenize -m "$M" "What is 3 + 4?" "Sort 3 1 2" | ds-embed -m "$M" | ds-block -m "$M" -l 0-1 >two.dsf
ds-attn -m "$M" -l 2 <two.dsf | ds-route -m "$M" -l 2 >routed.dsf

# values NAME <stream: seq pos column value of each
values() {
	py -c '
import sys, frame
for f in frame.read_frames(sys.stdin.buffer):
    if sys.argv[1] in f.tensors:
        for (s, p), r in zip(f.rows(), f.tensors[sys.argv[1]]):
            for i, v in enumerate(r.reshape(-1)): print(s, p, i, repr(float(v)))' "$1"
}
# edited 'PYTHON OF s p c v': what two.dsf's h must be
edited() {
	values h <two.dsf | py -c '
import sys, numpy as np
for line in sys.stdin:
    s, p, c, v = line.split(); s, p, c, v = int(s), int(p), int(c), float(v)
    print(s, p, c, repr(float(np.float32(eval(sys.argv[1])))))' "$1"
}

ds-poke <two.dsf >same.dsf
same same.dsf two.dsf "without an edit it is the identity"
# none WHAT OPTIONS [FILE]: an edit of nothing says which option selects nothing; frames pass as they are
none() {
	fails_with 1 "^ds-poke: nothing was edited: $1" "nothing is edited: $2" ds-poke $2 -i "${3:-two.dsf}" -o got.dsf
	same got.dsf "${3:-two.dsf}" "... and the frames are as they were"
	fails_with 0 "" "... which --allow-none allows" ds-poke $2 --allow-none -i "${3:-two.dsf}" -o got.dsf
}
frame end >end.dsf
py "$T/rows.py" at=attn layer=2 7:0+0 end >rowless.dsf
none "--seq '5' selects nothing of what the other" "--tensor h --seq 5 --zero"
none "--tensor 'hh' selects nothing$" "--tensor hh --zero"
none "--tensor 'attn.q' selects nothing$" "--tensor attn.q --zero"
fails_with 1 "--tensor 'h,hh': no selected frame has a tensor named 'hh'" "a name beside one that there is" ds-poke --tensor h,hh --zero two.dsf -o got.dsf
none "--at 'head' selects nothing of what" "--at head --tensor h --zero"
none "-l '7-' selects nothing of what" "-l 7- --tensor h --zero"
none "-l '0-1,3' selects nothing of what" "-l 0-1,3 --at attn --tensor h --zero"
none "--pos '99' selects nothing of what" "--tensor h --pos 99 --zero"
none "--pos '20-' selects nothing of what" "--tensor h --seq 1 --pos 20- --scale 2"
none "--col '256-300' selects nothing of what" "--tensor h --col 256-300 --add 1"
none "--expert '77' selects nothing of what" "--tensor expert.w --expert 77 --zero" routed.dsf
none "--tensor 'expert.w' selects nothing$" "--tensor expert.w --zero"
none "no frame with rows came" "--tensor h --zero" end.dsf
none "no frame with rows came" "--tensor h --zero" rowless.dsf
fails_with 2 "^ds-poke: no edit of the selected values" "a selection without an edit" ds-poke --tensor h --pos 3 -i two.dsf
# one frame of two is met: it alone says so
py -c '
import frame
f = [x for x in frame.read_frames(open("two.dsf", "rb")) if "op" not in x.header][0]
f.header = {**f.header, "layer": 1}
open("both.dsf", "wb").write(f.bytes() + open("two.dsf", "rb").read())'
ds-poke -v -l 1 --tensor h --seq 0 --pos 0-1 --col 5- --zero -i both.dsf -o got.dsf 2>said
is "$(cat said)" "ds-poke: $(ds-dump -i both.dsf | grep -c ^frame) frames in, $(ds-dump -i both.dsf | grep -c ^frame) out
ds-poke: 502 elements of 2 rows in 1 frames edited" "-v counts what was edited"
is "$(py -c '
import frame
print([len(f.header.get("edits", [])) for f in frame.read_frames(open("got.dsf", "rb")) if "op" not in f.header])')" "[1, 0, 0]" \
    "a frame in which nothing was edited has no key edits"
ds-poke --tensor h --seq 1 --pos 2- --scale 2.5 <two.dsf | values h >got.txt
edited 'v * 2.5 if s == 1 and p >= 2 else v' >expected.txt
same got.txt expected.txt "rows are scaled"
ds-poke --tensor h --col 3,10-12 --zero <two.dsf | values h >got.txt
edited '0 if c == 3 or 10 <= c <= 12 else v' >expected.txt
same got.txt expected.txt "columns are zeroed"
ds-poke --tensor h --add 1.5 --by -2 <two.dsf | values h >got.txt
edited 'v - 3' >expected.txt
same got.txt expected.txt "a number is added, times a factor"
py -c '
import json, struct, numpy as np
v = np.arange(256, dtype="<f4")
h = json.dumps({"steer": {"dtype": "F32", "shape": [256], "data_offsets": [0, 1024]}}).encode()
open("v.safetensors", "wb").write(struct.pack("<Q", len(h)) + h + v.tobytes())'
ds-poke --tensor h --add v.safetensors:steer --by 0.5 <two.dsf | values h >got.txt
edited 'v + c * 0.5' >expected.txt
same got.txt expected.txt "a steering vector is added from a safetensors file"
ds-poke --tensor h --add @h --by -1 <two.dsf | values h >got.txt
edited '0' >expected.txt
same got.txt expected.txt "a tensor of the frame is taken away"
is "$(ds-poke --tensor h --zero <two.dsf | ds-poke --tensor h --set 1 | ds-dump -f json | head -1 | py -c '
import json, sys
print(json.loads(sys.stdin.readline())["edits"])')" "['ds-poke --tensor h --zero', 'ds-poke --tensor h --set 1']" "each edit is recorded in the frame"
ds-poke --tensor expert.w --expert 0-7 --zero <routed.dsf >ablated.dsf
is "$(py -c '
import frame
for f in frame.read_frames(open("ablated.dsf", "rb")):
    if "expert.w" in f.tensors:
        i, w = f.tensors["expert.idx"], f.tensors["expert.w"]
        print((w[i < 8] == 0).all(), (w[i >= 8] != 0).all(), (i < 8).any())')" "True True True
True True True" "experts are ablated by their weights"
ds-expert -m "$M" -l 2 <ablated.dsf >h.dsf
ok "and the layer goes on without them" sh -c "$FRAME check <h.dsf"
fails_with 1 'ids.*I32' "a tensor that is not F32" ds-poke --tensor ids --zero -i two.dsf -o /dev/null
fails_with 1 '4 columns, the vector 256' "a vector of another length" ds-poke --tensor expert.w --add v.safetensors:steer -i routed.dsf -o /dev/null
fails_with 1 'no tensor .nobody' "a file without that tensor" ds-poke --tensor h --add v.safetensors:nobody -i two.dsf
fails_with 1 'none.safetensors' "no such file" ds-poke --tensor h --add none.safetensors:x -i two.dsf
fails_with 2 'more than one' "two edits" ds-poke --tensor h --zero --scale 2 -i two.dsf
fails_with 2 'no tensor to edit' "an edit of nothing" ds-poke --zero -i two.dsf
fails_with 2 "scale 'x'" "a factor that is no number" ds-poke --tensor h --scale x
done_testing
