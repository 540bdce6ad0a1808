#!/bin/sh
# KV caches of BF16: one result for each split, batch, thread and instruction set; half the memory;
# what excludes it.
# also: asan
. "${0%/*}/lib.sh"

py -c '
import frame, sys
for seq, n in enumerate((150, 70, 66, 1)):
    ids = [(7 * i + 3 * seq + i // 3) % 60 + 3 for i in range(n)]
    sys.stdout.buffer.write(frame.prompt((seq, 0, 3, ids)).bytes())
frame.write_frame(sys.stdout.buffer, {"op": "end"})' >in

# logits TO EMBED-OPTIONS STAGES: of all rows, sorted
logits() {
	pipe "ds-embed $2 <in | $3 | ds-head >frames" 2>err || report 1 "$name: $3" err
	frame tensors logits <frames | sort >"$1"
}
# agrees DESC EMBED-OPTIONS STAGES: with `want`
agrees() {
	logits got "$2" "$3"
	same want got "$name: $1"
}
stages() {
	for l in $(seq 0 $((layers - 1))); do
		printf '%sds-attn -l %s | ds-route -l %s | ds-expert -l %s' "${s_sep-}" "$l" "$l" "$l"
		s_sep=' | '
	done
}

ds-quant -f gguf-bf16 -m "$G/llama" gguf >/dev/null 2>&1
DS_PRECISION=
for DS_MODEL in $(few "$G/v3 $G/v32 $G/qwen2-window $S/gguf" "$G/v32 $G/qwen2-window"); do
	name=${DS_MODEL##*/}
	[ $name != gguf ] || DS_MODEL=$(echo "$DS_MODEL"*)
	export DS_MODEL
	layers=$(ds-info --json | jq .num_hidden_layers)
	DS_CACHE_TYPE=
	export DS_CACHE_TYPE DS_PRECISION
	logits f32 '' ds-block
	DS_CACHE_TYPE=bf16
	logits want '' ds-block
	[ "$(wc -l <want)" = 287 ] && ! cmp -s want f32
	report $? "$name: the numbers are rounded"
	agrees "a process for each stage" '-B 7' "$(stages)"
	agrees "two threads, in chunks" '-B 100' 'ds-block -t 2'
	for k in $(sets 2); do
		agrees "DS_KERNELS=$k" '' "DS_KERNELS=$k ds-block"
	done
	DS_CACHE_TYPE=
	DS_PRECISION=bf16
	logits want '' ds-block
	DS_CACHE_TYPE=f32
	agrees "in bf16 the type changes nothing" '' ds-block
	DS_PRECISION=
done
ds-tokenize -m "$M" "1+1=" >one
is "$(for c in f32 bf16; do
	ds-embed -m "$M" --precision i8 --cache-type $c <one | ds-dump
done | grep -c "precision i8; cache_type bf16")" 1 "in i8 frames name the type"
DS_CACHE_TYPE=
DS_MODEL=$M

# the loop: PROMPTS OPTIONS-OF-EMBED, tokens of 12 steps
answers() {
	rm -f loop; mkfifo loop
	pipe "ds-embed -v $2 -i $1 -i loop 2>embed.err | ds-block $3 | ds-head $4 |
	    ds-sample -g -n 12 $4 | tee loop >frames" 2>err || report 1 "a loop with $2" err embed.err
	frame tensors ids <frames | sort >got
}
py -c '
import frame, sys
for seq in range(6):
    ids = [(7 * i + 3 * seq + i // 3) % 900 + 3 for i in range(52 + seq)]
    sys.stdout.buffer.write(frame.prompt((seq, 0, 1, ids)).bytes())
frame.write_frame(sys.stdout.buffer, {"op": "end"})' >ask
t='--cache-type bf16'
answers ask "$t" "$t" ''
mv got want
answers ask "$t --ring" "$t" --ring
same want got "a ring"
page=$(($(ds-info --json | jq .cache_bytes_bf16) * 64))
answers ask "$t --cache-size $((6 * page))" "$t" ''
same want got "with room for six pages"
like "$(cat embed.err)" " at most 6 of 6\$" "it counts the bytes of BF16"
like "$(cat embed.err)" "[1-9][0-9]* sequences preempted" "sequences are preempted"
answers ask "--cache-size $((6 * page))" '' ''
like "$(cat embed.err)" " of 3\$" "of float32 there is room for three"
for i in saved loaded; do
	answers ask "$t --cache-size 64M --cache-dir kept" "$t --cache-dir kept" ''
	same want got "--cache-dir: $i"
	like "$(cat embed.err)" " [1-9] $i|[1-9] prefixes of [0-9]* positions $i" "$i"
done
answers ask "--cache-size 64M --cache-dir kept" "--cache-dir kept" ''
like "$(cat embed.err)" " 0 prefixes of 0 positions loaded" "a float32 cache does not load them"
is "$(cat err)" "" "without a word"
# where the type changes no bit, frames do not say it; the names of files do
DS_PRECISION=bf16
for c in bf16 f32 bf16 f32; do
	answers ask "--cache-type $c --cache-size 64M --cache-dir both" \
	    "--cache-type $c --cache-dir both" ''
	{
		sed -n 's/.* \([0-9]*\) prefixes of .* loaded, \([0-9]*\) saved.*/\1 \2/p' embed.err
		cat err
	} >>both.said
done
DS_PRECISION=
like "$(tr '\n' ' ' <both.said)" '^0 [1-9] 0 [1-9] [1-9] 0 [1-9] 0 $' \
    "in bf16, caches of both types keep their files side by side"

# answers say it
echo '{"id": 1, "prompt": "1+1=", "max_tokens": 3}' >req
ds-run --jsonl req --out out --cache-type bf16
is "$(jq -r .precision out)" "f32, cache bf16" "an answer has it"
fails_with 1 "'out' line 1: an answer of precision f32, cache bf16, not f32\$" \
    "answers of another type" ds-run --jsonl req --out out --resume
ok "of the same type" ds-run --jsonl req --out out --resume --cache-type bf16

# what is refused
ds-tokenize "1+1=" | ds-embed >f32
ds-tokenize "1+1=" | ds-embed $t >bf16
is "$(ds-dump bf16 | grep -c 'cache_type bf16')" 1 "frames name the type"
is "$(ds-dump f32 | grep -c cache_type)" 0 "but not float32"
fails_with 1 "^ds-attn: .*the frame is of cache type bf16, this stage of f32: give ds-embed" \
    "frames of another type" ds-attn -l 0 -i bf16 -o /dev/null
fails_with 1 "^ds-block: .*the frame is of cache type f32, this stage of bf16: give ds-embed" \
    "also those of f32" ds-block $t -i f32 -o /dev/null
frame set cache_type '"q4"' <bf16 >bad
fails_with 1 "header: 'cache_type' is 'q4', not f32 or bf16\$" "an unknown type in a frame" \
    ds-attn -l 0 -i bad -o /dev/null
fails_with 2 "^ds-attn: --cache-type 'q8': give f32 or bf16\$" "an unknown type" \
    ds-attn --cache-type q8 -i f32 -o /dev/null
fails_with 2 "^ds-embed: DS_CACHE_TYPE 'q8': give f32 or bf16\$" "also in the environment" \
    sh -c 'DS_CACHE_TYPE=q8 ds-embed -i f32 -o /dev/null'
fails_with 2 "^ds-block: --learn excludes --cache-type bf16: " "learning" \
    ds-block --learn $t -i f32 -o /dev/null
fails_with 2 "^ds-block: --cache-type bf16: in --precision f32, KV caches of a GPU are f32\$" \
    "a GPU in f32" ds-block -d cuda $t -i f32 -o /dev/null
fails_with 2 "^ds-attn: --cache-type f32: in --precision bf16, KV caches of a GPU are bf16\$" \
    "and in bf16" ds-attn -d cuda --precision bf16 --cache-type f32 -i f32 -o /dev/null
done_testing
