#!/bin/sh
# also: asan kernels
# ds-verify: the promise on this machine.
. "${0%/*}/lib.sh"

mkdir tmp
TMPDIR=$PWD/tmp ds-verify -m "$M" "What is 3 + 4?" >table 2>err
is "$?" 0 "all ways give the same bits"
is "$(grep -c ' same$' table)" "$(($(wc -l <table) - 2 - $(grep -c 'not on this machine' table)))" "each is compared with the first"
for what in cut experts chunks batch threads kernels; do
	like "$(cat table)" "^$what .* same" "$what: there is a way that was compared"
done
is "$(find tmp | wc -l)" 1 "it leaves nothing behind"
like "$(ds-verify -v -m "$M" x)" "ds-expert .*ds-join" "-v shows the shell lines"

# other families, with the tokenizer of tiny-r1
for m in qwen3-moe $(few "qwen2 qwen3-moe-mixed" ""); do
	jq '.vocab_size = 1024' "$G/$m/config.json" >$m.json
	ds-bench --shape $m.json --write $m
	cp "$M/tokenizer.json" "$M/tokenizer_config.json" $m
	ds-verify -m $m "What is 3 + 4?" >table 2>err
	is "$? $(grep -c ' same$' table)" \
	    "0 $(($(wc -l <table) - 2 - $(grep -c ' not [io]n this m' table)))" \
	    "$m: all ways give the same bits"
done
printf 'a 2 0.0012 10\nb 2 0.0012 10\n' >small
ds-plan -m qwen3-moe -f sh --sample "-g -n 8" --context 64 small >small.sh 2>err
like "$(cat small.sh)" 'ds-expert .*-e [0-9]' "qwen3-moe: small hosts share its experts"
ok "qwen3-moe: their script runs" sh -c 'sh small.sh "What is 3 + 4?" >got'
ds-run -m qwen3-moe -g -n 8 "What is 3 + 4?" >want 2>err
same got want "qwen3-moe: its answer is that of ds-run"
fails_with 0 '' "qwen3-moe: it has no shared experts to place" \
    sh -c '! ds-plan -m qwen3-moe -f report --context 64 small | grep "shared experts"'

# a program that breaks the promise: with 2 threads it adds a little
mkdir bin
for p in "$(dirname "$(command -v ds-verify)")"/ds-*; do
	ln "$p" bin 2>/dev/null || cp "$p" bin
done
mv bin/ds-block bin/ds-block.real
cat >bin/ds-block <<'EOF'
#!/bin/sh
case "$*" in
*"-t 2"*) ds-block.real "$@" | ds-poke --allow-none --tensor h --pos 5 --col 3 --add 1 ;;
*) exec ds-block.real "$@" ;;
esac
EOF
chmod +x bin/ds-block
PATH=$PWD/bin:$PATH
fails_with 1 '1 of .* configurations differ' "one that breaks it is found" bin/ds-verify -m "$M" -t 2 "What is 3 + 4?"
like "$(cat "$S/.out")" '^threads .*DIFFERS: position 5, logit' "and the first place is named"

fails_with 2 'no model' "no model" bin/ds-verify
fails_with 2 'unexpected' "two texts" bin/ds-verify -m "$M" a b
fails_with 3 'config.json' "a folder that is no model" bin/ds-verify -m "$S"
fails_with 3 'cannot write' "a full disk" sh -c "bin/ds-verify -m '$M' x >/dev/full"
rm bin/ds-block.real
bin/ds-verify -m "$M" x >out 2>err
is $? 3 "a pipeline that does not work"
done_testing
