#!/bin/sh
# Taps: they hold what they say, however the work is cut, and change nothing else.
# only: asan kernels
. "${0%/*}/lib.sh"

prompts() {
	frame prompt 7 0 2 $(seq 3 90) / 8 0 3 5 6 7 8 9
	frame prompt 7 88 1 4 / 9 0 0
	frame end
}
prompts >ask

# untapped STREAM: the rows of all tensors but taps
untapped() {
	frame tensors <"$1" | grep -v '@'
}

export DS_MODEL=$G/v3-plain
ds-embed <ask >in.0
for l in 0 1 2; do
	ds-attn -l $l --tap all -i in.$l -o attn.$l
	ds-route -l $l --tap all -i attn.$l -o route.$l
	ds-expert -l $l --tap all -i route.$l -o out.$l
	ds-cut --tensor h,ids -i out.$l -o in.$((l + 1))
	is "$(py "$T/taps.py" check "$DS_MODEL" $l in.$l attn.$l route.$l out.$l)" "" "layer $l: each tap holds what the model's weights say"
	ds-attn -l $l -i in.$l | tee plain.attn | ds-route -l $l | tee plain.route | ds-expert -l $l -o plain.out
	for s in attn route out; do
		untapped $s.$l >got
		untapped plain.$s >want
		same want got "layer $l: taps change nothing else behind $s"
	done
	ds-block -l $l --tap all -i in.$l -o block
	same out.$l block "layer $l: a ds-block has the same taps"
done
is "$(frame show <out.0 | grep -c 'route\.\|expert.each')" 0 "a dense layer has no taps of a router or of single experts"
py "$T/taps.py" same out.1 out.1 >got
is "$(cat got)" "" "attn.probs is 0 behind a row's own position"

ds-embed -B 7 <ask | ds-block -l 0 | ds-block -l 1 --tap all -o got
is "$(py "$T/taps.py" same out.1 got)" "" "batches of 7 rows have the same taps"
ok "ds-diff finds no difference between them" ds-diff out.1 got
for k in $(sets 3); do
	DS_KERNELS=$k ds-block -l 1 --tap all -t 2 -i in.1 -o got
	same out.1 got "two threads, $k kernels at most: the same taps"
done

# experts in several processes
last=$(py -c 'import json, os; print(json.load(open(os.environ["DS_MODEL"] + "/config.json"))["n_routed_experts"] - 1)')
taps=expert.in,expert.each,expert.shared,expert.out
ds-attn -l 1 -i in.1 | ds-route -l 1 -o routed
ds-expert -l 1 --tap $taps -i routed -o whole
ds-expert -l 1 -e 0-1,s --tap $taps -i routed | ds-expert -l 1 -e 2-$last --tap $taps -o got
is "$(py "$T/taps.py" same whole got)" "" "experts in a chain: together they have the same taps"
ds-expert -l 1 -e 1,s --tap $taps -i routed -o a
ds-expert -l 1 -e 0,3-$last --tap $taps -i routed -o b
ds-expert -l 1 -e 2 --tap $taps -i routed -o c
ds-join --tap expert.out -i a -i b -i c -o got
is "$(py "$T/taps.py" same whole got)" "" "side by side and joined, too"
untapped whole >want
untapped got >rows
same want rows "and the same rows of all else"
ds-expert -l 1 -e 2 -i routed -o c
ds-join -i c -i a -i b -o got
like "$(frame show <got)" '"expert.each@1".*"expert.shared@1"|"expert.shared@1".*"expert.each@1"' "a tap that only some asked for arrives"
py - <<'X'
import frame
with open("other", "wb") as out:
    for f in frame.read_frames(open("a", "rb")):
        if "expert.in@1" in f.tensors:
            f.tensors["expert.in@1"] = f.tensors["expert.in@1"] * 2
        out.write(f.bytes())
X
fails_with 1 "b: tensor 'expert.in@1'" "taps that contradict each other are refused" ds-join -i other -i b -o got

# what they are for: take back what head 1 said
ds-attn -l 1 --tap attn.heads -i in.1 | ds-poke --tensor h --add @attn.heads@1/1 --by -1 -o poked
is "$(py - <<'X'
import frame
a, b = (next(iter(frame.read_frames(open(n, "rb")))) for n in ("attn.1", "poked"))
print(abs(a.tensors["h"].astype("f8") - a.tensors["attn.heads@1"][:, 1] - b.tensors["h"]).max() < 1e-6)
X
)" True "a head's contribution can be taken back"

# the other ways through attention and the gate
for m in v2 v2-lite v3 v3-fp8-odd; do
	export DS_MODEL=$G/$m
	ds-embed <ask | tee in | ds-block -l 0-1 -o plain
	ds-block -l 0-1 --tap all -i in -o tapped
	untapped plain >want
	untapped tapped >got
	same want got "$m: taps change nothing else"
	is "$(py - <<'X'
import frame, numpy as np
for f in frame.read_frames(open("tapped", "rb")):
    for l in range(2 if f.rows() else 0):
        t = {k[:-2]: v for k, v in f.tensors.items() if k.endswith(f"@{l}")}
        if abs(t["attn.probs"].sum(2) - 1).max() > 1e-5:
            print("attn.probs does not add up to 1")
        if abs(t["attn.heads"].sum(1) - t["attn.out"]).max() > 1e-4 * abs(t["attn.out"]).max():
            print("the heads do not add up to attn.out")
        if "expert.each" in t and abs(t["expert.each"].sum(1) + t.get("expert.shared", 0) - t["expert.out"]).max() > 1e-4 * abs(t["expert.out"]).max():
            print("the experts do not add up to expert.out")
        if "route.scores" in t and not (np.sort(t["route.choice"])[:, -1] > -np.inf).all():
            print("nothing to choose from")
X
)" "" "$m: probabilities add up to 1, heads and experts to what was added"
done

# asking
export DS_MODEL=$M
like "$(ds-block --tap '?' </dev/null)" '^attn\.probs +F32 \[T,H,P\] +probability' "--tap '?' lists names, shapes and meanings"
is "$(for p in attn route expert join head; do ds-$p --tap '?'; done | sort -u | wc -l)" "$( (ds-block --tap '?'; ds-head --tap '?') | wc -l)" \
    "each tap of ds-block is one of a stage"
for p in attn route expert join head block; do
	for name in $(ds-$p --tap '?' | cut -d' ' -f1); do
		grep -q "^\.It Sy $name\( \|$\)" "$R/man/ds-$p.1" || echo "$p $name"
	done
done >missing
is "$(cat missing)" "" "the page of each program explains its taps"
fails_with 2 "^ds-attn: unknown tap 'route.norm'" "a tap of another stage is refused" ds-attn --tap attn.q,route.norm
fails_with 2 "^ds-block: unknown tap ''" "an empty name is refused" ds-block --tap attn.q,
py - >full <<'X'
import frame, numpy as np, sys
frame.write_frame(sys.stdout.buffer, {"at": "attn", "layer": 0, "spans": [[7, 0, 1, 1]]},
                  {"h": np.ones((1, 256), "<f4"), **{f"x{i}": np.ones(1, "<f4") for i in range(62)}})
X
fails_with 1 "^ds-attn: layer 0: --tap: 'attn.q@0' would be the 65th tensor" "more taps than a frame holds are refused" ds-attn --tap attn.norm,attn.q -i full -o got
py "$T/rows.py" 7:2000+1 end >far
fails_with 1 'layer 0: sequence 7: position 2000' "rows that do not go on from the cache are refused before all else" ds-attn -l 0 --tap all -i far -o got
done_testing
