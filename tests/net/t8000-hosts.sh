#!/bin/sh
# The promise over hosts: however a model is divided among them, the same tokens are chosen from logits with the same bits.
# first: yes
SERVED=yes
. "${0%/*}/net.sh"
host 1 2 3 4 5 9
for n in 1 2 3 4 5 9; do ds-keygen key.$n >>peers; done

# cut MODEL CUT HOSTS KEYS FOLDER: as processes on so many hosts; what is sampled, and the logits that it is sampled from
cut() {
	case $4 in keys) words="--key $S/key.%h --peers $S/peers" ;; *) words=--unsafe ;; esac
	cut_plan "$1" "$2" "$3" $words >plan &&
	    py "$T/net/start.py" plan "$5" ask "$5/all" $words &&
	    # (in a ring frames that wait for another stage pass as well)
	    ds-cut --at sample -i "$5/h$3/HEAD" -o "$5/logits" &&
	    ds-cut --at embed -i "$5/all" -o "$5/tokens"
}

for m in "$M" "$G"/v*; do
	name=${m##*/}
	py "$T/bits.py" prompts "$m" >shape
	mkfifo loop
	export DS_MODEL=$m
	ok "$name: one process for all layers" \
	    pipe 'ds-embed -i ask -i loop | ds-block | ds-head | tee logits | ds-sample -n 6 | tee loop >tokens'
	rm loop
	: >list
	case $name in tiny-r1) cuts="layers side chain ring" ;; *) cuts="layers side ring" ;; esac
	for n in 2 3 5; do
		# each cut of tiny-r1 over two and three hosts with keys and without
		case $name.$n in tiny-r1.[23]) both="keys none" ;; *.3) both=keys ;; *) both=none ;; esac
		for how in $cuts; do
			for keys in $both; do
				desc="$name: $how over $n hosts, keys: $keys" to=$name.$how.$n.$keys
				ok "$desc" cut "$m" $how $n $keys "$to"
				printf '%s\tsame\tlogits\t%s\n' "$desc: the logits have the same bits" "$to/logits" >>list
				printf '%s\ttexts\t%s\ttokens\n' "$desc: the same tokens are sampled" "$to/tokens" >>list
			done
		done
	done
	compared "$name"
done
ok "no program is left" nobody_left
done_testing
