#!/bin/sh
# only: asan leaks
# GGUF files that are damaged in one way each: one line that says where and what, status 1.
. "${0%/*}/lib.sh"
case $PATH in "$R"/build-asan/*) b=$R/build-asan ;; *) b=$R/build ;; esac
py "$T/gguf_bad.py" "$G" "$b/tests/checkmodel" open >points
tab=$(printf '\t')
while IFS=$tab read -r status says why; do
	echo "$why" >why
	report "$status" "$says" why
done <points
ok "all kinds of damage were tried" test "$(wc -l <points)" -ge 80
done_testing
