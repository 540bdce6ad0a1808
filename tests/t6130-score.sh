#!/bin/sh
# ds-score: log-likelihood against numpy, the same bits for any cut, and how it meets its surroundings.
# also: asan leaks
. "${0%/*}/lib.sh"
case $PATH in "$R"/build-asan/*) damage=67 ;; *) damage=13 ;; esac
unset DS_MODEL

# the golden models' logits, from the reference and from the programs
for case in v2 v3 v3-plain; do
	m=$G/$case
	py "$T/golden.py" prompt "$m" >prompt
	pipe "ds-embed -m $m <prompt | ds-block -m $m | ds-head -m $m" >$case.dsf
	ds-score --tokens --json -k 2 <$case.dsf >$case.json
	ok "$case: likelihoods, ranks and likeliest tokens are what numpy makes of the reference's logits" py - "$m" $case.json <<'EOP'
import golden, json, sys
import numpy as np
e = golden.expected(sys.argv[1])
x, ids = e["logits"].astype("f8"), e["ids"].astype(int)
m = x.max(1)
p = x - (m + np.log(np.exp(x - m[:, None]).sum(1)))[:, None]
bound = 2e-3 * np.abs(x).max()          # both the logit and the norm may be off by golden.py's tolerance
j = [json.loads(l) for l in open(sys.argv[2])]
tokens, (one, total) = j[:-2], j[-2:]
assert [t["id"] for t in tokens] == list(ids) and [t["pos"] for t in tokens] == list(range(len(ids)))
assert tokens[0]["logprob"] is None and tokens[0]["rank"] is None and tokens[0]["top"] == []
for i, t in enumerate(tokens[1:]):
    assert abs(t["logprob"] - p[i, ids[i + 1]]) < bound, t
    above = lambda by: int((x[i] > x[i, ids[i + 1]] + by).sum())
    assert 1 + above(bound) <= t["rank"] <= 1 + above(-bound), t
    assert len(t["top"]) == 2 and t["top"][0]["logprob"] >= t["top"][1]["logprob"]
    for want, top in zip(np.sort(p[i])[::-1], t["top"]):
        assert abs(top["logprob"] - p[i, top["id"]]) < bound and abs(top["logprob"] - want) < bound, (top, want)
want = p[np.arange(len(ids) - 1), ids[1:]].sum()
assert one["tokens"] == len(ids) and one["scored"] == len(ids) - 1
assert abs(one["loglik"] - want) < bound * len(ids), (one, want)
assert one["mean"] == one["loglik"] / one["scored"] and np.isclose(one["perplexity"], np.exp(-one["mean"]), rtol=1e-14)
loglik = 0.0    # (sum() of Python 3.12 rounds once, at the end)
for t in tokens[1:]:
    loglik += t["logprob"]
assert one["loglik"] == loglik
assert {k: total[k] for k in one if k in total and k != "record"} == {k: one[k] for k in one if k in total and k != "record"}
EOP
done

# any cut
export DS_MODEL=$M
text="What is 37 * 46?"
head='ds-block | ds-head'
pipe "ds-tokenize -a '$text' 'Why? Because 12+30=42.' | ds-embed | $head" >whole
ds-score --json --tokens <whole | sort >expected
for b in 1 3 8; do
	pipe "ds-tokenize -a '$text' 'Why? Because 12+30=42.' | ds-embed -B $b | $head" >cut
	ds-score --json --tokens <cut | sort >got
	same got expected "in batches of $b the same bits"
done
ds-score --tokens <whole >tokens.txt
is "$(grep '^#' tokens.txt | tr -s ' ')" "# token seq pos id logprob rank text top
# sequence seq tokens scored loglik mean perplexity
# total sequences tokens scored loglik mean perplexity" "lines name the columns of each kind of record"
is "$(ds-score <whole)" "$(sed '/^token/d; 1d' tokens.txt)" "without --tokens the sums alone"
is "$(awk '$1 == "token" && $2 == 0 { printf "%s ", $7 }' tokens.txt)" '"<｜begin▁of▁sentence｜>" "What" "␣is" "␣" "3" "7" "␣*" "␣" "4" "6" "?" ' "text of the tokens, blanks made visible"
is "$(awk '$1 == "token" && $6 == 1 { sub(/:.*/, "", $8); bad += $8 != $4 } $1 == "token" && NF != ($5 == "-" ? 8 : 10) { bad++ } END { print bad + 0 }' tokens.txt)" 0 \
    "a token of rank 1 is the first of three that are the likeliest"
