#!/bin/sh
# The files beside the manual agree with the programs: CHANGELOG, HACKING, shell completion.
# check: yes
. "${0%/*}/lib.sh"
programs=$(cd "$R/cmd" && ls ds-*.c | sed 's/\.c$//')

newest=$(sed -n 's/^## \[\(.*\)\] - [0-9-]*$/\1/p' "$R/CHANGELOG.md" | head -n 1)
is "$newest" "$(sed -n 's/^VERSION *= *//p' "$R/Makefile")" \
    "the newest version in CHANGELOG.md is that of the Makefile"
is "$(ds-run -V)" "ds-run (dspipe) 0.2.0" "it is 0.2.0"
kinds='Added|Changed|Deprecated|Removed|Fixed|Security'
is "$(sed -n 's/^### //p' "$R/CHANGELOG.md" | grep -vxE "$kinds")" "" \
    "its sections are those of Keep a Changelog"

docs="$R/README.md $R/HACKING.md $R/CHANGELOG.md"
docs="$docs $R/examples/cookbook/README.md $R/examples/tiny-r1/README.md"
is "$(awk 'length > 100 { print FILENAME ": " FNR }' $docs)" "" \
    "no line of these pages has more than 100 columns"
folders='(cmd|common|kernels|tests|examples|man)'
for doc in $docs; do
	name=${doc#"$R/"}
	missing=
	for link in $(grep -Eo '\]\([^)#:]*\)' "$doc" | sed 's/^](//; s/)$//'); do
		[ -e "$(dirname "$doc")/$link" ] || missing="$missing $link"
	done
	for file in $(grep -Eo "(^|[^A-Za-z0-9_./-])$folders/[A-Za-z0-9_./-]*[A-Za-z0-9]" "$doc" |
	    sed 's/^[^a-z]//' | grep -vE 'NAME|/example($|[./])|/gqa_norm'); do       # new files
		[ -e "$R/$file" ] || missing="$missing $file"
	done
	is "$missing" "" "$name names files that there are"
done

# completion: what the shells complete, from files made of -h
mkdir completions bin folder
for p in $programs; do
	"$R/cmd/completion" bash "$(command -v "$p")" >"completions/$p" || echo "$p"
done >wrong 2>&1
is "$(cat wrong)" "" "each program has a completion for bash"
fails_with 2 "usage: completion" "the generator refuses another shell" \
    "$R/cmd/completion" fish "$R/bin/ds-run"

# completed WORD...: what bash offers for the last word, in one line
completed() {
	bash -c '
		. "completions/$1" || exit
		[[ $(complete -p "$1") = "complete -F "*" $1" ]] || echo "not registered"
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		set -- $(complete -p "$1")
		"$3"
		printf "%s\n" "${COMPREPLY[@]}"' - "$@" 2>&1 | paste -sd' '
}
for p in $programs; do
	completed "$p" - | tr ' ' '\n' | sort >offered
	"$p" -h | sed -n 's/^  \(-.*\)/\1/p' | sed 's/  .*//' |
	    grep -oE '(^|[[:space:]])--?[A-Za-z0-9][a-z-]*' | tr -d ' ' | sort -u >listed
	comm -13 offered listed | sed "s/^/$p: /"
done >missing
is "$(cat missing)" "" "bash completes each option that -h lists"
for o in $(ds-run -h | grep -oE -e '--[a-z-]+' | sort -u); do
	case " $(completed ds-run --) " in *" $o "*) ;; *) echo "$o" ;; esac
done >missing
is "$(cat missing)" "" "ds-run -- completes all long options"
is "$(completed ds-block -l)" "-l" "ds-block -l is complete"
is "$(completed ds-block -l '')" "" "nothing completes a list of layers"
is "$(completed ds-block --precision '')" "f32 bf16 fp8 i8" "a value is one of the words of -h"
is "$(completed ds-block --precision = b)" "bf16" "also after an equals sign"
is "$(completed ds-run -x st)" "stage" "with words explained between them"
is "$(completed ds-run --cache-type '')/$(completed ds-run --batches '')" "f32 bf16/" \
    "of several options on one line, each has its own words"
is "$(completed ds-dump -f '')" "text json ids csv npy safetensors trace" \
    "and on lines of their own"
is "$(completed ds-attn -d '')" "cpu cuda" "a device is cpu or cuda"
: >file
is "$(completed ds-attn -m f)" "folder" "a model is a folder"
is "$(completed ds-attn -i fi)" "file" "an input is a file"
is "$(completed ds-dump fil)" "file" "so is an operand"
: >-f
is "$(completed ds-dump -- -f)" "-f" "and what follows --"
like "$(completed ds-embed --un)" '^--unsafe$' "programs with links have the options of ds-link(7)"
is "$(completed ds-diff --un)" "" "others have not"

for p in $programs; do command -v "$p"; done | xargs "$R/cmd/completion" zsh >_dspipe
is "$(head -n 1 _dspipe)" "#compdef $(echo $programs)" "one file for zsh has all programs"
if command -v zsh >/dev/null; then
	ok "zsh reads it" zsh -n _dspipe
	zsh -f -c 'service=ds-run; _arguments() { print -rl -- "$@" }; . ./_dspipe' >given
	like "$(cat given)" '^\*--precision=\[.*\]:P:\(f32 bf16 fp8 i8\)$' \
	    "and gives _arguments the options"
else
	skip "zsh reads it" "there is no zsh"
fi
done_testing
