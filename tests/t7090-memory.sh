#!/bin/sh
# The memory of every stage is flat, however many sequences have come and gone.  tests/soak.py has the long version.
. "${0%/*}/lib.sh"
mkdir model
ln -s "$G"/v3/* "$M"/tokenizer*.json model/

# with sanitizers memory that was freed is kept for a while, so this is for the plain build
for kind in same failing; do
	ok "6000 sequences, each with an id of its own, leave nothing in any stage: $kind" \
	    sh -c '"$PY" "$T/soak.py" model 6000 "$1" 16 >"$1" 2>err || { cat "$1" err; false; }' - $kind
	is "$(cut -d' ' -f1,11 $kind | tr '\n' ' ')" "$(for p in embed attn route expert block head sample detokenize; do printf 'ds-%s flat ' $p; done)" \
	    "each was measured: $kind"
done
like "$(cat err)" "^ds-detokenize: 599 more sequences failed" "those that fail were among them"
done_testing
