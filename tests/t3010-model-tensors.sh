#!/bin/sh
# only: asan leaks
# Checkpoints that are sound: every tensor as a second reader, in Python, finds it.
# check: yes
. "${0%/*}/lib.sh"
case $PATH in "$R"/build-asan/*) check=$R/build-asan/tests/checkmodel ;; *) check=$R/build/tests/checkmodel ;; esac

listed() {      # DIR: do the two readers agree?
	"$check" list "$1" | sort >got && py "$T/badmodels.py" list "$1" | sort >want && [ -s want ] && cmp got want
}

for m in v3 v3-fp8-odd v3-plain v2-lite v2 llama qwen2 qwen3-moe-mixed qwen3-yarn; do
	ok "$m: names, dtypes, shapes and bytes of all tensors" listed "$G/$m"
	ok "$m: every tensor of the forward pass has its shape" "$check" open "$G/$m"
done
ok "tiny-r1: names, dtypes, shapes and bytes of all tensors" listed "$M"
ok "tiny-r1: every tensor of the forward pass has its shape" "$check" open "$M"
is "$(for m in "$M" "$G"/*/config.json; do "$check" open "${m%/config.json}"; done | sort -u | grep -cE '^[0-9a-f]{16}$')" \
    "$(set -- "$M" "$G"/*/config.json; echo $#)" "all models have ids of their own"

mkdir models
ok "checkpoints made from the golden ones" py "$T/badmodels.py" "$G" models
tab=$(printf '\t')
while IFS=$tab read -r name same says; do
	ok "$says: all tensors" listed "models/$name"
	ok "$says: opens" "$check" open "models/$name"
	[ "$same" = - ] || is "$("$check" open "models/$name")" "$("$check" open "$G/$same")" "$says: the id of $same"
done <models/good
done_testing
