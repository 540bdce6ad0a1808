#!/bin/sh
# A fresh clone builds and installs, and what was installed works from where it is.
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
make -s -C clone -j2 CUDA=0 install PREFIX=/opt/ds DESTDIR="$S/root" >made 2>&1
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
rm -rf clone    # nothing that was installed needs it
LIMIT=60

to=$S/root/opt/ds
(cd "$to" && find . -type f | sort) >installed
{
	for p in $programs; do echo "./bin/$p"; done
	echo ./lib/dspipe/libdspipe-cuda.so
	for page in "$R"/man/*.[1-9]; do echo "./share/man/man${page##*.}/${page##*/}"; done
} | sort >expected
diff expected installed >difference
report $? "every program and page is installed, and nothing else" difference
is "$(cd "$to" && find bin lib -type f ! -perm -755; find share -type f ! -perm -644)" "" "everybody may use them"

PATH=$to/bin:$(printf '%s' "$PATH" | tr : '\n' | grep -v "^$R/" | paste -sd: -)
for p in $programs; do
	[ "$(command -v "$p")" = "$to/bin/$p" ] && [ "$("$p" -V | cut -d' ' -f1)" = "$p" ] || echo "$p"
done >wrong
is "$(cat wrong)" "" "every installed program starts"
ok "an installed pipeline answers" pipe 'mkfifo loop; ds-tokenize -m $M -c "What is 12 + 30?" | ds-embed -m $M -i - -i loop |
    ds-block -m $M | ds-head -m $M | ds-sample -m $M -g | tee loop | ds-detokenize -m $M >answer'
like "$(tail -1 answer)" '^42$' "and it is right"
for cut in fused stage; do
	is "$("$to/bin/ds-run" -m "$M" -q -g -x $cut "What is 12 + 30?" 2>&1)" 42 "so does ds-run -x $cut from there"
done
is "$(PATH=/usr/bin:/bin "$to/bin/ds-run" -m "$M" -q -g "What is 12 + 30?" 2>&1)" 42 "ds-run finds its neighbours without PATH"
if command -v man >man.where; then
	like "$(MANPATH=$to/share/man MANPAGER=cat man dspipe 2>/dev/null)" "pipeline of programs" "man finds the pages"
fi

# make deps: with an apt-get that only writes down what it is asked for
mkdir fake
printf '#!/bin/sh\necho "$@" >>%s/asked\n' "$S" >fake/apt-get
printf '#!/bin/sh\ntest "$2" = ds-new-name\n' >fake/apt-cache
printf '#!/bin/sh\nexec "$@"\n' >fake/sudo
chmod +x fake/*
if command -v dpkg-query >dpkg.where; then
	is "$(PATH=$S/fake:$PATH make -s -C "$R" deps 2>&1)" "" "make deps is silent where nothing is missing"
	ok "and installs nothing" test ! -e asked
	is "$(PATH=$S/fake:$PATH make -s -C "$R" deps TOOLS="ds-no-such ds-old-name/ds-new-name/ds-newer" 2>&1)" \
	    "installing ds-no-such ds-old-name/ds-new-name/ds-newer" \
	    "make deps says what it installs"
	like "$(cat asked)" "^install .* ds-no-such ds-new-name$" "and asks for what is missing, by the name that there is"
else
	skip "make deps" "no Debian here"
fi
done_testing
