#!/bin/sh
# The frames of every stage are, byte for byte, those that tests/golden/frames keeps: from version
# 0.1.0, or from the version that first had the family.
# check: yes
. "${0%/*}/lib.sh"

F=$G/frames
mkdir new
ok "every stage of every model runs" "$F/make" "$S/new"
is "$(awk '{ print $2 }' new/SHA256)" "$(awk '{ print $2 }' "$F/SHA256")" "they made the streams that are kept, and no others"

# differing FOLDER: the streams in it that differ, in the pipeline's order
differing() {
	grep -h " $1" "$F/SHA256" new/SHA256 | sort | uniq -u | awk '{ print $2 }' >changed
	awk 'NR == FNR { changed[$1] = 1; next } $2 in changed { print $2 }' changed "$F/SHA256"
}
is "$(differing '[a-z.]*$')" "" "the prompts are the same"
for case in $(sed -n 's:.* \(.*\)/.*:\1:p' "$F/SHA256" | uniq); do
	differing "$case/" >list
	first=$(head -n 1 list)
	{
		echo "first of $(wc -l <list) that differ: $first (a stream is STAGE.LAYER, with --tap all where it ends in .taps)"
		# is one kept whole, to look at?
		while read -r f; do
			[ ! -e "$F/kept/$f" ] || { echo "ds-diff of $f:"; ds-diff "$F/kept/$f" "new/$f"; break; }
		done <list
	} >why 2>&1
	[ -z "$first" ]
	report $? "$case: $(grep -c " $case/" "$F/SHA256") streams have the same bytes${first:+, but $first}" why
done
n=0
for f in "$F"/kept/*/*; do
	n=$((n + 1))
	(cd "$F/kept" && grep " ${f#"$F"/kept/}\$" ../SHA256 | sha256sum -c --quiet) >>bad 2>&1 || echo "$f" >>bad
done
is "$n $(cat bad)" "19 " "the streams kept whole are those of the table"
done_testing
