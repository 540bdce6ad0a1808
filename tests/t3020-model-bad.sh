#!/bin/sh
# also: asan leaks
# Checkpoints that are broken in one way each: one line that says where and what, status 1.
. "${0%/*}/lib.sh"
case $PATH in "$R"/build-asan/bin:*) check=$R/build-asan/tests/checkmodel ;; *) check=$R/build/tests/checkmodel ;; esac

mkdir models
ok "checkpoints made from the golden ones" py "$T/badmodels.py" "$G" models
tab=$(printf '\t')
while IFS=$tab read -r name regex says; do
	fails_with 1 "^checkmodel: .*$regex" "refused: $says" "$check" open "models/$name"
done <models/bad
fails_with 1 "cannot open '.*/none/config.json': No such file" "refused: a folder that is not there" "$check" open "$S/none"
done_testing
