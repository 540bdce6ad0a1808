#!/bin/sh
# The manual, -h, and the programs say the same; what stands as an example runs.
# first: yes
. "${0%/*}/lib.sh"
LIMIT=120
programs=$(cd "$R/cmd" && ls ds-*.c | sed 's/\.c$//')
pages=$(ls "$R"/man/*.[1-9])

# files: all that belongs to the project
files() {
	if [ -e "$R/.git" ]; then
		git -c safe.directory='*' -C "$R" ls-files
	else
		(cd "$R" && find . -type f ! -path './build*' ! -path './bin/*' | sed 's,^\./,,')
	fi
}

# synopsis PAGE: its text, in one line
synopsis() {
	mandoc -T ascii -O width=900 "$1" | sed 's/.\x08//g' | awk '/^[A-Z]/ { on = $0 == "SYNOPSIS"; next } on' | xargs -0 printf '%s' | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}

# usage PROGRAM: the usage of its -h, in one line
usage() {
	"$1" -h | awk 'NR == 1 || (on && /^   /) { on = 1; sub(/^usage: /, ""); print; next } { on = 0 }' | tr -s ' \n' ' ' | sed 's/ $//'
}

# listed PROGRAM: the options that the lines of -h explain, one a line
listed() {
	"$1" -h | sed -n 's/^  \(-[^ ,]*\(, -[^ ,]*\)*\) .*/\1/p' | sed 's/, /\n/g' | sort
}

# explained PAGE: the options that its section OPTIONS explains, one a line
explained() {
	awk '/^\.Sh/ { on = $2 == "OPTIONS" } on && /^\.It Fl/ { for (i = 2; i < NF; i++) if ($i == "Fl") { o = $(i + 1); sub(/^-/, "--", o)
	    if (o !~ /^--/) o = "-" o; print o } }' "$1" | sort
}

