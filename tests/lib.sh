# Sourced first by every test script:  . "${0%/*}/lib.sh"
#
# The script then is in a scratch directory of its own, removed at exit, and has
#	R T M G  the repository, tests/, the model tiny-r1, tests/golden (absolute)
#	S        the scratch directory
#	LIMIT    seconds of processor time that a command may use, or wait for without using any (default 60): see tests/limit.c
#	PY FRAME a Python with msgpack and numpy; "$PY tests/frame.py"
# DS_TEST_KEEP=1 keeps the scratch directory, DS_TEST_POINT=N ends the script after that point.
#
# Test points have sentences as names.  The last line of a script is done_testing.
set -u
T=$(cd "${0%/*}" && pwd) || exit 2
T=${T%/net} R=${T%/tests*}
M=$R/examples/tiny-r1
G=$T/golden
: "${LIMIT:=60}" "${DS_LIMITER:=$R/build/tests/limit}"
[ -x "$DS_LIMITER" ] || { echo "lib.sh: no '$DS_LIMITER': run make checks" >&2; exit 2; }
case :$PATH: in *:"$R"/bin:* | *:"$R"/build-asan/*) ;; *) PATH=$R/bin:$PATH ;; esac
unset DS_TIMINGS DS_MODEL DS_CUDA DS_DEVICE DS_KEY DS_PEERS DS_PRECISION DS_CACHE_TYPE DS_PYTHON DS_RSH DS_VERBOSE DS_WAIT PYTHONUNBUFFERED
LC_ALL=C.UTF-8 PYTHONPATH=$T PYTHONDONTWRITEBYTECODE=1
S=$(mktemp -d "${TMPDIR:-/tmp}/ds-test.XXXXXX") || exit 2
PYCLIENT= PYSTOP= PORTS=${TMPDIR:-/tmp}/ds-test-ports.$(id -u)
cleaned_up() {
	cd /
	[ -z "$PYSTOP" ] || "$PYCLIENT" --stop
	if [ "${DS_TEST_KEEP-}" ]; then
		echo "# kept: $S" >&2
	else
		rm -rf "$S"
	fi
}
trap cleaned_up EXIT
trap 'exit 130' HUP INT TERM
export DS_LIMITER R T M G S LIMIT PATH LC_ALL PYTHONPATH PYTHONDONTWRITEBYTECODE
if [ "${DS_PYSERVER-}" ] && [ "${DS_PYSERVER_PATH-}" = "$T" ]; then        # that of tests/run
	PY=$DS_PYSERVER_PYTHON PYCLIENT=$R/build/tests/py
else
	. "$T/pyserver.sh"
	python_found
	if [ -x "$R/build/tests/py" ] && grep -Eq '(py|frame|compared|ports) |t6000|\$FRAME' "$0"; then
		PYCLIENT=$R/build/tests/py PYSTOP=1
		python_served "$S"
	fi
fi
FRAME="${PYCLIENT:-$PY} $T/frame.py"
export PY FRAME
cd "$S" || exit 2

tests=0 failures=0
KNOWN=" "       # what `limited` has found to be programs: to ask the shell costs a process

# report STATUS DESC [FILE...]: one line of TAP; a failure shows the files, on standard error, which prove lets through
report() {
	tests=$((tests + 1))
	if [ "$1" -eq 0 ]; then
		printf 'ok %d - %s\n' $tests "$2"
		[ "${DS_TEST_POINT-}" != $tests ] || done_testing
		return 0
	fi
	failures=$((failures + 1))
	printf 'not ok %d - %s\n' $tests "$2"
	printf '# %s: not ok %d - %s\n' "${0##*/}" $tests "$2" >&2
	shift 2
	for file; do
		head -c 4000 "$file" | LC_ALL=C tr -c '\n -~' '?' | sed 's/^/#   /' >&2
	done
	[ "${DS_TEST_POINT-}" != $tests ] || done_testing
	return 1
}

