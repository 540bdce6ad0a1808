#!/bin/sh
# Links between GPUs, by NCCL and by memory that two processes see: the same frames as through a pipe.
# only: asan kernels
. "${0%/*}/lib.sh"
. "$T/gpu.sh"
export DS_MODEL=$M
ds-tokenize -a "What is 37 * 46?" | ds-embed -B 5 -o in
ds-attn -l 0 -i in -o attn
ds-route -l 0 -i attn | ds-expert -l 0 | ds-block -l 1 -o want

n=0
for kind in nccl cuda; do
	# (the emulated NCCL does connect a GPU with itself)
	other=cuda
	case $kind$gpu in
	ncclcuda)
		[ "$gpus" -gt 1 ] || { skip "links by NCCL" "it does not connect a GPU with itself, and there is one here"; continue; }
		other=cuda:1 ;;
	esac
	for way in "@ -" "- @"; do
		set -- $way
		n=$((n + 1))
		a=$kind:$(echo "$1" | tr -d -)ipc://$S/link.$n b=$kind:$(echo "$2" | tr -d -)ipc://$S/link.$n
		ds-block -d cuda -l 0 -i in -o "$a" 2>err.a &
		limited ds-block -d $other -l 1 -i "$b" -o got 2>err.b
		report $? "$kind: $a: the second half of the layers reads the first" err.a err.b
		wait $!
		report $? "... which ends as it should" err.a
		same want got "... and they are the frames of a pipe"
	done
	ds-attn -d cuda -l 0 -i in -o "$kind:@ipc://$S/there" --tap attn.q 2>err.a &
	limited ds-relay -d $other -i "$kind:ipc://$S/there" -o got 2>err.b
	report $? "$kind: ds-relay takes a stream, taps and all, to a file" err.a err.b
	wait $!
	ds-attn -l 0 -i in --tap attn.q -o tapped
	same tapped got "... whole, with its check sums"
	ds-relay -i tapped -o "$kind:@ipc://$S/plain" 2>err.a &
	limited ds-relay -i "$kind:ipc://$S/plain" -o got 2>err.b
	report $? "$kind: what lies in the host's memory needs no GPU" err.a err.b
	wait $!
	same tapped got "... and travels as ever"

	# --- refusals ---
	(ds-attn -d cuda -l 0 -i in -o "$kind:@ipc://$S/cpu" 2>err.a; echo $? >status) &
	fails_with 2 "ipc://$S/cpu: its frames are in GPU memory: give -d cuda" "$kind: a program without a GPU cannot read tensors from one" \
	    ds-route -l 0 -i "$kind:ipc://$S/cpu"
	wait $!
	is "$(cat status)" 3 "... and the one before it notices"
	like "$(cat err.a)" "^ds-attn: $kind:@ipc://.*(has exited|has gone)" "... and says so"
	(ds-attn -d cuda -l 0 -i in -o "$kind:@ipc://$S/kill" 2>err.a; echo $? >status) &
	ds-relay -d $other -i "$kind:ipc://$S/kill" -o /dev/full 2>err.b
	is "$? $(grep -c 'No space left' err.b)" "3 1" "$kind: a full disk ends the reader"
	wait $!
	is "$(cat status)" 3 "... and the writer"
	fails_with 2 "endpoint '$kind:x': after $kind: give the address of a ZeroMQ link" "$kind: needs an address" ds-relay -i "$kind:x"
done
fails_with 2 "after cuda: give the address of a ZeroMQ link, ipc://PATH" "cuda: does not leave the host" \
    ds-relay -i cuda:tcp://127.0.0.1:7777

# --- what comes from elsewhere ---
# forged KEYS DESC MESSAGE: a frame with such a list is refused
forged() {
	f_keys=$1 f_desc=$2 f_message=$3
	eval "frame set $f_keys" <in >forged
	ds-relay -i forged -o "ipc://$S/bad" 2>/dev/null &
	fails_with 1 "$f_message" "$f_desc" ds-relay -d cuda -i "nccl:@ipc://$S/bad" -o got
	kill $! 2>/dev/null
	wait $! 2>/dev/null
}
forged "device 7" "a list that is none is refused" "'device' is not an array"
forged "device '[]' nccl 3" "an id that is none is refused" "'nccl' is not 128 bytes"
done_testing
