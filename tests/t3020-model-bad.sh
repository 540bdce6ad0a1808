#!/bin/sh
# only: asan leaks
# Checkpoints that are broken in one way each: one line that says where and what, status 1.
. "${0%/*}/lib.sh"
case $PATH in "$R"/build-asan/*) check=$R/build-asan/tests/checkmodel ;; *) check=$R/build/tests/checkmodel ;; esac

mkdir models
ok "checkpoints made from the golden ones" py "$T/badmodels.py" "$G" models
tab=$(printf '\t')
while IFS=$tab read -r name regex says; do
	fails_with 1 "^checkmodel: .*$regex" "refused: $says" "$check" open "models/$name"
done <models/bad
fails_with 1 "cannot open '.*/none': No such file" "refused: a folder that is not there" "$check" open "$S/none"

# --- what is no regular file is not waited for ---
LIMIT=20
put() { # put KIND PATH: in place of a file
	rm -f "$2"
	case $1 in
	FIFO) mkfifo "$2" ;;
	folder) mkdir "$2" ;;
	device) ln -s /dev/zero "$2" ;;
	socket) py -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$2" ;;
	esac
}
for kind in FIFO folder device socket; do
	for f in v3/config.json v3/generation_config.json v3/model.safetensors v3-plain/model.safetensors.index.json \
	    v3-plain/model-00001-of-00002.safetensors; do
		rm -rf odd
		cp -r "$G/${f%/*}" odd
		put $kind "odd/${f#*/}"
		fails_with 1 "^checkmodel: .*'odd/${f#*/}': not a regular file$" "a $kind in place of ${f#*/}" "$check" open odd
	done
done
rm -rf odd
cp -r "$G/v3" odd
ln -sf nowhere odd/generation_config.json
fails_with 1 "cannot open 'odd/generation_config.json': No such file" "a link to nothing is no missing file" "$check" open odd

# --- a file that is cut short while it is mapped ---
export DS_MODEL=$M
ds-tokenize "12+30=" | ds-embed >prompt
cut_short() { # cut_short PATH COMMAND...: the file at PATH is cut once COMMAND is ready, then COMMAND is given its input; its line, then its status
	cut_path=$1; shift
	rm -f in ready
	mkfifo in ready
	limited "$@" -r 9 9>ready >cut.out 2>cut.err &
	exec 7<>in
	read -r _ <ready
	truncate -s 8000 "$cut_path"
	cat prompt >&7
	exec 7>&-
	wait $!
	cut_status=$?
	cat cut.err
	echo "status $cut_status"
}
rm -rf m
cp -rL "$M" m
size=$(stat -c %s m/model.safetensors)
is "$(cut_short m/model.safetensors ds-block -m m -i in)" \
    "ds-block: 'm/model.safetensors': cut short while it was in use: $size bytes were mapped, the file has 8000
status 3" "a checkpoint that is cut short under a stage is one line, status 3"
cp -L "$M/model.safetensors" m
is "$(cut_short m/model.safetensors ds-block -m m -t 3 -l 0-1 -i in | grep -c .)" 2 "and one line only, whatever thread sees it"
done_testing