# few N M: N, or M with sanitizers, which make each of many repetitions of one code path expensive
few() {
	case $(command -v ds-embed) in
	*/build-asan/*) echo "$2" ;;
	*) echo "$1" ;;
	esac
}

# sets [N]: the instruction sets of this architecture's kernels, or the first N; ref is the first
sets() {
	DS_KERNELS=none ds-bench --shape v3 2>&1 | sed 's/.*: give //; s/,//g; s/ or / /' |
	    cut -d' ' -f"1-${1-}"
}

# once: is this the run for points that need no second one?  If a script has two, that is the one
# with sanitizers.
once() {
	[ -z "${DS_TEST_TWICE-}" ]
}

# limited COMMAND...: run it, ended at LIMIT with all that it started.
# (a shell function limits itself, or runs within the script's own limit: see tests/run)
limited() {
	case $KNOWN in
	*" $1 "*) ;;
	*)
		case $(command -v "$1") in
		/*) KNOWN="$KNOWN$1 " ;;
		*) "$@"; return ;;
		esac ;;
	esac
	"$DS_LIMITER" "$LIMIT" "$@"
}

# pipe 'SHELL LINE' [ARG...]: a pipeline of which every part must succeed (bash, pipefail)
pipe() {
	"$DS_LIMITER" "$LIMIT" bash -o pipefail -c "$@"
}

py() {
	"$DS_LIMITER" "$LIMIT" "${PYCLIENT:-$PY}" "$@"
}

frame() {
	py "$T/frame.py" "$@"
}

# ok DESC COMMAND...: it exits 0
ok() {
	ok_desc=$1; shift
	limited "$@" >"$S/.out" 2>"$S/.err"
	ok_status=$?
	[ $ok_status -eq 0 ] || echo "exit status $ok_status from: $*" >>"$S/.err"
	report $ok_status "$ok_desc" "$S/.out" "$S/.err"
}

# awaited COMMAND...: poll until it succeeds, at most AWAIT seconds (60: other work may load the machine)
awaited() {
	awaited_left=$((${AWAIT:-60} * 20))
	until "$@" >/dev/null 2>&1; do
		[ $((awaited_left -= 1)) -gt 0 ] || { echo "# awaited in vain: $*" >&2; return 1; }
		sleep 0.05
	done
}

# compared NAME: the table of comparisons in the file `list`, as tests/bits.py makes them, a point a line
compared() {
	py "$T/bits.py" compare list >compared
	while IFS=$(printf '\t') read -r status what why; do
		echo "$why" >why
		report "$status" "$what" why
	done <compared
	is "$(wc -l <compared)" "$(wc -l <list)" "$1: all was compared"
}

# is ACTUAL EXPECTED DESC: the same text
is() {
	printf 'got:      %s\nexpected: %s\n' "$1" "$2" >"$S/.err"
	[ "$1" = "$2" ]
	report $? "$3" "$S/.err"
}

ESCAPED='\\[][.*?+(){}|^$]'     # a sign that is one only without it

# matched LINE REGEX: does it, as grep -E has it?  0 is certain, without a process, as a pattern of
# the shell tells it.  1 if not, or if the regex has more than .* and signs that are escaped.
matched() {
	case $2 in
	^*) m_glob= m_rest=${2#^} ;;
	*) m_glob=* m_rest=$2 ;;
	esac
	case $m_rest in
	*\$) m_rest=${m_rest%\$} m_last= ;;
	*) m_last=* ;;
	esac
	while :; do
		case $m_rest in
		*.\**) m_part=${m_rest%%.\**} m_rest=${m_rest#*.\*} m_more=1 ;;
		*) m_part=$m_rest m_more= ;;
		esac
		m_signs=$m_part
		while case $m_signs in *$ESCAPED*) ;; *) false ;; esac; do
			m_signs=${m_signs%%$ESCAPED*}${m_signs#*$ESCAPED}
		done
		case $m_signs in *[][*?+\(\){}\|^\$\\]*) return 1 ;; esac
		m_glob=$m_glob$m_part
		[ "$m_more" ] || break
		m_glob=$m_glob*
	done
	m_glob=$m_glob$m_last
	case $1 in $m_glob) ;; *) return 1 ;; esac
}

# like ACTUAL REGEX DESC: some line of it matches (grep -E)
like() {
	printf 'got:       %s\nlooked for: %s\n' "$1" "$2" >"$S/.err"
	case $1 in
	*"
"*) false ;;
	*) matched "$1" "$2" ;;
	esac || grep -Eq -e "$2" <<X
$1
X
	report $? "$3" "$S/.err"
}

# same FILE FILE DESC: the same bytes
same() {
	cmp "$1" "$2" >"$S/.err" 2>&1
	report $? "$3" "$S/.err"
}

# one_line FILE: it has as many (without a process, as many scripts ask it)
one_line() {
	{ IFS= read -r line_read && ! IFS= read -r line_second; } <"$1"
}

# fails_with STATUS REGEX DESC COMMAND...: it exits with STATUS, and what it says on
# standard error is one line that matches (grep -E; '' for: it says nothing)
fails_with() {
	fw_want=$1 fw_regex=$2 fw_desc=$3; shift 3
	limited "$@" >"$S/.out" 2>"$S/.err"
	fw_status=$?
	if [ $fw_status -eq "$fw_want" ] &&
	    if [ -z "$fw_regex" ]; then [ ! -s "$S/.err" ]; else
		one_line "$S/.err" && { matched "$line_read" "$fw_regex" ||
		    grep -Eq -e "$fw_regex" "$S/.err"; }; fi; then
		report 0 "$fw_desc"
	else
		echo "exit status $fw_status, expected $fw_want, and one line like: $fw_regex" >"$S/.why"
		[ $fw_status -ne 124 ] || echo "it was ended at its limit of $LIMIT s" >>"$S/.why"
		report 1 "$fw_desc" "$S/.why" "$S/.err"
	fi
}

# ports N: N consecutive ports that this script alone uses (tests/ports.py)
ports() {
	py "$T/ports.py" "$PORTS" $$ "$1"
}

# edit FROM TO PYTHON: the first frame f changed by a line of Python
edit() {
	py -c "
import sys, frame, numpy
fs = list(frame.read_frames(open('$1', 'rb')))
f = fs[0]
t = {k: v.copy() for k, v in f.tensors.items()}
$3
f.tensors = t
open('$2', 'wb').write(f.bytes() + b''.join(x.raw for x in fs[1:]))"
}

# skip DESC REASON: a point that cannot be tested here
skip() {
	tests=$((tests + 1))
	printf 'ok %d - %s # SKIP %s\n' $tests "$1" "$2"
}

# skip_all REASON: nothing of the script can be
skip_all() {
	printf '1..0 # SKIP %s\n' "$1"
	exit 0
}

done_testing() {
	printf '1..%d\n' $tests
	[ $failures -eq 0 ] || exit 1
	exit 0
}