# examples PAGE: the shell of its indented literal blocks
examples() {
	awk '/^\.Sh/ { on = $2 == "EXAMPLES" } /^\.Bd -literal -offset indent/ { inside = on; next } /^\.Ed/ { inside = 0 }
	    inside { gsub(/\\e/, "\\"); gsub(/\\-/, "-"); gsub(/\\&/, ""); gsub(/\\\(dq/, "\""); print }' "$1"
}

# scripts PAGE: write each literal block whose second line is "# NAME ..." to NAME
scripts() {
	awk '/^\.Bd -literal/ { n = 0; inside = 1; next } /^\.Ed/ { inside = 0; close(name); name = ""; next }
	    !inside { next }
	    { gsub(/\\e/, "\\"); gsub(/\\-/, "-"); gsub(/\\&/, ""); n++ }
	    n == 1 { first = $0 }
	    n == 2 && first ~ /^#!/ && /^# [a-z]/ { name = $2; print first >name }
	    n >= 2 && name { print >name }' "$1"
}

# letters.py PROGRAM: which letters are not as they should be (one process starts 1,800 programs)
cat >letters.py <<'X'
import string
import subprocess
import sys

p, listed = sys.argv[1], sys.stdin.read().split()
for c in sorted(set(string.ascii_letters + string.digits) - set("hV")):
    run = subprocess.run([p, "-" + c, *(["/nonexistent/x"] if c in "io" else [])], timeout=10,
                         text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE)
    if "-" + c in listed:
        if "unknown option" in run.stderr:
            print(f"listed but unknown: -{c}")
    elif c in "mltdr":
        if f"{p}: option '-{c}' needs a value: see {p} -h" not in run.stderr.split("\n"):
            print(f"common but unknown: -{c}")
    elif run.returncode != 2 or run.stderr != f"{p}: unknown option '-{c}': see {p} -h\n":
        print(f"not listed but not refused: -{c}")
X

for p in $programs; do
	page=$R/man/$p.1
	ok "$p has a man page" test -s "$page"
	[ -s "$page" ] || continue
	is "$(synopsis "$page")" "$(usage "$p")" "$p: SYNOPSIS is the usage of -h"
	listed "$p" >listed
	explained "$page" >explained
	same explained listed "$p: OPTIONS explains what -h lists"
	synopsis "$page" | grep -Eo -e '(^| |\[|\|)--?[A-Za-z0-9][a-z-]*' | sed 's/^[^-]*//' |
	    sed '/^-[^-]./ { s/^-//; s/./-&\n/g; s/\n$//; }' | cat - listed | sort -u >all
	printf '%s\n' -V -h | cat - all | sort -u >whole
	same whole listed "$p: -h lists each option of its usage, -V and -h"

	is "$("$p" -h | sed -n 's/^  \(-[^ ,]*\(, -[^ ,]*\)*\( [A-Z]*\)\?  *\)[^ ].*/\1/p' | awk '{ print length }' | sort -u | wc -l)" 1 \
	    "$p: -h is in columns"
	ok "$p -h exits 0" sh -c '"$1" -h >help 2>complaint && test ! -s complaint' - "$p"
	is "$(awk 'length($0) > 80 || NR > 24 { print NR ": " $0 }' help)" "" "$p -h fits on a screen of 24 lines"
	is "$("$p" -V)" "$p (dspipe) $(sed -n 's/^VERSION *= *//p' "$R/Makefile")" "$p -V gives the version"
	for o in -h -V; do
		fails_with 3 "^$p: standard output: cannot write: No space" "$p $o says that it was not printed" sh -c '"$@" >/dev/full' - "$p" $o
	done
	is "$("$p" --version; "$p" --help)" "$("$p" -V; cat help)" "$p takes --version and --help"
	fails_with 2 "^$p: .*'--nonsense'" "$p refuses a long option that it does not have" "$p" --nonsense
	# of all letters, it knows those that it lists, and the common ones that it has no use for
	is "$(py letters.py "$p" <listed 2>&1)" "" "$p takes the letters that it lists and refuses all others"
done

# one word for one letter
for p in $programs; do
	"$p" -h | sed -n "s/^  \(-[A-Za-z0-9]\)\(, --[^ ]*\)* \([A-Z][A-Z]*\) .*/\1 \3/p"
done | sort -u >letters
is "$(cut -d' ' -f1 letters | uniq -d)" "" "a letter's value has the same name in all programs"

# one letter for one word, and each letter with a word has it wherever it is listed, but for -k of ds-score
for p in $programs; do
	"$p" -h | sed -n 's/^  \(-c, \)\?\(-[A-Za-z]\), \(--[^ ]*\)\( [A-Z][A-Z]*\)\? .*/\2 \3\4/p' >words
	cut -d' ' -f1,2 words >>all-words
	wrong=
	while read -r letter word value; do
		[ "$value" ] || word=$word=1
		fails_with 2 "^$p: option '$word' (needs a|takes no) value" "$p knows $word, and whether it has a value" "$p" "$word"
	done <words
	for letter in $(listed "$p" | grep -x -- '-[milotdgTpSnqw]'); do
		grep -q -e "^$letter " words || wrong="$wrong $letter"
	done
	is "$wrong" "" "$p -h has the words beside their letters"
done
is "$(sort -u all-words | tr '\n' ';')" "-S --seed;-T --temperature;-d --device;-g --greedy;-i --input;-k --top-k;-l --layers;-m --model;-n --max-tokens;\
-o --output;-p --top-p;-q --quiet;-t --threads;-w --completion;" "a word is that of one letter"
fails_with 2 "^ds-run: option '--tem' is ambiguous" "an abbreviation of two words is ambiguous" ds-run --tem 1

# Rows that end beyond column 78, of tables that state the width of their last column: groff wraps
# these to the right of it.  Without that width the cell has the rest of the line.
broken_cells() {
	awk '/^\.Bl .*-column/ {
		n = split($0, width, "\"")
		columns = int(n / 2)
		left = 5 + (columns < 5 ? 4 : columns == 5 ? 3 : 1) * (columns - 1)
		for (i = 2; i < n - 2; i += 2)
			left += length(width[i])
	}
	/^\.El/ { columns = 0 }
	columns && /^\.It / {
		cells = split($0, cell, " Ta ")
		gsub(/(^| )[A-Z][a-z]( |$)/, " ", cell[cells])
		if (cells == columns && left + length(cell[cells]) > 78)
			print FNR ": " $0
	}' "$1"
}

