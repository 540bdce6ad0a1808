#!/bin/bash
# trace.sh [MODEL [TEXT]]: a hash of each tensor that a prompt sends from stage to stage.
#
# examples/tiny-r1/trace.txt is its output for tiny-r1. Every machine, split and build prints the
# same lines. If one differs, the first line of `diff` shows the first wrong step:
#	examples/trace.sh | diff examples/tiny-r1/trace.txt -
case ${1-} in
-h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
-*) echo "trace.sh: unknown option '$1': see trace.sh -h" >&2; exit 2 ;;
esac
set -eo pipefail
export DS_MODEL="${1:-${0%/*}/tiny-r1}"
text=${2:-What is 37 * 46?}
layers=$(sed -n 's/.*"num_hidden_layers": *\([0-9]*\).*/\1/p' "$DS_MODEL/config.json")
d=$(mktemp -d)
trap 'rm -r "$d"' EXIT

# one process per stage of each layer; tee saves its input in files named in pipeline order
line='ds-tokenize -c -a "$text" | tee "$d/000-embed.dsf" | ds-embed'
l=0
while [ "$l" -lt "$layers" ]; do
	n=$(printf %03d $((l + 1)))
	line="$line | tee '$d/$n-0attn.dsf' | ds-attn -l $l"
	line="$line | tee '$d/$n-1route.dsf' | ds-route -l $l"
	line="$line | tee '$d/$n-2expert.dsf' | ds-expert -l $l"
	l=$((l + 1))
done
eval "$line | tee '$d/998-head.dsf' | ds-head >'$d/999-sample.dsf'"
ds-hash "$d"
