#!/bin/sh
# Folders depend downwards only, as #include lines show.
# check: yes
. "${0%/*}/lib.sh"
is "$("$PY" "$T/includes.py" "$R")" "" "no include runs upward, none makes a cycle, and kernels include nothing of common/"

# the check itself: what it is to find is found
mkdir -p kernels/cpu common/base common/frame common/stage common/inspect/diff common/inspect/plot common/new cmd
graph() {       # graph FILE INCLUDED DESC REGEX
	echo "#include \"$2\"" >"$1"
	like "$("$PY" "$T/includes.py" "$S")" "$4" "$3"
	rm "$1"
}
for f in kernels/kernels.h common/base/fail.h common/frame/frame.h common/frame/crc.h common/stage/stage.h common/inspect/diff/diff.h \
    common/inspect/rows.h cmd/options.h; do
	: >$f
done
is "$("$PY" "$T/includes.py" "$S")" "" "folders without includes are right"
echo '#include "base/fail.h"' >common/frame/frame.h
graph common/base/a.c stage/stage.h "an arrow upward is found" '^common/base -> common/stage: runs upward: common/base/a.c$'
graph common/stage/run.c options.h "one to the programs as well" '^common/stage -> cmd: runs upward'
graph kernels/cpu/dot.c base/fail.h "kernels that include common are found" '^kernels/cpu -> common/base: kernels include nothing outside'
graph common/inspect/rows.c inspect/diff/diff.h "what tools share includes no tool" 'a folder includes nothing of the folders in it'
graph common/inspect/plot/plot.c inspect/diff/diff.h "a tool includes no other" 'tools share what is in the folder above'
graph common/new/new.c base/fail.h "a folder without a layer is found" '^common/new: has no layer'
graph common/base/a.c base/none.h "an include of nothing is found" "^common/base/a.c: includes 'base/none.h', which is nowhere$"
mkdir common/weights
echo '#include "frame/frame.h"' >common/weights/weights.h
graph common/frame/frame.h weights/weights.h "a cycle within a layer is found" '^a cycle: common/frame -> common/weights -> common/frame$'
: >common/weights/weights.h
mkdir common/token
echo '#include "weights/weights.h"' >common/token/token.h
is "$("$PY" "$T/includes.py" "$S")" "" "tokenizers read files of weights"
done_testing
