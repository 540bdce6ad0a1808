#!/bin/sh
# Words that a reader would have to decode, and lines of more than 100 columns: there are no new ones.
# check: yes
#
# tests/unclean lists the files that still have some, and how many.  It may only shrink: t0040-words.sh --write.
. "${0%/*}/lib.sh"

"$PY" "$T/words.py" count "$R" >now
if [ "${1-}" = --write ]; then
	cp now "$T/unclean"
	exit
fi
# over LIST LIST: the lines of the first whose number is higher than in the second
over() {
	awk 'NR == FNR { n[$1 " " $3] = $2; next } $2 > n[$1 " " $3] + 0' "$2" "$1"
}
for kind in words long; do
	grep "^$kind" now >"now.$kind"
	grep "^$kind" "$T/unclean" >"was.$kind"
	over "now.$kind" "was.$kind" >"new.$kind"
	over "was.$kind" "now.$kind" >"less.$kind"
done
[ ! -s new.words ]
report $? "no file has more banned words than tests/unclean says" new.words
[ -s new.words ] && "$PY" "$T/words.py" uses "$R" | grep -F "$(cut -d' ' -f3 new.words)" | sed 's/^/# /' >&2
[ ! -s new.long ]
report $? "no file has more lines of over 100 columns than tests/unclean says" new.long
cat less.words less.long >less
[ ! -s less ]
report $? "tests/unclean says no more than there is (t0040-words.sh --write)" less

# the check itself
mkdir man
printf '%s\n' 'A reader of which nobody knows.' >man/ds-x.1
printf 'int x;      /* what stands behind it */\nchar *s = "whoever comes";\n' >common.c
mkdir common
mv common.c common/x.c
echo 'struct piece {' >common/x.h
printf '%101s\n' x >long.txt
is "$("$PY" "$T/words.py" uses "$S" | cut -d: -f1-3 | sort | xargs)" \
    "common/x.c:2: whoever common/x.h:1: the name of a struct man/ds-x.1:1: nobody man/ds-x.1:1: of which" \
    "words are found in pages, messages and headers, not in comments of sources"
like "$("$PY" "$T/words.py" count "$S")" "^long 1 long.txt" "long lines are counted"
done_testing