is "$(env -u DS_MODEL ds-score --tokens -k 1 <whole | awk '$1 == "token" && $3 == 2 { print $2, $7, $8 }' | sed 's/:.*//')" "0 - 283
1 - 223" "without a model ids stand for themselves"
is "$(ds-score --tokens -k 0 <whole | awk '$1 == "token" && $8 != "-"')" "" "-k 0 leaves the likeliest out"
is "$(ds-score <whole | awk '$1 == "total" { print $2, $3, $4 }')" "2 $(ds-tokenize -a "$text" "Why? Because 12+30=42." | ds-dump -f ids | wc -w) $(($(ds-tokenize -a "$text" "Why? Because 12+30=42." | ds-dump -f ids | wc -w) - 2))" \
    "all tokens but the first of each sequence are scored"
pipe "ds-tokenize '$text' | ds-embed | ds-block | ds-head" >last
fails_with 1 '^ds-score: nothing to score: .*ds-tokenize -a$' "logits of the last row alone score nothing, which is said" ds-score -m "$M" -i last
is "$(ds-score <last 2>/dev/null | awk '$1 == "sequence"' | tr -s ' ')" "sequence 0 11 0 0 - -" "with 0 tokens scored"

# frames by hand: V 3
py - <<'EOP'
import frame, json, numpy as np
inf, nan = np.inf, np.nan
def stream(name, *items, end=True):
    """items: [seq, pos, ids, rows with logits, logits], or a control frame"""
    with open(name, "wb") as out:
        for i in items:
            if isinstance(i, dict):
                frame.write_frame(out, i)
                continue
            s, p, ids, row, logits = i
            frame.write_frame(out, {"at": "sample", "spans": [[s, p, len(ids), 0]]}, {"ids": np.array(ids, "<i4"),
                "row": np.array(row, "<i4"), "logits": np.array(logits, "<f4").reshape(len(row), 3)})
        if end:
            frame.write_frame(out, {"op": "end"})
even = [0, 0, 0]
stream("some", [1, 0, [0, 1, 2, 0], [0, 2], [[0, 1, 2], even]], [1, 4, [2], [], []], [1, 5, [2], [0], [even]])
stream("freed", [1, 0, [0, 1], [0, 1], [even, even]], [2, 0, [0], [0], [even]], {"op": "free", "seq": 1}, [1, 0, [1, 1], [0], [even]], [2, 1, [0], [], []])
stream("taken-back", [1, 0, [0, 1, 2], [0, 1, 2], [even, [-1000, 0, -1000], even]], [1, 3, [1], [0], [even]], [1, 3, [2, 0], [0], [even]])
stream("forked", [1, 0, [0, 1], [0, 1], [even, even]], {"op": "fork", "from": 1, "to": 2, "n": 2}, {"op": "fork", "from": 1, "to": 3, "n": 1},
       {"op": "fork", "from": 9, "to": 1, "n": 1}, [2, 2, [0], [], []], [3, 1, [0], [], []])
stream("masked", [1, 0, [0, 1, 0], [0, 1], [[-inf, 0, 0], [-inf, 0, -inf]]])
stream("huge", [1, 0, [0, 1], [0], [[3e38, -3e38, 0]]])
stream("two", [1, 0, [0, 1], [0], [even]], [1, 2, [1], [], []], [2**64 - 1, 0, [0], [], []])
stream("nan", [7, 4, [0, 1], [0], [[0, nan, 0]]])
stream("inf", [7, 4, [0, 1], [0], [[0, 0, inf]]])
stream("none", [7, 4, [0, 1], [0], [[-inf] * 3]])
stream("id", [7, 4, [0, 3], [0], [even]])
stream("below", [7, 4, [0, -1], [0], [even]])
stream("order", [7, 4, [0, 1, 2], [1, 0], [even, even]])
stream("rows", [7, 4, [0, 1, 2], [0, 3], [even, even]])
stream("no-logits", [1, 0, [0, 1], [], []])
with open("no-ids", "wb") as out:
    frame.write_frame(out, {"at": "sample", "spans": [[1, 0, 1, 0]]}, {"logits": np.zeros((1, 3), "<f4"), "row": np.zeros(1, "<i4")})
with open("bf16", "wb") as out:
    frame.write_frame(out, {"at": "sample", "spans": [[1, 0, 1, 0]]}, {"ids": np.zeros(1, "<i4"), "logits": np.zeros((1, 3), "<u2")}, {"logits": "BF16"})
with open("fewer", "wb") as out:
    frame.write_frame(out, {"at": "sample", "spans": [[1, 0, 3, 0]]}, {"ids": np.zeros(3, "<i4"), "logits": np.zeros((2, 3), "<f4")})
