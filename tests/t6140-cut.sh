#!/bin/sh
# only: asan leaks
# ds-cut: some of a stream.
. "${0%/*}/lib.sh"

# a run of two sequences, kept before layer 2's experts and behind the head
ds-tokenize -m "$M" -a "What is 3 + 4?" "Sort 3 1 2" | ds-embed -m "$M" >embed.dsf
ds-block -m "$M" -l 0-1 <embed.dsf >two.dsf
ds-attn -m "$M" -l 2 <two.dsf | ds-route -m "$M" -l 2 >routed.dsf
ds-expert -m "$M" -l 2 <routed.dsf | tee three.dsf | ds-block -m "$M" -l 3 | ds-head -m "$M" --tap head.norm >logits.dsf

ds-cut <logits.dsf >all.dsf
same logits.dsf all.dsf "without options everything passes byte for byte"
ok "what it writes is as the page says" sh -c "ds-cut --pos 2-4 --seq 1 <logits.dsf | $FRAME check"
frame tensors <logits.dsf >whole.txt
ds-cut --pos 2-4,7- <logits.dsf | frame tensors >cut.txt
awk '($5 >= 2 && $5 <= 4) || $5 >= 7 || $4 == "-"' whole.txt | grep -v ' row ' >expected.txt
grep -v ' row ' cut.txt >got.txt
same got.txt expected.txt "rows by position: the rows that are left are the same bits"
ds-cut --seq 1 <logits.dsf | frame tensors | grep -v ' row ' >got.txt
awk '$4 == 1' whole.txt | grep -v ' row ' >expected.txt
same got.txt expected.txt "rows by sequence"
is "$(ds-cut --pos 2-4 --seq 1 <logits.dsf | frame show | head -1 | grep -o 'spans.*' | cut -c1-60 | grep -c '\[1, 2, 3, 2\]')" 1 \
    "a span is cut, and its flag to sample stays with its last row"
is "$(ds-cut --tensor ids <logits.dsf | ds-dump | grep -c '^  ')" 4 "tensors by name: behind the head row stays too"
is "$(ds-cut --allow-none --seq 5 <logits.dsf | ds-dump)" "frame 1: end" "where no row is left there is no frame"
is "$( { ds-cut --at expert <routed.dsf; } | ds-dump | head -1 | cut -c1-23)" "frame 1: expert layer 2" "frames by stage"
is "$(ds-cut --allow-none --at attn <routed.dsf | ds-dump)" "frame 1: end" "and no others"
is "$(ds-cut --allow-none -l 0-1,3- <routed.dsf | ds-dump)" "frame 1: end" "frames by layer"
# none WHAT OPTIONS FILE: a selection of nothing says so; what it writes is a stream
none() {
	fails_with 1 "^ds-cut: nothing was selected: $1" "nothing is selected: $2" ds-cut $2 -i "$3" -o none.dsf
	ok "... and what is written is a stream" sh -c '$FRAME check <none.dsf'
	fails_with 0 "" "... which --allow-none allows" ds-cut $2 --allow-none -i "$3" -o none.dsf
}
frame end >end.dsf
none "--seq '5' selects nothing$" "--seq 5" logits.dsf
none "--pos '99' selects nothing$" "--pos 99" logits.dsf
none "--pos '99' selects nothing of what" "--seq 1 --pos 99" logits.dsf
none "--at 'attn' selects nothing$" "--at attn" routed.dsf
none "-l '0-1,3-' selects nothing$" "-l 0-1,3-" routed.dsf
none "--tensor 'attn.q,hh' selects nothing$" "--tensor attn.q,hh" routed.dsf
none "no frame with rows came" "--pos 0-" end.dsf
fails_with 0 "" "a stream without rows is a stream, where nothing is asked for" ds-cut -i end.dsf -o none.dsf
rows=$(frame tensors ids <logits.dsf | wc -l)
ds-cut -v --seq 1 --tensor logits -i logits.dsf -o none.dsf 2>said
like "$(cat said)" "^ds-cut: $(frame tensors logits <none.dsf | wc -l) of $rows rows, 2 of 8 tensors passed on$" "-v counts what is passed on"

ds-cut -l 2 --at expert <routed.dsf | ds-expert -m "$M" -l 2 >again.dsf
same again.dsf three.dsf "a piece of a run is replayed by one layer's experts"
ds-cut --as head <three.dsf | ds-head -m "$M" >lens.dsf
is "$(ds-dump <lens.dsf | sed -n 's/^  logits F32 \[\(.*\), 1024\] min.*/\1/p' | awk '{ n += $1 } END { print n }')" "$(grep -c ' ids ' whole.txt)" "the head reads any layer's stream"

{ frame fork 0 1 2; frame free 0; frame free 1; frame end; } >control.dsf
is "$(ds-cut --seq 1 <control.dsf | ds-dump)" "frame 1: free 1
frame 2: end" "control frames of other sequences are left out"
fails_with 2 "pos 'x'" "a wrong range" ds-cut --pos x
fails_with 2 "at 'attention'" "an unknown stage" ds-cut --at attention
fails_with 2 "as 'foot'" "an unknown stage to wait for" ds-cut --as foot
fails_with 2 "route:LAYER" "a stage that has layers, for frames that have none" ds-cut --as route -i lens.dsf -o /dev/null
fails_with 3 'without an end frame' "an empty input" ds-cut -i /dev/null -o /dev/null
ds-tokenize -m "$M" hi | ds-embed -m "$M" -o names.dsf
fails_with 1 "--tensor 'h,hh': no selected frame has a tensor named 'hh'" "a name that no tensor has, beside one that there is" \
    ds-cut --tensor h,hh -o got.dsf names.dsf
ok "... which --allow-none allows" ds-cut --allow-none --tensor h,hh -o got.dsf names.dsf
fails_with 1 "--tensor 'hh,h': no selected frame has a tensor named 'hh'" "the same for ds-dump" ds-dump --tensor hh,h -o got names.dsf
done_testing
