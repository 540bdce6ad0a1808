. "${0%/*}/net.sh"
host 1 2 3 4 9; shells
export DS_MODEL=$M
py "$T/net/cut.py" "$M" layers 3 --unsafe --timeout 1 >plan; sed -i 's/ -n 12 / /; s/ -o {run}\/HEAD//' plan
sed 's/-o tcp:..{h2}:5611/-o tcp:\/\/10.77.0.9:5611/' plan >plan.proxy
{ cat plan; echo "host h4 10.77.0.4 spare"; } >plan.spare
time ds-run -m $M -S 3 -T 1.2 -n 120 "What is 37 * 46?" "What is 12 + 7?" "What is 370 * 46?" "What is 99 - 17?" >want
f() { ip netns exec $NET.9 $PY $T/net/faults.py "$1" want 1 $M "$2"; }
f nothing plan
f blink plan
f gone_for_long plan
f cut plan.spare; ip -n 10.77.0.2 link set cable up
f cut plan; ip -n 10.77.0.2 link set cable up
f freeze plan.spare
f freeze plan
