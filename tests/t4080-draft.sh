#!/bin/sh
# ds-draft: guesses change no bit of any answer, are counted, and never stop a pipeline.
# also: asan
# first: yes
. "${0%/*}/lib.sh"
export DS_MODEL=$M
mkfifo loop

# requests N: of all temperatures, with stops and limits that end in the middle of guesses
requests() {
	py -c '
import json, sys
prompts = [json.loads(l)["prompt"] for l in open(sys.argv[2] + "/eval.jsonl")]
for i in range(int(sys.argv[1])):
    r = {"prompt": prompts[i * 7], "temperature": [0, 0.6, 1, 1.5][i % 4], "seed": i}
    r.update(n=1 + i % 3, logprobs=True)
    r["max_tokens"] = [1, 2, 3, 8, 17][i // 3 % 5] if i % 3 == 0 else [80, 27][i > 1]
    if i % 5 == 0: r["stop"] = [24, 25]
    if i % 7 == 0: r["think_max"] = 9
    print(json.dumps(r))' "$1" "$M"
}
requests "$(few 9 4)" >requests
# answers NAME [OPTION...]: to the requests
answers() {
	to=$1; shift
	limited ds-run -t 1 --jsonl requests --ordered --logprobs "$@" >"$to" 2>"$to.err" ||
	    cat "$to.err" >>"$to"
}
answers want
[ -s want ] || echo "no answers" >want
for how in "mtp" "prompt" "mtp -x stage" "mtp -x layer --batches 3" "prompt --batches 4"; do
	answers got --draft $how
	same got want "ds-run --draft $how: answers, ids and logprobs are those without drafts"
done
answers got --draft mtp --cache-size 250K
same got want "also with a cache that is too small for all of them"
ds-run --draft mtp -s --jsonl requests --ordered --logprobs -t 1 >script.sh
limited sh script.sh >got
same got want "the script of -s has drafts, too"
ds-run --draft mtp -t 1 -n 25 --keep kept -T 1 "What is 3 + 4?" "Spell tomato backwards." >got
ds-run -t 1 -n 25 --keep plain -T 1 "What is 3 + 4?" "Spell tomato backwards." >want.text
same got want.text "text and --keep"
ds-score --tokens <kept/003-head.dsf | grep ^token | sort >got
ds-score --tokens <plain/003-head.dsf | grep ^token | sort >want.score
is "$(comm -23 got want.score)" "" "ds-score of a kept stream counts no guesses that were wrong"
ok "and all that were right, but for the last of a sequence" \
    [ $(($(wc -l <got) + 2)) -ge "$(wc -l <want.score)" ]
ds-detokenize <kept/005-draft.dsf | sort >got
ds-detokenize <plain/004-sample.dsf | sort >want.text
same got want.text "ds-detokenize prints no guesses"
ds-dump -f ids <kept/005-draft.dsf | tr ' ' '\n' | grep -c . >got
ds-dump -f ids <plain/004-sample.dsf | grep -c . >want.n
same got want.n "ds-dump -f ids leaves guesses out"

tokens=25
# by hand OPTIONS-OF-EMBED OPTIONS-OF-SAMPLE OPTIONS-OF-DRAFT <PROMPTS: text
hand() {
	pipe 'ds-embed '"$1"' -i - -i loop | ds-block -t 1 | ds-head -t 1 --tap head.hidden |
	    ds-sample --draft '"$2"' | ds-draft -t 1 '"$3"' | tee loop | ds-detokenize' 2>err
}
plain() {
	pipe 'ds-embed '"$1"' -i - -i loop | ds-block -t 1 | ds-head -t 1 |
	    ds-sample '"$2"' | tee loop | ds-detokenize'
}
ds-tokenize -c "What is 37 * 46?" "What is 12 * 34?" "Is 91 prime?" "Sort: 5 3 9" >prompts
plain "" "-g -n $tokens" <prompts >want
hand "" "-g -n $tokens" "-v" <prompts >got
same got want "by hand"
like "$(cat err)" "^ds-draft: [0-9]+ guesses, [0-9]+ accepted \((9[0-9]|100)\.[0-9]%\)$" \
    "-v counts guesses; most are right"
hand "" "-g -n $tokens" "-v --guesses 3" <prompts >got
same got want "--guesses 3"
like "$(cat err)" "accepted .*, by position [0-9]+ of [0-9]+, [0-9]+ of [0-9]+, [0-9]+ of [0-9]+$" \
    "-v counts by position"
hand "-B 5" "-g -n $tokens" "" <prompts >got
same got want "-B 5: guesses for some of four sequences"
hand "-B 2 --batches 2" "-g -n $tokens" "--guesses 4" <prompts >got
same got want "-B 2: batches without room for guesses"
hand "" "-g -n $tokens" "--by prompt --guesses 16 --precision f32" <prompts >got
same got want "--by prompt --guesses 16"
DS_PRECISION=bf16 plain "" "-g -n $tokens" <prompts >want.bf16
DS_PRECISION=bf16 hand "" "-g -n $tokens" "" <prompts >got
same got want.bf16 "--precision bf16"
hand "" "-g -n $tokens" "" <prompts >got
pipe 'ds-embed -i - -i loop | ds-block -t 1 | ds-head -t 1 |
    ds-sample --draft -g -n '$tokens' | ds-draft -v | tee loop | ds-detokenize' <prompts >got 2>err
same got want "without --tap head.hidden there are no guesses"
like "$(cat err)" "^ds-draft: no guesses without hidden states: give ds-head --tap head.hidden$" \
    "and it warns"
pipe 'ds-embed -i - -i loop | ds-block -t 1 | ds-head -t 1 | ds-sample -g -n '$tokens' |
    ds-draft | tee loop | ds-detokenize' <prompts >got 2>err
same got want "nor without ds-sample --draft"
like "$(cat err)" "^ds-draft: no frame was for ds-draft: give ds-sample --draft$" \
    "there is a warning"

# a ring, where frames of all layers pass ds-draft
mkfifo there
ds-tokenize -c "What is 37 * 46?" "What is 12 * 34?" "Is 91 prime?" "Sort: 5 3 9" >prompts
for n in 1 3; do
	pipe 'ds-embed --ring --batches "$0" -i prompts -i loop | ds-attn -t 1 |
	    ds-route -t 1 >there &
	{ ds-expert -t 1 <there | ds-head -t 1 --ring --tap head.hidden |
	    ds-sample --ring --draft -g -n '$tokens' |
	    ds-draft -t 1 | tee loop | ds-cut --at embed |
	    ds-detokenize; } && wait $!' $n >got
	same got want "a ring, --batches $n"
done

# a sequence that fails in the first row of a draft, and after a guess that was right
for pos in 20 21; do
	hurt='ds-poke --at sample --seq 0 --pos '$pos' --tensor logits --set nan --allow-none'
	pipe 'ds-embed -i prompts -i loop | ds-block -t 1 | ds-head -t 1 | '"$hurt"' |
	    ds-sample -g -n 20 | tee loop | ds-detokenize' >want.hurt 2>want.err
	pipe 'ds-embed -i prompts -i loop | ds-block -t 1 |
	    ds-head -t 1 --tap head.hidden | '"$hurt"' | ds-sample --draft -g -n 20 |
	    ds-draft -t 1 | tee loop | ds-detokenize' >got 2>err
	same got want.hurt "a sequence that fails at position $pos: the tokens before it"
	same err want.err "and the message"
done
pipe 'ds-embed -i prompts -i loop | ds-block -t 1 | ds-head -t 1 --tap head.hidden |
    ds-sample --draft -n 0 | ds-draft -t 1 | tee loop | ds-detokenize' >got 2>err
is "$(grep -c . got)" 0 "-n 0: no tokens"

if [ -e "$R/build/tests/libdspipe-cuda.so" ]; then
	. "$T/gpu.sh"
	ds-tokenize "1 + 2" >short
	plain "" "-g -n 4" <short >want.gpu
	hand "" "-g -n 4" "-d cuda" <short >got
	same got want.gpu "a GPU"
else
	skip "a GPU" "make checks has built no emulated GPU"
fi

# saved prefixes, whose hidden states ds-draft does not get; paths that are stopped
limited ds-run -t 1 --jsonl requests --ordered --cache-dir saved >want.saved
for kind in none mtp prompt; do
	limited ds-run -t 1 --jsonl requests --ordered --cache-dir saved --draft $kind >got
	same got want.saved "--cache-dir, --draft $kind"
done
early="--samples $(few 6 3) --early text"
limited ds-run -t 1 --jsonl requests --ordered $early | grep -c . >want.n
limited ds-run -t 1 --jsonl requests --ordered $early --draft mtp | grep -c . >got
same got want.n "--early with drafts"

# a plan
set -- $(ports 2)
cat >one.plan <<EOP
plan 1
host alpha 127.0.0.1
feed tcp://{alpha}:$1
take tcp://{alpha}:$2
run alpha ds-embed -m '$M' --unsafe -i @tcp://{alpha}:$1 -i @ipc://{run}/loop -o ipc://{run}/0
run alpha ds-block -m '$M' -t 1 -i @ipc://{run}/0 -o ipc://{run}/1
run alpha ds-head -m '$M' -t 1 -i @ipc://{run}/1 -o ipc://{run}/2
run alpha ds-sample -m '$M' --unsafe -i @ipc://{run}/2 -o ipc://{run}/loop -o @tcp://{alpha}:$2
EOP
for kind in mtp prompt; do
	limited ds-run --plan one.plan --draft $kind -v -v -g -n $tokens "What is 37 * 46?" \
	    "What is 12 * 34?" "Is 91 prime?" "Sort: 5 3 9" >got 2>err
	same got want "ds-run --plan --draft $kind"
	like "$(cat err)" "^alpha: ds-draft: [0-9]+ guesses, [1-9]" \
	    "it has ds-draft on the host of ds-sample"
done
mkdir wrap
printf '#!/bin/sh\necho "$*" >>%s/words\nexec ds-embed "$@"\n' "$S" >wrap/ds-embed
chmod +x wrap/ds-embed
sed "s|ds-embed|$S/wrap/ds-embed|" one.plan >wrap.plan
head -n 1 requests | limited ds-run --plan wrap.plan --jsonl - >got
like "$(cat words)" " --batches auto$" "with --jsonl, the ds-embed of a plan gets --batches auto"
head -n 1 requests | limited ds-run --plan wrap.plan --jsonl - --cache-size 4M >got
like "$(cat words)" " --cache-size 4M$" "... and the --cache-size of ds-run"
sed '/ds-sample/d' one.plan >none.plan
fails_with 1 "^ds-run: --draft: the plan has no ds-sample$" "a plan without ds-sample" \
    ds-run --plan none.plan --draft mtp hi

# to the model's last position, on a model without a tokenizer; a fork; rows that are not sampled
frames() {
	frame prompt 1 0 1 5 9 17 2
	frame prompt 2 0 0 7 3 8
	frame fork 1 3 2
	frame prompt 3 2 1 40 41
	frame end
}
export DS_MODEL=$G/mtp
loop='ds-embed -i prompts -i loop | ds-block -t 1 | ds-head -t 1'
frames >prompts
pipe "$loop"' | ds-sample -T 1 | tee loop' >alone.dsf
pipe "$loop"' --tap head.hidden | ds-sample -T 1 --draft |
    ds-draft -t 1 --guesses 3 | tee loop' >got.dsf
for f in alone got; do
	py - $f.dsf >$f <<'EOP'
import sys
sys.path.insert(0, __import__("os").environ["T"])
import frame
seqs = {}
for f in frame.read_frames(open(sys.argv[1], "rb")):
    row = 0
    for seq, pos, n, flags in f.header.get("spans", []):
        for i in range(1 if flags & 8 else n):
            token = int(f.tensors["ids"][row + i]), flags & 4
            seqs.setdefault(seq, {}).setdefault(pos + i, []).append(token)
        row += n
for seq in sorted(seqs):
    print(seq, sorted(seqs[seq].items()))
EOP
done
same got alone "to the last position of the model: each token once, after a fork, too"

once || done_testing

# what is wrong
cp -r "$G/v3" torn
fails_with 1 "^ds-draft: .*'$G/llama': the model has no layer for multi-token prediction" \
    "a model without the layer" \
    ds-draft -m "$G/llama" -i /dev/null -o /dev/null
fails_with 1 "no layer for multi-token prediction" "DeepSeek-V2 has none" \
    ds-draft -m "$G/v2" -i /dev/null -o /dev/null
fails_with 1 "model\.layers\.4\.eh_proj\.weight" \
    "a layer that is incomplete" ds-draft -m "$G/v3" -i /dev/null -o /dev/null
frame end >end
ok "by the prompt, any model will do" ds-draft -m "$G/llama" --by prompt -i end -o /dev/null
fails_with 2 "^ds-draft: --by 'x': give mtp or prompt" "an unknown kind" ds-draft --by x
fails_with 2 "^ds-draft: --guesses '17': give an integer from 1 to 16" "too many guesses" \
    ds-draft --guesses 17
fails_with 2 "^ds-run: --draft 'x': give mtp, prompt or none" \
    "an unknown kind of ds-run" ds-run --draft x hi
for flags in 9 17; do
	{ frame prompt 1 0 $flags 5 9; frame end; } >prompts
	fails_with 1 "sequence 1 failed: .*flags 8 and 16 are allowed in the loop only" \
	    "a prompt with flags $flags" \
	    ds-embed -i prompts -o /dev/null
done
{ py - <<'EOP'
import sys
sys.path.insert(0, __import__("os").environ["T"])
import frame, numpy as np
frame.write_frame(sys.stdout.buffer, {"at": "draft", "spans": [[1, 0, 2, 16], [1, 2, 1, 1]]},
                  {"ids": np.array([5, 9, 96], "<i4")})
EOP
} >wrong
fails_with 1 "token id 96 is not in the vocabulary of 96" "an id that is none" \
    ds-draft -i wrong -o /dev/null
done_testing
