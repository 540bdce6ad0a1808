#!/bin/sh
# Processes that are killed, hosts that go, and networks that fail: ds-run --plan gives the same answer, or says what is wrong.
# first: yes
. "${0%/*}/net.sh"

# Each fault happens to hosts of its own, so that several can at the same time; here is what one does.
if [ "${1-}" = fault ]; then
	fault=$2 kind=$3 timeout=$4 seed=$5 model=$6 want=$6/want
	case $kind in *-2-*) hosts="1 2" ;; *) hosts="1 2 3" ;; esac
	all=$hosts
	case $kind in *-spare*) all="$all 4" ;; esac
	case $kind in *-spares*) all="$all 5" ;; esac
	host $all 9
	case $kind in *-two) control $all 9; RSH_NET=$CONTROL; export RSH_NET ;; esac
	shells $all
	cut_plan "$model" "${kind%%-*}" ${hosts##* } --unsafe --timeout "$timeout" |
	    sed 's/ -n 6 / /; s/ -o {run}\/HEAD//' >plan
	case $kind in
	*-spare*) echo "host h4 10.77.0.4 spare" >>plan ;;
	*-proxy) sed -i 's/-o tcp:..{h2}:5611/-o tcp:\/\/10.77.0.9:5611/' plan ;;
	esac
	case $kind in *-spares*) echo "host h5 10.77.0.5 spare" >>plan ;; esac
	[ "$fault" != slow ] || on 2 tc qdisc add dev cable root tbf rate 10mbit burst 16kb latency 100ms
	on 9 timeout 150 "$PY" "$T/net/faults.py" "$fault" "$seed" "$model" "$want" plan "$timeout"
	exit
fi

seed=${DS_SEED:-$(date +%s)}
echo "# seed $seed (DS_SEED=$seed does the same again)"
# a small model, to which no token is the last; it has the first tokens of tiny-r1
mkdir model
cp "$G/v3/model.safetensors" "$M"/tokenizer*.json model
sed 's/"eos_token_id": 1/"eos_token_id": null/' "$G/v3/config.json" >model/config.json
ok "one process gives the answer" py "$T/net/faults.py" want model model/want

# fault, plan and how it is joined, --timeout, what comes of it, and in words; the slow ones first
cat >faults <<'X'
26 layers 5 | the same text | a process of a line over three hosts is killed, 26 times, each in turn
25 side 5 | the same text | one of a line with experts side by side, 25 times
cut layers 3 | exit 3, one error | the link of a host is cut, and there is no spare
stays_half_open layers-proxy 3 | exit 3, one error | a link swallows everything from now on
stays_reset layers-proxy 3 | exit 3, one error | each connection is reset from now on
cut_for_long layers 3 | the same text | the link of a host is cut for longer than the timeout
long_stall layers-proxy 3 | the same text | a link stalls for longer than the timeout
cut_early@2 layers-spare-two 2 | the same text, 2 by 4 | a host whose data network is down from the start, while its agent answers by another
cut_data@2 layers-two 2 | exit 3, one error | the data network of a host is down, and there is no spare
twice@2 layers-spares-two 2 | the same text, 2 by 4, 4 by 5 | the data network of a host goes down, and then that of the spare
cut_data@1 layers-spare-two 2 | the same text, 1 by 4 | the data network of the first host of a line
cut_data@3 layers-spare-two 2 | the same text, 3 by 4 | that of the last
cut_data@2 side-2-spare-two 2 | the same text, 2 by 4 | that of a host whose neighbours are all on one other
cut_data@1 layers-2-spare-two 2 | the same text, 1 by 4 | that of the first of two
deaf@2 layers-spare-two 2 | the same text, 2 by 4 | a host to which nothing comes any more
mute@2 layers-spare-two 2 | the same text, 2 by 4 | a host from which nothing comes any more
mute@1 layers-2-spare-two 2 | the same text, 1 by 4 | the first of two, likewise
freeze layers-spare 3 | the same text | a host stands still, and there is a spare
cut layers-spare 3 | the same text | the link of a host is cut, and there is a spare
half_open layers-proxy 3 | the same text | a connection swallows everything
reset layers-proxy 3 | the same text | a connection is reset, three times
late layers-proxy 5 | the same text | a link that is late by 50 ms
nothing layers 5 | the same text | nothing happens
blink layers 5 | the same text | the link of a host is cut for a moment
slow layers 5 | the same text | a link of 10 Mbit/s
stall layers-proxy 5 | the same text | a link stalls for a moment
leave layers 2 | killed | ds-run is killed, and nobody is left
X
sed 's, *|.*,,' faults | xargs -P 4 -L 1 sh -c 'sh "$0" fault $3 $4 $5 "$1" "$2/model" >"$2/$3.$4" 2>"$2/$3.$4.said"' \
    "$T/net/${0##*/}" "$seed" "$S"
while IFS='|' read -r what want desc; do
	set -- $what
	report "$([ "$(cat "$1.$2")" = "$(echo $want)" ]; echo $?)" "$(echo $desc): $(echo $want)" "$1.$2" "$1.$2.said"
	sed -n "s/^$1: /# $1 $2: /p; s/^.*kills in/# &/p" "$1.$2.said"
done <faults
done_testing
