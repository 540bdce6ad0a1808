#!/bin/sh
# A fresh clone builds and installs, and what was installed works from where it is.
# first: yes
. "${0%/*}/lib.sh"
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
LIMIT=600
programs=$(cd "$R/cmd" && ls ds-*.c | sed 's/\.c$//')

if [ -e "$R/.git" ]; then
	ok "the project can be cloned" git -c safe.directory='*' clone -q --no-hardlinks "$R" clone
else
	mkdir clone && (cd "$R" && find . -mindepth 1 -maxdepth 1 ! -name bin ! -name 'build*') |
	    while read -r f; do cp -R "$R/$f" clone; done
	ok "the project can be copied" test -e clone/Makefile
fi
# (what programs are linked with is compiled already, if the clone has the sources that bin/ has)
if make -s -C "$R" CUDA=0 -q build/lib.a build/kernels.a && cmp -s "$R/Makefile" clone/Makefile &&
    diff -r "$R/kernels" clone/kernels >difference && diff -r "$R/common" clone/common >difference; then
	mkdir clone/build && cp -R "$R/build/kernels" "$R/build/common" clone/build
	find clone/build -name '*.o' -exec touch {} +
fi
# (-O0 is soonest built, and shows that what the environment holds counts; vectors are with -Og)
CFLAGS=-O0 make -s -C clone -j2 CUDA=0 ISA_O=-Og install PREFIX=/opt/ds DESTDIR="$S/root" >made 2>&1
report $? "a fresh clone builds and installs" made || done_testing
is "$(cat made)" "" "without a warning or any other word"
is "$(make -C clone CUDA=0 all 2>&1 | grep -v '^make')" "" "a second make has nothing to do"
ok "nor has make -q" make -s -C clone CUDA=0 -q all
if [ -e clone/.git ]; then
	is "$(git -C clone status --porcelain)" "" "what was built is ignored by git"
fi
# the library for GPUs takes minutes to build: what stands in for nvcc makes empty files
cat >nvcc <<'EOT'
#!/bin/sh
while [ "$1" != -o ]; do shift; done
: >"$2"
EOT
chmod +x nvcc
like "$(make -C clone NVCC= CUDA=1 all 2>&1)" "CUDA=1, and there is no nvcc in PATH" "CUDA=1 asks for an nvcc"
ok "where there is an nvcc, the library for GPUs is built and installed" \
	make -s -C clone -j2 NVCC="$S/nvcc" install PREFIX=/opt/ds DESTDIR="$S/root"
ok "a change of a header is noticed" sh -c 'touch clone/common/frame/frame.h && ! make -s -C clone CUDA=0 -q all'
ok "make clean takes all of it away" sh -c 'make -s -C clone clean && test ! -e clone/bin && test ! -e clone/build'
cp -R root other
touch other/opt/ds/bin/other other/opt/ds/share/dspipe/examples/own.txt
make -s -C clone CUDA=0 uninstall PREFIX=/opt/ds DESTDIR="$S/other" >removed 2>&1
is "$? $(cat removed)" "0 " "make uninstall runs, without the programs built, and prints nothing"
is "$(cd other/opt/ds && find . -type f | sort | xargs; find . -path '*/dspipe*' -type d | xargs)" \
    "./bin/other ./share/dspipe/examples/own.txt
./share/dspipe ./share/dspipe/examples" "it removes what was installed, and nothing else"
rm -rf clone    # nothing that was installed needs it
LIMIT=60

to=$S/root/opt/ds
(cd "$to" && find . -type f | sort) >installed
{
	for p in $programs; do printf '%s\n' "./bin/$p" "./share/bash-completion/completions/$p"; done
	echo ./share/zsh/site-functions/_dspipe
	echo ./lib/dspipe/libdspipe-cuda.so
	echo ./lib/dspipe/template.py
	for page in "$R"/man/*.[1-9]; do echo "./share/man/man${page##*.}/${page##*/}"; done
	(cd "$R" && find examples tests/golden/v3 -type f ! -path '*/train/[!p]*' | sed 's,^,./share/dspipe/,')
} | sort >expected
diff expected installed >difference
report $? "programs, pages, completion, tiny-r1, and scripts with what they read are installed, and nothing else" difference
is "$(cd "$to" && find bin lib -type f ! -perm -755; find share -type f ! -perm -644)" "" "every user may use them"
is "$(du -sk "$to" | awk '$1 > 150000')" "" "all of it is less than 150 MB"

