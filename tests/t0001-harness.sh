#!/bin/sh
# The harness itself: what it is to catch is caught.
# check: yes
. "${0%/*}/lib.sh"

# inner NAME <<SCRIPT: what a script with these lines prints, the harness sourced
inner() {
	{ printf '. "%s/lib.sh"\n' "$T"; cat; echo done_testing; } >"$S/$1"
	mkdir -p "$S/in"
	(cd "$S/in" && sh "$S/$1" 2>&1)
}

# (scripts look for lib.sh's neighbours beside themselves)
ln -s "$T/lib.sh" "$T/frame.py" "$T/pyserver.sh" "$T/pyserver.py" .

out=$(inner pass <<'X'
ok "true is true" true
is a a "a is a"
like "some words" "^some" "a word is there"
fails_with 3 "^ls: no" "a failure is as expected" sh -c 'echo ls: no >&2; exit 3'
X
)
is "$(printf '%s\n' "$out" | grep -c '^ok')" 4 "points that hold are ok"
like "$out" '^1\.\.4$' "the plan stands at the end"

out=$(LIMIT=1 inner fail <<'X'
ok "false" false
is a b "a is b"
like "some words" "^words" "no such line"
fails_with 1 "no" "another status" sh -c 'echo no >&2; exit 3'
fails_with 3 "yes" "another message" sh -c 'echo no >&2; exit 3'
fails_with 3 "no" "two lines" sh -c 'echo no >&2; echo no >&2; exit 3'
fails_with 3 "" "a line where none should be" sh -c 'echo no >&2; exit 3'
fails_with 3 "no" "silence" sh -c 'exit 3'
ok "hangs" sleep 30
fails_with 1 "x" "hangs too" sleep 30
ok "a broken pipeline" pipe 'false | true'
X
)
status=$?
is "$(printf '%s\n' "$out" | grep -c '^not ok')" 11 "points that do not hold are not ok"
is "$status" 1 "a script with a failure exits 1"

out=$(inner where <<'X'
echo "in $PWD"
ok "the directory is there" test -d "$PWD"
X
)
like "$out" '^ok 1' "a script is in a scratch directory of its own"
ok "it is gone after the script" test ! -e "$(printf '%s\n' "$out" | sed -n 's/^in //p')"
ok "the Python has msgpack and numpy" py -c 'import msgpack, numpy'
parent="import os; print(os.getppid())"
server=$(py -c "$parent")
if [ -S "${DS_PYSERVER-}" ]; then       # (the path of a socket cannot be long)
	"$PY" -c 'import os, socket
socket.socket(socket.AF_UNIX).connect(os.environ["DS_PYSERVER"])'
	is "$(py -c "$parent")" "$server" \
	    "a client that ends before it asks leaves the server to others"
fi

# a sanitizer's report counts even where the exit status is lost
mkdir -p tree/tests tree/bin
cp "$T/run" "$T/lib.sh" "$T/pyserver.sh" tree/tests
printf '# also: %s\n' asan >tree/tests/t0-report.sh
cat >>tree/tests/t0-report.sh <<'X'
. "${0%/*}/lib.sh"
ok "a point" true
echo "ERROR: AddressSanitizer" >"${ASAN_OPTIONS##*log_path=}.1"
done_testing
X
out=$(tree/tests/run --one tests/t0-report.sh 2>&1)
is $? 99 "a report in a pipeline fails the script"
like "$out" "^#   ERROR: AddressSanitizer" "the report is shown"
like "$(tree/tests/run t0-report 2>&1)" "^tests/run: without sanitizers" \
    "a missing build with sanitizers is reported"
ok "... and nothing runs with its programs" \
    sh -c '! tree/tests/run t0-report 2>&1 | grep asan:tests/t0-report'
mkdir -p tree/build-asan/bin
is "$(tree/tests/run t0-report 2>&1 | tail -1)" "Result: FAIL" "the closing summary says so"
ok "a script that asks for it runs with the sanitized programs too" \
    sh -c 'tree/tests/run t0-report 2>/dev/null | grep -q asan:tests/t0-report'
printf '# only: %s\n. "${0%%/*}/lib.sh"\ndone_testing\n' asan >tree/tests/t0-once.sh
is "$(tree/tests/run t0-once 2>&1 | grep -Eo '[a-z:]*tests/t0-once')" "asan:tests/t0-once" \
    "one that asks for these alone runs once"
fails_with 2 "no test matches" "a name that matches no test is an error" tree/tests/run nothing-such
rmdir tree/build-asan/bin
is "$(tree/tests/run t0-once 2>/dev/null | grep -Eo '[a-z:]*tests/t0-once')" "tests/t0-once" \
    "without that build it runs with the others"
done_testing
