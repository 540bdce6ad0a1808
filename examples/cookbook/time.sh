#!/bin/bash
# time.sh [TEXT]: where does the time go?
#
# First each step runs alone on a saved stream, with pv after it. This includes the start of the
# program. Then all steps run together with --trace, and write their times into the frames. On a
# terminal pv also shows live progress at any point:
#	ds-tokenize TEXT | ds-embed | ds-block -l 0-1 | pv -cN middle | ds-block -l 2-3 |
#		pv -cN end | ds-head | ds-score
. "$(dirname "$0")/begin"
command -v pv >/dev/null || refuse "no pv in PATH"
text=${1:-$(jq -r .reply "$here/../tiny-r1/eval.jsonl" | awk 'NR <= 60')}

ds-run -w -x stage -n 0 --keep "$d/run" "$text" >/dev/null
before=
for stream in "$d"/run/*.dsf; do
	name=$(basename "$stream" .dsf | cut -d- -f2-)          # attn-l3
	program=ds-${name%-l*}
	case $name in
	*-l*) set -- -l "${name##*-l}" ;;
	*) set -- ;;
	esac
	# pv -n prints seconds and bytes once, at the end of the stream
	case $program in ds-attn | ds-route | ds-expert | ds-head)
		"$program" "$@" <"$before" | pv -n -t -b -i 600 2>&1 >/dev/null |
			awk -v name="$program $*" '
				END { printf "%-14s %8.4f s, %9d bytes\n", name, $1, $2 }' ;;
	esac
	before=$stream
done

# steps N: the layers from N on, one process per step
steps() {
	if [ "$1" -lt "$layers" ]; then
		ds-attn -l "$1" | ds-route -l "$1" | ds-expert -l "$1" | steps $(($1 + 1))
	else
		ds-head
	fi
}
ds-embed --trace <"$d/run/000-tokenize.dsf" | steps 0 | ds-stat --trace