PATH=$to/bin:$(printf '%s' "$PATH" | tr : '\n' | grep -v "^$R/" | paste -sd: -)
for p in $programs; do
	[ "$(command -v "$p")" = "$to/bin/$p" ] && [ "$("$p" -V | cut -d' ' -f1)" = "$p" ] || echo "$p"
done >wrong
is "$(cat wrong)" "" "every installed program starts"
ok "an installed pipeline answers" pipe 'mkfifo loop; ds-tokenize -m $M -c "What is 12 + 30?" | ds-embed -m $M -i - -i loop |
    ds-block -m $M | ds-head -m $M | ds-sample -m $M -g | tee loop | ds-detokenize -m $M >answer'
like "$(tail -1 answer)" '^42$' "and it is right"
echo '[{{ messages[0].content }}]' >own.jinja
is "$(ds-tokenize -m "$M" -c --template own.jinja Hi | ds-detokenize -m "$M")" "[Hi]" "a chat template in Jinja is rendered by what was installed"
for cut in fused stage; do
	is "$("$to/bin/ds-run" -m "$M" -q -g -x $cut "What is 12 + 30?" 2>&1)" 42 "so does ds-run -x $cut from there"
done
is "$(PATH=/usr/bin:/bin "$to/bin/ds-run" -m "$M" -q -g "What is 12 + 30?" 2>&1)" 42 "ds-run finds its neighbours without PATH"
if command -v man >man.where; then
	like "$(MANPATH=$to/share/man MANPAGER=cat man dspipe 2>/dev/null)" "pipeline of programs" "man finds the pages"
fi

for recipe in experts.sh lens.sh; do
	ok "the installed cookbook runs: $recipe" sh -c 'PATH=$1/bin:$PATH "$1/share/dspipe/examples/cookbook/$2" | grep -q layer' - "$to" $recipe
done

if [ -e /usr/share/dict/words ]; then
	ok "the installed scripts of examples/learn find what they import" \
	    sh -c '"$PY" "$1" 2 | jq -e .answer' - "$to/share/dspipe/examples/learn/problems.py"
fi

# tests/deps, with an apt-get that only writes down what it is asked for
mkdir fake
cat >fake/apt-get <<EOT
#!/bin/sh
case "\$*" in
*--assume-no*) echo "Need to get 12.3 MB of archives." ;;
*) echo "\$@" >>$S/asked; [ ! -e $S/no-network ] ;;
esac
EOT
printf '#!/bin/sh\ntest "$2" != ds-old-name\n' >fake/apt-cache
printf '#!/bin/sh\nshift $(($# - 1)); [ "$1" = ds-there ] && echo "install ok installed"\n' >fake/dpkg-query
printf '#!/bin/sh\n[ ! -e %s/no-sudo ] || exit 1\n[ "$1" != -n ] || shift\n"$@"\n' "$S" >fake/sudo
printf '#!/bin/sh\n[ "$1" != -u ] || echo 1000\n' >fake/id
printf '#!/bin/sh\n[ ! -e %s/no-libraries ]\n' "$S" >fake/pkg-config
for tool in tee chmod rm systemctl; do printf '#!/bin/sh\n' >fake/$tool; done
chmod +x fake/*
deps() {
	PATH=$S/fake:$PATH sh "$T/deps" "$@" </dev/null
}
is "$(DS_PACKAGES=ds-there deps build 2>&1)" "" "make deps is silent where nothing is missing"
ok "and installs nothing" test ! -e asked
said=$(DS_PACKAGES="ds-there ds-none ds-old-name/ds-new-name/ds-newer" deps build 2>&1)
like "$said" "^deps: installing ds-none ds-new-name \(.*, 12.3 MB to download\)$" "it says what it installs, and how much that is"
like "$(cat asked)" "^install .* ds-none ds-new-name$" "and asks for what is missing, by the name that there is"
/bin/rm asked
: >no-sudo
: >no-libraries
deps_fails() {
	! DS_PACKAGES="ds-none ds-old-name/ds-new-name" deps "$1" >said 2>&1
}
ok "without the right to install it fails if the build lacks something" deps_fails build
is "$(tail -n 1 said)" "  apt-get install ds-none ds-new-name" "with a line that apt takes"
/bin/rm no-libraries
is "$(DS_PACKAGES=ds-none deps build 2>&1)" "" "and goes on in silence if the build finds all that it needs"
like "$(DS_PACKAGES=ds-none deps test 2>&1)" "some tests are skipped without: ds-none$" "the tests name what they lack"
ok "nothing was installed meanwhile" test ! -e asked
/bin/rm no-sudo
: >no-network
: >no-libraries
ok "a failing apt-get is an error" deps_fails build
like "$(cat said)" "apt-get update failed" "which says what failed"
done_testing
