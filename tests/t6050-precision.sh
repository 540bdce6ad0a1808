#!/bin/sh
# --precision: who says it, who passes it on, who refuses it; in bf16 and i8 the same bits however the
# work is cut, and near those of f32.
# also: asan
. "${0%/*}/lib.sh"
LIMIT=100
export DS_MODEL=$M
case $PATH in "$R"/build-asan/*) short=1 ;; *) short= ;; esac
ds-tokenize -a "What is 37 * 46?" >ask

# --- what is f32 stays as it was ---
ds-embed <ask >f32
for said in "--precision f32" "-B 512"; do
	for DS_PRECISION in "" f32; do
		export DS_PRECISION
		ds-embed $said <ask | cmp - f32 >same 2>&1
		report $? "DS_PRECISION='$DS_PRECISION' ds-embed $said writes the same bytes as without" same
	done
done
is "$(DS_PRECISION=bf16 ds-embed --precision f32 <ask | cmp - f32 2>&1)" "" "the option is stronger than DS_PRECISION"
unset DS_PRECISION
is "$(frame show <f32 | grep -c precision)" 0 "there is no key of it"
ds-embed --precision bf16 <ask >bf16
is "$(DS_PRECISION=bf16 ds-embed <ask | cmp - bf16 2>&1)" "" "DS_PRECISION stands in for --precision"
frame set precision null <bf16 | frame tensors >rows
frame tensors <f32 | cmp - rows >same 2>&1
report $? "the rows that ds-embed looks up are the same in both" same

# --- the key ---
ds-block --precision bf16 -i bf16 | ds-head --precision bf16 >head16
for f in bf16 head16; do
	is "$(frame show <$f | grep -c '"precision": "bf16"')" 1 "$f: the frame says its precision"
done
like "$(ds-dump -i head16)" "^frame 1: sample, .*; precision bf16" "ds-dump shows it"
is "$(ds-dump -f json -i head16 | jq -r '.precision // empty')" bf16 "ds-dump -f json, too"
ds-dump -f safetensors -i head16 >tensors
like "$(head -c 400 tensors)" '"precision": "bf16"' "and -f safetensors"
ds-embed --precision f32 <ask | frame set precision '"f32"' | ds-block | ds-head >got
ds-block <f32 | ds-head >head32
same head32 got "f32, if it is said, is the same as nothing"
for tool in "ds-cut --pos 0-3" "ds-poke --tensor h --scale 2" "ds-poke --tensor h --scale 1" "ds-relay"; do
	is "$($tool <bf16 | frame show | grep -c '"precision": "bf16"')" 1 "$tool keeps the key"
done
ds-embed --precision bf16 -B 3 <ask | frame show >shown
is "$(grep -c precision shown)" "$(grep -c '"at"' shown)" "and so has each chunk"
mkfifo loop
ok "a loop in bf16" pipe 'export DS_PRECISION=bf16; ds-tokenize -c "12+30=?" | ds-embed -i - -i loop | tee embedded | ds-block | ds-head |
    ds-sample -g -n 8 | tee loop >tokens'
is "$(frame show <tokens | grep -c precision)" 0 "tokens have no precision"
is "$(frame show <embedded | grep -c precision)" 8 "but what is made of them has"
frame set precision '"bf16"' <ask | ds-embed >got
same f32 got "ds-embed takes tokens from wherever they come"

# --- refusals ---
for l in 0 1; do
	for p in f32 bf16; do
		DS_PRECISION=$p ds-attn -l $l -i $p$([ $l = 0 ] || echo .out.0) -o $p.route.$l
		DS_PRECISION=$p ds-route -l $l -i $p.route.$l -o $p.expert.$l
		DS_PRECISION=$p ds-expert -l $l -i $p.expert.$l -o $p.out.$l
		DS_PRECISION=$p ds-block -l $((l + 1))-3 -i $p.out.$l -o $p.head
	done
done
for way in "f32 bf16" "bf16 f32"; do
	set -- $way
	while read -r program at from; do
		fails_with 1 "^ds-[a-z]*: $at: the frame is of precision $1, this stage of $2: give ds-embed and all stages the same --precision\$" \
		    "$program of $2 refuses frames of $1" sh -c "$program --precision $2 <$1$from >left"
		like "$(ds-dump -i left 2>&1)" "error: $program: .*the frame is of precision $1" "... and tells those behind it"
	done <<-X
	ds-attn attn.layer.0
	ds-block attn.layer.0
	ds-route route.layer.1 .route.1
	ds-expert expert.layer.1 .expert.1
	ds-head head .head
	X
done
for p in ds-attn ds-route ds-expert ds-block; do
	ds-embed --precision bf16 <ask | $p -l 1 >got
	same bf16 got "$p passes on what is not its layer, whatever the precision"
done
frame set precision '"bf16"' <f32.expert.1 >other
fails_with 1 "^ds-join: .*f32.expert.1 and other differ in precision" "ds-join refuses to put together what differs" \
    ds-join -i f32.expert.1 -i other
DS_PRECISION=bf16 ds-expert -l 1 -e 0-7 -i bf16.expert.1 -o a
DS_PRECISION=bf16 ds-expert -l 1 -e 8-15,s -i bf16.expert.1 -o b
ds-join -i a -i b -o got
same bf16.out.1 got "but joins what is alike, itself of no precision"
frame set precision '"fp4"' <f32 >later
fails_with 1 "'precision' is 'fp4', not f32, bf16, fp8 or i8" "a precision of another day is refused" ds-relay -i later
for p in attn block embed expert head route run verify bench; do
	fails_with 2 "^ds-$p: --precision 'f16': give f32, bf16, fp8 or i8\$" "ds-$p knows the precisions" ds-$p --precision f16
	fails_with 2 "^ds-$p: DS_PRECISION 'BF16': give f32, bf16, fp8 or i8\$" "... also from the environment" env DS_PRECISION=BF16 ds-$p
done
for p in attn block draft expert head route; do
	fails_with 2 "^ds-$p: --precision i8 requires the CPU: leave out -d, or give another precision\$" \
	    "ds-$p: GPUs refuse i8" ds-$p -d cuda --precision i8 -i f32
done
ok "a wrong DS_PRECISION is no business of the others" env DS_PRECISION=f16 ds-dump -i f32

# --- the router's product is f32 in all ---
for p in bf16 i8; do
	frame set precision null <bf16.route.1 | ds-route -l 1 --tap route.scores |
	    frame set precision "\"$p\"" >want
	frame set precision "\"$p\"" <bf16.route.1 |
	    ds-route -l 1 --precision $p --tap route.scores | ds-diff want - >why
	report $? "ds-route of $p computes what ds-route of f32 does" why
done

# --- bits ---
formats="q8 q4 fp8 f16 f32"
[ -z "$short" ] || formats=q4
for f in $formats; do
	ds-quant -f $f --head model.$f 2>err || report 1 "$f is made" err
	ok "$f: the same bits however the pipeline is cut" ds-verify --precision bf16 -m model.$f "What is 17 * 23?"
	case $f in q8 | q4)
		ok "$f: ... also in i8" ds-verify --precision i8 -m model.$f "What is 17 * 23?"
	esac
done

# --- i8: rows of x are integers where weights are; all else is f32 ---
eight() {       # eight PRECISION MODEL: the logits of the prompt
	DS_PRECISION=$1 DS_MODEL=$2 sh -c 'ds-embed | ds-block -t 1 | ds-head -t 1' <asked |
	    frame set precision null
}
frame set model null <ask >asked
eight i8 "$M" | frame tensors >got
frame tensors <head32 >want
same want got "i8 is f32 where no weights are integers"
eight f32 model.q4 >q4.f32
eight i8 model.q4 >q4.i8
like "$(ds-diff q4.f32 q4.i8)" "logits" "but not where some are"
ds-diff --tol 0.05 q4.f32 q4.i8 >why
report $? "... though near" why
# (panels of i8 take more)
(ulimit -Ss 1024 && eight i8 model.q4 >got)
same q4.i8 got "a lower soft limit of the stack changes nothing"
fails_with 3 "^ds-block: the stack is limited to 1024 KiB: use ulimit -s 8192$" \
    "a hard one is an error" sh -c 'ulimit -s 1024; exec ds-block -i f32'
# straight|ring: what the loop computes, the stages in a line or apart
straight='ds-embed -i batch -i loop | ds-block | ds-head | tee want.head | ds-sample -g -n 6 | tee loop >want.tokens'
ring='ds-embed --ring --batches 2 -i batch -i loop | ds-attn | ds-route >there & ds-expert <there | ds-head --ring | tee got.head |
    ds-sample -g -n 6 --ring | tee loop | ds-cut --at embed >got.tokens; wait $!'
mkfifo there
for DS_MODEL in "$M" "$G/v3-fp8-odd"; do
	name=${DS_MODEL##*/}
	py "$T/bits.py" prompts "$DS_MODEL" >sizes
	ok "$name: a line" pipe "export DS_PRECISION=bf16; $straight"
	ok "$name: a ring" pipe "export DS_PRECISION=bf16; $ring"
	ds-cut --at sample <got.head >got.logits
	printf "$name: a ring: %s\tsame\t%s\t%s\n" "the logits have the same bits" want.head got.logits "the same tokens are sampled" want.tokens got.tokens >list
	compared "$name"
