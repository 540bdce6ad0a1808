#!/bin/sh
# Programs on a GPU write large frames while they read and compute the next: the same bytes in the same order, and what fails is
# said as ever.
# also: asan leaks
. "${0%/*}/lib.sh"
. "$T/gpu.sh"
export DS_MODEL=$G/v3
D=$(jq .hidden_size "$DS_MODEL/config.json") layers=$(jq .num_hidden_layers "$DS_MODEL/config.json")

# logits of 70 rows are more than 64 KiB, of 2 less
words=
for i in 0 1 2 3 4 5 6; do
	words="$words 7:$((i * 72))+70/2 7:$((i * 72 + 70))+2/2 free=9"
done
py "$T/rows.py" d=$D at=head layer=$layers $words end >in
ds-head -i in -o want
ok "ds-head runs" ds-head -d cuda -i in -o got
same want got "frames large and small, in order, are the CPU's"
ok "a reader that takes its time" pipe 'ds-head -d cuda <in | (sleep 0.5; head -c 100000; sleep 0.3; cat) >got'
same want got "gets all of it"
ok "two outputs" pipe 'ds-head -d cuda -i in -o - -o other | cat >got'
same want got "the first has all"
same want other "so has the second"
ds-head -d cuda -i in -o "@ipc://$S/link" 2>err.a &
ok "a reader by ZeroMQ" limited ds-relay -i "ipc://$S/link" -o got
wait $!
report $? "whose writer ends as it should" err.a
same want got "gets the same"
ds-head -d cuda -i "@ipc://$S/there" -o "@ipc://$S/back" 2>err.a &
ds-relay -i in -o "ipc://$S/there" 2>err.b &
ok "both ends by ZeroMQ" limited ds-relay -i "ipc://$S/back" -o got
wait
same want got "carry the same"

# a trace: the stage is done when its tensors are here, not when they are written
py "$T/rows.py" d=$D at=head layer=$layers 7:0+70/2 7:70+70/2 7:140+70/2 end | frame set trace '[]' >traced
pipe 'ds-head -d cuda <traced | (sleep 1; cat) >got' 2>err || report 1 "with a trace" err
ok "a frame's time does not count the one before, which is still being written" py -c '
import frame, sys
all = [e for f in frame.read_frames(open("got", "rb")) for e in f.header.get("trace", [])]
if len(all) != 3 or any(not 0 < e[4] - e[3] < 10**9 for e in all):
    sys.exit(str(all))'

# --- failures ---
full='^ds-head: /dev/full: cannot write: No space left on device$'
fails_with 3 "$full" "a full disk is reported" ds-head -d cuda -i in -o /dev/full
mkfifo from
exec 5<>from    # whoever reads it never sees its end
head -c 60000 in >&5
fails_with 3 "$full" "though nothing more comes in" ds-head -d cuda -i from -o /dev/full
exec 5>&-
ds-head -d cuda -i in 2>err | head -c 100000 >/dev/null
is "$(cat err)" "" "a reader that goes ends it without a word"
head -c $(($(wc -c <in) / 2)) in >half
ds-head -i half -o want.half 2>err.want
ds-head -d cuda -i half -o got 2>err.got
is "$? $(cat err.got)" "3 $(cat err.want)" "an input that breaks off is reported"
same want.half got "behind what was computed"
py "$T/rows.py" d=$D at=head layer=1 7:0+70/2 >wrong
py "$T/rows.py" d=$D at=head layer=$layers 7:0+70/2 7:70+70/2 | cat - wrong >bad
ds-head -i bad -o want.bad 2>err.want
ds-head -d cuda -i bad -o got 2>err.got
is "$? $(cat err.got)" "1 $(cat err.want)" "a frame that is refused ends it with the line of the CPU"
same want.bad got "its error frame stands behind what was computed"
done_testing