stream("open", [1, 0, [0, 1], [0], [even]], end=False)
EOP
unset DS_MODEL
sums() {
	ds-score -i "$1" | awk '$1 == "sequence"' | tr -s ' ' | cut -d' ' -f2-
}
is "$(sums some)" "1 6 2 -2.50621825 -1.25311 3.50121" "rows without logits leave the token behind them out"
is "$(sums freed)" "1 2 1 -1.09861229 -1.09861 3
2 2 1 -1.09861229 -1.09861 3
1 2 1 -1.09861229 -1.09861 3" "a sequence that is freed is told, and may begin anew"
is "$(sums taken-back | cut -d' ' -f2-4)" "5 3 -1002.19722" "positions that come again take those back that were there"
is "$(sums forked)" "2 1 1 -1.09861229 -1.09861 3
3 1 0 0 - -" "a fork goes on from the row that it was made behind"
is "$(ds-score --tokens -i masked | awk '$1 == "token" { print $5, $6, $8, $9, $10 }')" "- - -  
-0.693147 1 1:-0.693147 2:-0.693147 0:-inf
-inf 2 1:0 0:-inf 2:-inf" "what a logit of -infinity rules out has no likelihood; of equals the lower id comes first"
is "$(ds-score --json -i masked | tail -1)" \
    '{"record": "total", "sequences": 1, "tokens": 3, "scored": 2, "loglik": "-Infinity", "mean": "-Infinity", "perplexity": "Infinity"}' "and JSON says so"
is "$(sums huge)" "1 2 1 -6.00000001e+38 -6e+38 inf" "the largest logits that there are do not overflow"
is "$(ds-score --json -i two | head -2 | tail -1)" \
    '{"record": "sequence", "seq": 18446744073709551615, "tokens": 1, "scored": 0, "loglik": 0, "mean": null, "perplexity": null}' "sequences have 64 bits, and what is not known is null"
while read -r name status message; do
	fails_with "$status" "^ds-score: $message" "refused: $name" ds-score -i "$name"
done <<'X'
nan 1 sequence 7: position 4: the logit of token 1 is not a number$
inf 1 sequence 7: position 4: the logit of token 2 is infinite$
none 1 sequence 7: position 4: no logit is finite$
id 1 sequence 7: position 5: id 3 has no logit: the last one is of 2$
below 1 sequence 7: position 5: id -1 is negative$
order 1 tensor 'row' does not ascend$
rows 1 tensor 'row' names row 3 of a frame of 3$
no-ids 1 .*tensor 'ids'
bf16 1 tensor 'logits' is not F32 of two dimensions$
fewer 1 tensor 'logits' does not have the rows that 'row' lists$
open 3 open: ended without an end frame
X
py "$T/rows.py" at=attn layer=1 7:0+1/1 end >waits
fails_with 1 '^ds-score: sequence 7 still waits for attn layer 1' "rows that wait for another stage are refused" ds-score -i waits
frame prompt 5 0 0 1 >waits
fails_with 1 '^ds-score: sequence 5 still waits for embed' "text is, too" ds-score -i waits
ds-score -i open >got 2>/dev/null
is "$(cat got)" "" "a run that was cut short has no sum"

# surroundings
fails_with 3 'standard input: ended without an end frame' "an empty input is an error" sh -c 'ds-score </dev/null'
is "$(frame end | ds-score 2>/dev/null | tail -1 | tr -s ' ')" "total 0 0 0 0 - -" "a stream of nothing has nothing to score"
fails_with 3 'upstream: ds-head failed' "an error frame is told" sh -c '$FRAME error "ds-head: it broke" | ds-score'
fails_with 3 'cannot write' "a full disk is noticed" sh -c 'ds-score <whole >/dev/full'
is "$(py -c '
import subprocess
p = subprocess.Popen("ds-score", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
p.stdout.close()
p.communicate(open("whole", "rb").read())
print(p.returncode)' 2>&1)" -13 "a closed pipe ends it quietly"
mkfifo fifo
cat whole >fifo &
is "$(ds-score -i fifo)" "$(ds-score <whole)" "it reads a FIFO"
wait
ok "damaged bytes are refused" py "$T/damage.py" taken-back $damage ds-score --tokens
fails_with 2 "^ds-score: -k '101'" "-k has an end" ds-score -k 101
fails_with 1 'tokenizer.json' "texts want a tokenizer" ds-score --tokens -m "$G/v3" -i whole
done_testing
