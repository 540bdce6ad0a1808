#!/bin/sh
# Hostile names and options in what ds-plan and ds-run -s write: each word gets where it was meant to, and runs nothing.
. "${0%/*}/lib.sh"
LIMIT=200
seed=${DS_SEED:-1}

# counted WHAT: what hostile.py printed is its last line alone
counted() {
	status=$?
	[ "$(wc -l <said)" -eq 1 ] || status=1
	report $status "$1 (seed $seed): $(tail -n 1 said)" said
}
py "$T/hostile.py" stubs "$M" "$seed" 210 >said 2>&1
counted "scripts and plans hold hostile words as they are"
is "$([ "$(cut -d' ' -f1 said)" -ge 2000 ]; echo $?)" 0 "they were 2000 words or more"
mkdir real && cd real || exit 2
py "$T/hostile.py" real "$M" "$seed" 18 >said 2>&1
counted "scripts with hostile words answer"
cd ..

# --- a report, messages and labels ---
esc=$(printf '\033')
model="m
touch PWNED
#' -l \$(touch PWNED) $esc[2J"
mkdir "$model" && ln -s "$M"/* "$model"
printf 'a 2 4 10 addr=127.0.0.1\nb 2 4 10 addr=127.0.0.2\n' >hosts
ds-plan -m "$model" -f report hosts >got
is "$(head -n 1 got)" "m?touch PWNED?#' -l \$(touch PWNED) ?[2J: 4 layers" "the report has no control character"
ds-plan -m "$model" -f sh -v hosts >script 2>err
is "$(grep -c "$esc" err)" 0 "nor has that of -v"
is "$(sed -n '1,/^jobs=/p' script | grep -c '^[^#]')" 1 "what follows a comment's first line is comment, too"
like "$(grep '^run .ds-block' script)" "^run 'ds-block -l [0-3](-[0-3])?' ds-block " "labels are made of layers"
printf 'a 2 0.004 10\nb 2 0.004 10\n' >small
ds-plan -m "$M" -f sh --context 64 --sample '-e 7' small | grep '^run .ds-expert' >labels
like "$(cat labels)" "^run 'ds-expert -l [1-3] -e 0-[0-9]+' ds-expert " "and of experts"

# --- what a plan cannot hold ---
mkdir "bra{ce" && ln -s "$M"/* "bra{ce"
fails_with 2 "^ds-plan: -m '.*': a plan cannot hold the control character 0x0a: give another, or -f sh" "refused: a newline" ds-plan -m "$model" hosts
fails_with 2 "^ds-plan: -m '.*/bra{ce': a plan cannot hold '{'" "refused: a brace" ds-plan -m "bra{ce" hosts
fails_with 2 "^ds-plan: --key '/k{a}': a plan cannot hold '{'" "refused: what would be another word when it runs" ds-plan -m "$M" --key '/k{a}' hosts
fails_with 2 "^ds-plan: --peers 'p\?': a plan cannot hold the control character 0x01" "refused: in --peers" \
    ds-plan -m "$M" --key k --peers "$(printf 'p\001')" hosts
fails_with 2 "^ds-plan: --sample '-g }': a plan cannot hold '}'" "refused: in --sample" ds-plan -m "$M" --sample '-g }' hosts
fails_with 2 "^ds-plan: ds-run cannot read this plan: .* more than [0-9]+ words" "refused: more words than a line can have" \
    ds-plan -m "$M" --sample "$(yes -- -g | head -n 600 | tr '\n' ' ')" hosts
ds-plan -m "$M" --sample "$(printf -- '-g\t')" --key "a  tab	's" hosts >plan
like "$(cat plan)" "^run b ds-sample -m .* '-g	' --key 'a  tab	'\\\\''s' " "but blanks and quotes are held"
for name in 'user@host' 'a;b' 'a$b' '-o' "a'b" 'a{b}' '::1' '*'; do
	printf 'a 2 4 10 addr=%s\n' "$name" >odd
	fails_with 2 "^ds-plan: 'odd': line 1: .* has no valid address" "no address: $name" ds-plan -m "$M" -f ssh --unsafe odd
done
ok "nothing was run" test ! -e PWNED -a ! -e real/PWNED
done_testing
