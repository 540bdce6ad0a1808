#!/bin/sh
# The memory of every stage is flat, however many sequences have come and gone.  tests/soak.py has the long version.
. "${0%/*}/lib.sh"
mkdir model
ln -s "$G"/v3/* "$M"/tokenizer*.json model/

# with sanitizers memory that was freed is kept for a while, so this is for the plain build
# (nine of ten sequences are sound, so those need no run of their own)
ok "6000 sequences, each with an id of its own, leave nothing in any stage: most sound, some failing" \
    sh -c '"$PY" "$T/soak.py" model 6000 failing 16 >sizes 2>err || { cat sizes err; false; }'
programs=$(for p in embed attn route expert block head sample; do echo "ds-$p flat 0"; done)
is "$(awk '{ print $1, $11, $13 + 0 }' sizes)" "$programs
ds-detokenize flat 1" "each was measured, and only the program that writes the text has status 1"
like "$(cat err)" "^ds-detokenize: 599 more sequences failed" "those that fail were among them"
done_testing
