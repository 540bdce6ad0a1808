#include "stage/speech.h"

#include "base/fail.h"
#include "base/utf8.h"

struct speech_rules
speech_rules(const struct tokenizer *t)
{
	return (struct speech_rules){.t = t, .think = tokenizer_id(t, "<think>"),
	    .unthink = tokenizer_id(t, "</think>")};
}

static int
settle(struct speech *s, int all, enum speech_kind kind, speech_fn *fn, void *arg)
{
	struct buf clean = {0};
	size_t n = 0, len;
	int r;

	while (n < s->part.n &&
	    (utf8_next(s->part.p + n, s->part.n - n, &len) != UTF8_SHORT || all))
		n += len;
	r = utf8_clean(&clean, s->part.p, n);
	if (r == 0 && clean.n > 0)
		r = fn(arg, kind, clean.p, clean.n);
	if (r == 0 && n > 0)
		buf_drop(&s->part, n);
	buf_free(&clean);
	return r;
}

int
speech_settle(struct speech *s, int all, speech_fn *fn, void *arg)
{
	return settle(s, all, s->reasoning ? SPEECH_REASONING : SPEECH_ANSWER, fn, arg);
}

int
speech_add(const struct speech_rules *r, struct speech *s, int64_t id, speech_fn *fn, void *arg)
{
	size_t n;
	const char *bytes = tokenizer_bytes(r->t, id, &n);
	int opens = id == r->think, closes = id == r->unthink;

	if (!bytes)
		return fail(FAIL_DATA, "the vocabulary has no id %lld", (long long)id);
	if (tokenizer_is_special(r->t, id) && !r->special)
		n = 0;
	if (!opens && !closes)
		return buf_add(&s->part, bytes, n);
	if (speech_settle(s, 1, fn, arg) < 0)
		return -1;
	s->reasoning |= opens;          /* the markers belong to the reasoning */
	if (buf_add(&s->part, bytes, n) < 0 ||
	    settle(s, 1, s->reasoning ? SPEECH_MARKER : SPEECH_ANSWER, fn, arg) < 0)
		return -1;
	if (closes)
		s->reasoning = 0;
	return 0;
}
