# Sourced first by every script here, instead of ../lib.sh, which it sources:  . "${0%/*}/net.sh"
#
# The script runs in namespaces of its own, of processes, mounts and networks.  However it ends, the kernel removes all
# of them, with the processes in them; two scripts at a time do not see each other, so their addresses may be the same.
# Each host is a network namespace whose name is its address, so that `ip netns exec` starts a program there as ssh would.
if [ "${DS_NET-}" != inside ]; then
	for tool in ip unshare; do
		command -v $tool >/dev/null || { echo "1..0 # SKIP no $tool"; exit 0; }
	done
	why=$(unshare -mnp --fork --mount-proc ip link set lo up 2>&1) || {
		[ "$(id -u)" = 0 ] || why="only root can make namespaces"
		echo "1..0 # SKIP no network namespaces here: $(printf '%s' "$why" | tr '\n' ' ')"
		exit 0
	}
	DS_NET=inside exec unshare -mnp --fork --kill-child --mount-proc sh "$0" "$@"
fi
unset DS_NET
# SERVED: `py` has a server in these namespaces; that of tests/run cannot reach a host
[ -z "${SERVED-}" ] || unset DS_PYSERVER
. "${0%/*}/../lib.sh"
[ "${SERVED-}" ] || PYTHONPATH=$T:$T/net
NET=10.77.0 CONTROL=10.78.0

{
	mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip netns add wire &&
	    printf 'link add bridge type bridge\nlink set bridge up\n' | ip -n wire -batch -
} 2>why || skip_all "no network of namespaces here: $(tr '\n' ' ' <why)"

# host N...: hosts $NET.N, joined by cables to one switch; their ends of it are called cable in the host, N in the switch
host() {
	printf "netns add $NET.%s\n" "$@" | ip -batch - || exit 2
	for n; do
		echo "link add $n type veth peer name cable netns $NET.$n"
		printf "link set $n %s\n" "master bridge" up
	done | ip -n wire -batch - || exit 2
	for n; do
		printf '%s\n' "link set lo up" "addr add $NET.$n/24 dev cable" "link set cable up" |
		    ip -n $NET.$n -batch - || exit 2
	done
}

# control N...: a second network, $CONTROL.N, for hosts that are there; their ends of its cables are called control
control() {
	ip -n wire link show control >/dev/null 2>&1 ||
	    printf 'link %s\n' "add control type bridge" "set control up" |
		ip -n wire -batch - || exit 2
	for n; do
		echo "link add c$n type veth peer name control netns $NET.$n"
		printf "link set c$n %s\n" "master control" up
	done | ip -n wire -batch - || exit 2
	for n; do
		printf '%s\n' "addr add $CONTROL.$n/24 dev control" "link set control up" |
		    ip -n $NET.$n -batch - || exit 2
	done
}

# shells N...: these hosts take commands over the network, from rsh.py
shells() {
	"$PY" -S "$T/net/rsh.py" --serve $(printf "$NET.%s " "$@") || exit 2
}

# cut_plan ARG...: the plan that cut.py makes, which needs none of our namespaces
cut_plan() {
	PYTHONPATH=$T py "$T/net/cut.py" "$@"
}

# listens N PORT: somebody waits for connections there
listens() {
	on "$1" grep -qi ": [0-9A-F]*:$(printf %04x "$2") 0*:0000 0A" /proc/net/tcp /proc/net/tcp6
}

# on N COMMAND...: run it on host N
on() {
	on_host=$NET.$1; shift
	ip netns exec $on_host "$@"
}

# nobody_left: no program of dspipe runs any more, on any host; says which do
nobody_left() {
	# (a zombie has no exe, and a program that ends meanwhile no command line)
	ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n 's,.* \(/proc/[0-9]*\)/exe -> .*/ds-.*,\1,p' |
	    while read -r left; do
		{ tr '\0' ' ' <$left/cmdline; } 2>/dev/null; echo
	done | sed -n 's/^./left behind: &/p' | grep . && return 1
	return 0
}
