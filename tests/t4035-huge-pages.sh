#!/bin/sh
# --huge-pages: the same bits by copied weights; machines without huge pages, or without memory.
# only: asan leaks
. "${0%/*}/lib.sh"
export DS_MODEL=$M
setting=/sys/kernel/mm/transparent_hugepage/enabled

prompt() {
	{ frame prompt 7 0 2 $(seq 0 9 300); frame end; } | ds-embed "$@"
}
prompt >embedded
ds-block <embedded | ds-head >want
ok "the stages, cut and whole, copy their weights" pipe '
	ds-attn -l 0 --huge-pages <embedded | ds-route -l 0-1 --huge-pages |
	ds-expert -l 0 --huge-pages | ds-attn -l 1 | ds-route -l 1 --huge-pages |
	ds-expert -l 1 -e 3-9 --huge-pages | ds-expert -l 1 --huge-pages |
	ds-block -l 2-3 --huge-pages -v 2>said | ds-head --huge-pages >got'
same want got "the logits are those of mapped weights"
if [ -r $setting ] && ! grep -qF "[never]" $setting; then
	like "$(cat said)" '^ds-block: [0-9.]+ MiB of weights are in memory of huge pages$' \
	    "-v prints the size of the copy"
else
	skip "-v prints the size of the copy" "this system has no huge pages"
fi
ds-quant -f gguf-q8_0 tiny.gguf
prompt -m tiny.gguf >embedded
ds-block -m tiny.gguf <embedded >want
ds-block -m tiny.gguf --huge-pages <embedded >got
same want got "so are those of a GGUF file, whose matrices lie otherwise"

fails_with 2 "^ds-block: --huge-pages: the weights are in the GPU's memory" \
    "a GPU has none" ds-block --huge-pages -d cuda
fails_with 2 "^ds-block: --learn excludes --huge-pages: " \
    "neither have weights that learn" ds-block --huge-pages --learn
fails_with 2 "^ds-embed: unknown option '--huge-pages'" \
    "ds-embed multiplies by no weights" ds-embed --huge-pages
fails_with 2 "^ds-run: --huge-pages does not go with --plan" \
    "a plan has it in its lines" ds-run --huge-pages --plan x
is "$(ds-run -x stage --draft mtp --huge-pages -s 1 | grep -c '^run .* --huge-pages')" 14 \
    "ds-run passes it to all that multiply"

# as_if FILE TEXT COMMAND...: with a text in place of a file of the system
as_if() {
	echo "$2" >file
	unshare -m sh -c 'mount --bind file "$0" && shift && exec "$@"' "$@"
}
none="where the system gives none, weights stay in the file"
full="a copy that does not fit is an error"
if [ -r $setting ] && as_if $setting x true 2>why; then
	as_if $setting "always madvise [never]" \
	    ds-block -m tiny.gguf --huge-pages <embedded >got 2>said
	same want got "$none"
	like "$(cat said)" "^ds-block: --huge-pages: the system gives none" "a line says so"
	is "$(wc -l <said)" 1 "and nothing else"
	as_if /proc/meminfo "MemAvailable: 1000 kB" \
	    ds-block -m tiny.gguf --huge-pages <embedded >got 2>said
	is "$?" 3 "$full"
	like "$(cat said)" "--huge-pages: a copy of the weights takes [0-9.]+ MiB of memory, \
0.977 MiB are free: " "it has both sizes"
else
	skip "$none" "it needs root and mount namespaces"
	skip "$full" "it needs root and mount namespaces"
fi
done_testing
