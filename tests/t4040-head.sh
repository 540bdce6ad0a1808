#!/bin/sh
# also: asan leaks
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
for k in ref avx2; do
	DS_KERNELS=$k ds-head -t 2 -i in -o got
	same out got "two threads, $k kernels at most"
done
ds-head -i embedded -o got
same embedded got "frames that wait for others come out as they went in"
like "$(ds-head --tap '?' </dev/null)" '^head.norm ' "--tap '?' lists the taps"
fails_with 2 "^ds-head: --tap 'x' is not known" "a tap that there is not is refused" ds-head --tap head.norm,x -i in -o /dev/null
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
