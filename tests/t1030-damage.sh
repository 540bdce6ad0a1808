#!/bin/sh
# A stream cut or changed at any byte: status 1 or 3, one line, no crash, nothing hung.
# also: asan
. "${0%/*}/lib.sh"
M=$G/v3
most=$(few 1 13) some=$(few 61 101)    # (nearly all bytes are ones of payloads: a CRC tells)
each=$(once && echo 1 || echo 13)       # (ds-dump takes each byte where sanitizers look on)

# refuses NAME STREAM STEP COMMAND...
refuses() {
	refuses_what=$1; shift
	ok "$refuses_what" py "$T/damage.py" "$@"
}

($FRAME prompt 7 0 1 5 6; $FRAME free 7; $FRAME end) >prompt.frames
ok "the stream is whole before" ds-dump -i prompt.frames
refuses "ds-dump refuses each damaged byte" prompt.frames $each ds-dump
for format in json ids; do
	refuses "ds-dump -f $format refuses damaged bytes" prompt.frames $some ds-dump -f $format
done

# on their way: the stage works on these rows
work() {
	"$@" -m "$M" -t 1
}
ds-embed -m "$M" <prompt.frames >attn.frames
work ds-attn -l 0 <attn.frames >route.frames
work ds-route -l 0 <route.frames >expert.frames
work ds-expert -l 0 <expert.frames | work ds-attn -l 1 | work ds-route -l 1 >moe.frames
work ds-expert -l 1 -e 0-7 <moe.frames >part0.frames
work ds-expert -l 1 -e 8-15,s <moe.frames >part1.frames
work ds-block <attn.frames >head.frames
work ds-head <head.frames >sample.frames
for f in attn route expert moe part0 part1 head sample; do
	ok "$f.frames are frames" py "$T/frame.py" check <$f.frames
done

refuses "ds-embed refuses damaged prompts" prompt.frames $most ds-embed -m "$M"
refuses "ds-attn refuses damaged rows" attn.frames $some ds-attn -m "$M" -l 0 -t 1
refuses "ds-route refuses damaged rows" moe.frames $some ds-route -m "$M" -l 1 -t 1
refuses "ds-expert refuses damaged rows" moe.frames $some ds-expert -m "$M" -l 1 -t 1
refuses "ds-expert refuses damaged sums" part0.frames $some ds-expert -m "$M" -l 1 -e 8-15,s -t 1
refuses "ds-join refuses damaged sums" part0.frames $some ds-join -m "$M" -i - -i part1.frames
refuses "ds-block refuses damaged rows" attn.frames $some ds-block -m "$M" -t 1
refuses "ds-head refuses damaged rows" head.frames $some ds-head -m "$M" -t 1
refuses "ds-sample refuses damaged logits" sample.frames $some ds-sample -m "$M" -g
refuses "ds-detokenize refuses damaged tokens" prompt.frames $some ds-detokenize -m "$R/examples/tiny-r1"
for stage in attn route expert block "head --ring"; do
	refuses "ds-${stage% *} passes nothing damaged on" prompt.frames $some ds-$stage -m "$M" -t 1
done
done_testing