done

# --- near the reference ---
for case in v2 v2-lite v3 v3-plain v3-fp8-odd; do
	DS_MODEL=$G/$case
	mkdir $case
	cd $case
	py "$T/golden.py" fronts "$DS_MODEL" bf16
	for l in $(py "$T/golden.py" layers "$DS_MODEL" | cut -d' ' -f1); do
		for s in attn:attn route:route expert:out; do
			ds-${s%:*} --precision bf16 -l $l -i front.${s%:*}.$l -o ${s#*:}.$l
		done
	done
	ds-head --precision bf16 -i front.head -o head
	ok "$case: each stage is as near the reference as numbers of 8 bits allow" py "$T/golden.py" near "$DS_MODEL"
	ok "$case: the router chooses exactly the experts that it should" py "$T/golden.py" compare "$DS_MODEL" idx
	ok "$case: their weights are those of f32" py "$T/golden.py" compare "$DS_MODEL" weight
	cd ..
done

# --- ds-run ---
DS_MODEL=$M
same16() {      # same16 FILE DESC: rows of logits that are in the folder `run` are those of bf16
	frame tensors logits <"$1" | sort -u >got.rows
	is "$(grep -c . got.rows) $(comm -13 want.rows got.rows | wc -l)" "$(grep -c . want.rows) 0" "$2"
}
limited ds-run --precision bf16 -g -n 30 --keep run "What is 37 * 46?" >want
frame tensors logits <run/003-head.dsf | sort -u >want.rows
is "$(frame show <run/003-head.dsf | grep -c precision)" 30 "ds-run --precision: all programs have it"
for x in layer stage; do
	DS_PRECISION=bf16 limited ds-run -x $x -g -n 30 --keep run.$x "What is 37 * 46?" >got
	same want got "DS_PRECISION, -x $x: the same text"
	same16 "$(ls run.$x/*-head.dsf)" "... and the same logits"
done
ds-run --precision bf16 -g -n 30 --keep scripted -s "What is 37 * 46?" >script
DS_PRECISION=f32 sh script >got
same want got "the script says the same"
same16 scripted/003-head.dsf "... of the same logits, whatever is in its environment"
DS_PRECISION=bf16 limited ds-run --precision f32 -n 2 --keep plain "hi" >got
is "$(cat plain/*.dsf | tr -d '\0' | grep -c precision)" 0 "--precision f32 wins over the environment"

# a plan on two hosts, one behind a remote shell that takes no environment along, and with a program that fails once
"$PY" -c 'import zmq' 2>/dev/null || { skip "plans" "no python3-zmq"; done_testing; }
set -- $(ports 4)
cat >rsh <<'X'
#!/bin/sh
shift
exec env -i PATH="$PATH" S="$S" HOME="$S" ${OTHER-} sh -c "$*"
X
cat >once <<'X'
#!/bin/sh
[ ! -e "$S/failed" ] || exec "$@"
touch "$S/failed"
sleep 0.5
echo "once: this is the first time" >&2
exit 3
X
chmod +x rsh once
cat >two.plan <<X
plan 1
host alpha 127.0.0.1
host beta 0x7f.0.0.2
feed tcp://{alpha}:$1
take tcp://{alpha}:$2
run alpha ds-embed -m $M -i @tcp://{alpha}:$1 -i @ipc://{run}/loop -o ipc://{run}/0
run alpha ds-block -m $M -t 1 -l 0-1 -i @ipc://{run}/0 --unsafe -o tcp://{beta}:$3
run beta $S/once ds-block -m $M -t 1 -l 2-3 --unsafe -i @tcp://*:$3 -o tcp://{alpha}:$4
run alpha ds-head -m $M -t 1 -i @tcp://{alpha}:$4 -o ipc://{run}/2 -o $S/kept
run alpha ds-sample -m $M -i @ipc://{run}/2 -o ipc://{run}/loop -o @tcp://{alpha}:$2
X
for how in "DS_PRECISION=bf16" "DS_PRECISION=f32 --precision bf16"; do
	option=${how#* }
	[ "$option" != "$how" ] || option=
	rm -f failed
	DS_RSH=$S/rsh OTHER=DS_PRECISION=f32 env "${how%% *}" timeout "$LIMIT" ds-run $option -g -n 30 --plan two.plan "What is 37 * 46?" >got 2>said
	report $? "a plan, $how: it runs" said
	same want got "... and says the same"
	like "$(cat said)" "^ds-run: beta: once -l 2-3: once: this is the first time; started again" "... after a failure"
	same16 kept "... of the same logits on both hosts"
done
sed 's/ -m / --precision bf16 -m /; /ds-sample/s/--precision bf16//' two.plan >said.plan
DS_RSH=$S/rsh limited ds-run -g -n 30 --plan said.plan "What is 37 * 46?" >got 2>said
same16 kept "what a line of the plan says wins"
printf 'alpha 2 4 10 addr=127.0.0.1\nbeta 2 4 10 addr=0x7f.0.0.2\n' >hosts
ds-plan -m "$M" -f ssh --unsafe --port "$1" --sample "-g -n 30" hosts >near.sh
DS_PRECISION=bf16 DS_RSH=$S/rsh limited sh near.sh "What is 37 * 46?" >got 2>said
report $? "ds-plan -f ssh: DS_PRECISION of the script is that of the programs" said
same want got "... which say the same"
done_testing
