#!/bin/sh
# only: asan leaks kernels
# ds-head: the rows that want logits, and its tap.
. "${0%/*}/lib.sh"
export DS_MODEL=$M

{
	frame prompt 7 0 2 0 5 6 / 8 0 1 0 9 / 9 0 0 0 9 9
	frame prompt 9 3 0 4 / 10 0 2
	frame end
} | ds-embed -B 6 | tee embedded | ds-block -o in
ds-head -i in -o out
is "$(py -c '
import frame
for f in frame.read_frames(open("out", "rb")):
    "op" in f.header or print(f.header.get("at"), f.header.get("layer"), list(f.tensors), *(list(map(int, f.tensors[n].ravel() if n == "row" else f.tensors[n].shape)) for n in ("row", "logits") if n in f.tensors))
')" "sample None ['ids', 'row', 'logits'] [0, 1, 2, 4] [4, 1024]
sample None ['ids', 'row', 'logits'] [] [0, 1024]
sample None ['ids', 'row', 'logits'] [] [0, 1024]" "rows with flag 2, and the last with flag 1, get logits"
ds-head --tap head.norm -i in -o tapped
like "$(frame show <tapped)" '"head.norm": \["F32", 4, 256\]' "--tap head.norm adds what the output matrix is multiplied with"
frame tensors logits <out >a
frame tensors logits <tapped >b
same a b "and changes nothing else"
for k in $(sets 2); do
	DS_KERNELS=$k ds-head -t 2 -i in -o got
	same out got "two threads, $k kernels at most"
done
ds-head --ring -i embedded -o got
same embedded got "in a ring, frames that wait for others come out as they went in"
ds-head -i out -o got
same out got "and frames that are past the head do so everywhere"
# waits WHERE HEADER...: rows that can't reach the head any more (header as JSON)
waits() {
	waits_where=$1
	py - "$2" >bad <<'EOP'
import frame, json, numpy as np, sys
frame.write_frame(sys.stdout.buffer, {"spans": [[7, 0, 1, 1]], **json.loads(sys.argv[1])}, {"ids": np.array([5], "<i4"), "h": np.zeros((1, 256), "<f4")})
frame.write_frame(sys.stdout.buffer, {"op": "end"})
EOP
	fails_with 1 "^ds-head: sequence 7 still waits for $waits_where: is a stage missing.*give ds-head --ring" "rows that wait for $1 are refused" ds-head -i bad -o got
	like "$(ds-dump -i got 2>&1)" "ds-head: sequence 7 still waits for $waits_where" "... and programs downstream are told"
	ds-head --ring -i bad -o got
	same bad got "... but not in a ring"
}
waits embed '{"at": "embed"}'
waits "attn layer 1" '{"at": "attn", "layer": 1}'
waits "attn layer 4" '{"at": "attn", "layer": 4}'
waits "route layer 3" '{"at": "route", "layer": 3}'
waits "expert layer 3" '{"at": "expert", "layer": 3}'
waits "expert layer 2 .only experts 0-7 are done." '{"at": "expert", "layer": 2, "experts_done": "0-7"}'
py "$T/rows.py" at=nowhere 7:0+1/1 end >bad
for p in head sample "sample --ring" score detokenize; do
	fails_with 1 "^ds-${p%% *}: sequence 7 waits for 'nowhere': no program has this stage$" "ds-$p refuses a stage that no program has" ds-$p -i bad
done
py "$T/rows.py" at=attn layer=0 end >none
ok "a frame without rows waits for nothing" ds-head -i none -o got
same none got "... and passes"
like "$(ds-head --tap '?' </dev/null)" '^head.norm ' "--tap '?' lists the taps"
fails_with 2 "^ds-head: unknown tap 'x'" "a tap that there is not is refused" ds-head --tap head.norm,x -i in -o /dev/null
py "$T/rows.py" at=head layer=3 7:0+1/1 end >bad
fails_with 1 '^ds-head: head: layer is 3, must be the number of layers, 4$' "a frame that left out a layer is refused" \
    ds-head -i bad -o /dev/null
py "$T/rows.py" at=head layer=4 d=128 7:0+1/1 end >bad
fails_with 1 "tensor 'h'" "a residual of another width is refused" ds-head -i bad -o /dev/null
mkdir cut
cp "$G"/v3/* cut
head -c 900000 "$G/v3/model.safetensors" >cut/model.safetensors
fails_with 1 'model.safetensors' "a truncated file of weights is refused at the start" ds-head -m cut -i in -o /dev/null
done_testing