for page in $pages; do
	name=${page##*/}
	is "$(mandoc -T lint -W warning "$page" 2>&1)" "" "$name has no mistake that mandoc knows"
	is "$(broken_cells "$page")" "" "$name: the last cells of tables wrap in their column"
	missing=
	for target in $(awk '$1 ~ /^\.?Xr$/ || ($1 == ".It" && $2 == "Xr") { i = $1 == ".It" ? 3 : 2; print $i "." $(i + 1) }' "$page" | sort -u); do
		case $target in
		ds-* | dspipe*) [ -e "$R/man/$target" ] || missing="$missing $target" ;;
		*.[1-9]) ;;
		*) missing="$missing '$target'" ;;
		esac
	done
	is "$missing" "" "$name refers to pages that there are"
	missing=
	for file in $(grep -Eo '(cmd|common|kernels|tests|examples|man)/[A-Za-z0-9_./-]*[A-Za-z0-9]' "$page"); do
		[ -e "$R/$file" ] || missing="$missing $file"
	done
	is "$missing" "" "$name names files that there are"
	case $name in *.1) [ -e "$R/cmd/${name%.1}.c" ]; report $? "$name has a program" ;; esac
done

for p in $programs; do
	grep -q "^\.It Xr $p 1" "$R/man/dspipe.7" || echo "$p"
done >missing
is "$(cat missing)" "" "dspipe(7) lists every program"

# what the pages show runs; M is a model's folder
for page in $pages; do
	name=${page##*/}
	mkdir "in-$name"
	ln -s "$M" "in-$name/M"
	examples "$page" >"$name.sh"
	case $name in
	*.1) ok "$name has examples" test -s "$name.sh" ;;
	esac
	[ -s "$name.sh" ] || continue
	(cd "in-$name" && ln -s "$PY" python3 && scripts "$page" && chmod +x ./*.py 2>/dev/null)
	ok "the examples of $name run" sh -c 'cd "in-$1" && DS_MODEL=M PATH=$PWD:$PATH timeout 60 bash -e -o pipefail "../$1.sh" </dev/null 2>&1' - "$name"
done

# the README: blocks of ```sh run one behind the other in the project's folder
mkdir readme
for d in "$R"/*; do ln -s "$d" readme; done
awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' "$R/README.md" >readme.sh
ok "the README has a shell line" grep -q 'ds-tokenize.*|' readme.sh
ok "the README's shell lines run" sh -c 'cd readme && timeout 60 bash -e -o pipefail ../readme.sh </dev/null 2>&1'
cp .out readme.out
awk '/^```text$/ { on = 1; next } /^```/ { on = 0 } on' "$R/README.md" >shown
ok "the README shows output" test -s shown
is "$(awk 'NR == FNR { out[$0] = 1; next } !($0 in out)' readme.out shown)" "" "what it shows comes out, line for line"
missing=
for link in $(grep -Eo '\]\([^)#:]*\)' "$R/README.md" | tr -d '](' | tr -d ')'); do
	[ -e "$R/$link" ] || missing="$missing $link"
done
for file in $(grep -Eo '(cmd|common|kernels|tests|examples|man)/[A-Za-z0-9_./-]*[A-Za-z0-9]' "$R/README.md"); do
	[ -e "$R/$file" ] || missing="$missing $file"
done
is "$missing" "" "the README's links lead somewhere, and the files that it names are there"

is "$(cd "$R" && files | grep -v '\.safetensors$' | xargs grep -lE '[.][.]/shared|/work[/]|/tmp/wt[/]|/home/[a-z]' --)" "" \
    "no file knows where it was made"
done_testing
