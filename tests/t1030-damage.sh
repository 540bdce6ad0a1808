#!/bin/sh
# A stream cut or changed at any byte: status 1 or 3, one line, no crash, nothing hung.
# also: asan
. "${0%/*}/lib.sh"

($FRAME prompt 7 0 1 5 6 7; $FRAME free 7; $FRAME end) >small.frames
ok "the stream is whole before" ds-dump -i small.frames
for format in text json ids; do
	ok "ds-dump -f $format refuses each damaged byte" py "$T/damage.py" small.frames ds-dump -f "$format"
done
done_testing
