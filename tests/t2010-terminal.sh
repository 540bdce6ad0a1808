#!/bin/sh
# A terminal is no place for frames, only for text.
. "${0%/*}/lib.sh"

# at COMMAND...: what it prints with a terminal as standard input, output and error, and its status
at() {
	py - "$@" <<'EOP'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
text = b""
while True:
    try:
        piece = os.read(fd, 65536)
    except OSError:
        break
    if not piece:
        break
    text += piece
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.write(text.decode("utf-8", "replace").replace("\r\n", "\n") + "status %d\n" % status)
EOP
}

is "$(at ds-tokenize -m "$M" hi)" "ds-tokenize: standard output is a terminal: frames are binary, use a pipe or a file (ds-dump prints frames)
status 2" "no frame is written to a terminal"
is "$(at ds-dump | sed 's/: frames are.*//')" "ds-dump: standard input is a terminal
status 2" "nobody waits for frames from a terminal"
is "$(at ds-block -m "$M" -i - -o /dev/null | sed 's/: frames are.*//')" "ds-block: standard input is a terminal
status 2" "nor does a stage"
is "$(at ds-dump -i /dev/tty | sed 's/: frames are.*//')" "ds-dump: /dev/tty is a terminal
status 2" "by whatever name"
is "$(at sh -c 'ds-tokenize -m "$M" hi | ds-dump -f ids' | grep -Ec '^[0-9 ]+$|^status 0')" 2 "text is printed on one"
done_testing
