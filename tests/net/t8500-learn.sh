#!/bin/sh
# Learning over hosts: ds-learn --plan writes the bytes of one process, and goes on after a failure.
. "${0%/*}/net.sh"
export DS_MODEL=$M
host 1 2 9
cd /            # remote shells start in another folder
shells 1 2 9
cd "$S"
rsh="$PY -S $T/net/rsh.py"

# plan CUT: of tiny-r1 over two hosts, without limits of its own on answers
plan() {
	cut_plan "$M" "$1" 2 --unsafe | sed 's/ -n 6 / /; s/ -o {run}\/HEAD//' >"$1.plan"
}
plan layers
plan side

cat >prompts <<'X'
{"id": "a", "prompt": "What is 12 + 30?"}
{"id": "b", "prompt": "What is 7 * 8?"}
X
grade='jq -c "{id, index, reward: ((.ids | add) % 2)}"'
grpo="--grpo prompts --group 3 --batch 2 --steps 3 -T 6 -n 8 -S 5 --rate 1e-2 --save-every 1"

# over PLAN OUT OPTION...: ds-learn on host 9, which drives the others
over() {
	over_plan=$1 over_out=$2; shift 2
	on 9 ds-learn --plan "$over_plan.plan" --rsh "$rsh" --unsafe --timeout 5 $grpo \
	    --grade "$grade" -o "$over_out" --state "$over_out.state" "$@" >metrics 2>err
}

ds-learn -t 1 $grpo --grade "$grade" -o one >metrics 2>err
report $? "three steps of GRPO on one host" err
jq -c 'del(.seconds, .tokens_per_second)' metrics >one.metrics
for cut in layers side; do
	limited over $cut $cut
	report $? "$cut over two hosts" err
	is "$(cat err)" "" "$cut: it says nothing"
	jq -c 'del(.seconds, .tokens_per_second)' metrics >two.metrics
	same two.metrics one.metrics "$cut: the same losses and rewards"
	same $cut/model.safetensors one/model.safetensors "$cut: the same checkpoint"
	ok "$cut: no program is left" awaited nobody_left
done

# a process of a host is killed after the first step, and the same command goes on
# (the grader of the second step waits for a file)
grade=": >graded; while [ -d again.state/step-1 ] && [ ! -e go ]; do sleep 0.05; done; $grade"
# signalled SIGNAL PATTERN: the program whose command line matches, if there is one
signalled() {
	for p in /proc/[0-9]*; do
		case $(tr '\0' ' ' <$p/cmdline 2>/dev/null) in
		$2) kill -$1 ${p#/proc/} && return ;;
		esac
	done
	return 1
}
over layers again &
awaited test -d again.state/step-1
signalled TERM 'ds-learn *--plan*'
wait $! 2>/dev/null
is "$? $(head -n 1 err | sed 's/ is saved.*//')" "143 ds-learn: interrupted: 'again.state/step-1'" \
    "SIGTERM ends the run"
ok "and all programs of it" awaited nobody_left
rm graded
over layers again &
awaited test -e graded
awaited signalled 9 'ds-head *'
wait $!
is "$?" 3 "a host's process is killed: the run ends"
is "$(wc -l <err)" 1 "with one line" || cat err >&2
like "$(cat err)" "^ds-learn: h2: ds-head: killed by signal 9" "which names it"
ok "no program is left" awaited nobody_left
: >go
limited over layers again
report $? "the same command goes on" err
same again/model.safetensors one/model.safetensors "to the same checkpoint"
fails_with 1 "^ds-learn: --plan: the plan has no ds-head" "a plan without a head" \
    sh -c 'sed /ds-head/d layers.plan >bad.plan
	ds-learn --plan bad.plan --unsafe --sft prompts -o bad'
fails_with 2 "^ds-learn: -x does not go with --plan" "a plan and a cut" \
    ds-learn --plan layers.plan -x layer --sft prompts -o bad
done_testing
