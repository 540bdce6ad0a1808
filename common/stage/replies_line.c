/*
 * The line of JSON of a reply.
 */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "base/json.h"
#include "base/utf8.h"
#include "stage/replies_internal.h"

void
reply_cut(struct reply *w)
{
	const unsigned char *stop = w->stops.bytes.p;
	size_t at = w->text.n, gone;

	for (int i = 0; i < w->stops.n; stop += w->stops.len[i++]) {
		size_t n = w->stops.len[i], from = w->before < n ? 0 : w->before - n + 1;
		unsigned char *p = w->text.n > from ?
		    memmem(w->text.p + from, w->text.n - from, stop, n) : NULL;

		if (p && (size_t)(p - w->text.p) < at)
			at = (size_t)(p - w->text.p);
	}
	gone = w->text.n - at;
	gone = gone < w->since ? gone : w->since;
	*(w->speech.reasoning ? &w->reasoning.n : &w->answer.n) -= gone;
	w->text.n = at;
}

static int
put_list(struct buf *to, const char *key, const int32_t *ids, size_t n)
{
	int r = buf_addf(to, ", \"%s\": [", key);

	for (size_t i = 0; i < n && r == 0; i++)
		r = buf_addf(to, "%s%d", i ? ", " : "", ids[i]);
	return r < 0 ? -1 : buf_addc(to, ']');
}

static int
put_ids(struct buf *to, const struct reply *w)
{
	int with = w->n > 0 || w->wants_logprobs, r;

	if (w->prompt && put_list(to, "prompt_ids", w->prompt, w->prompt_tokens) < 0)
		return -1;
	r = put_list(to, "ids", w->ids, w->n);
	for (size_t i = 0; i < w->n; i++)
		with &= !isnan(w->logprobs[i]);
	if (!with)
		return r;
	if (r == 0)
		r = buf_addf(to, ", \"logprobs\": [");
	for (size_t i = 0; i < w->n && r == 0; i++)
		r = buf_addf(to, isinf(w->logprobs[i]) ? "%snull" : "%s%.9g", i ? ", " : "",
		    (double)w->logprobs[i]);
	return r < 0 ? -1 : buf_addc(to, ']');
}

/* A key with its value, or null for text NULL.  */
static int
put_text(struct buf *to, const char *key, const void *text, size_t n)
{
	if (buf_addf(to, ", \"%s\": ", key) < 0)
		return -1;
	return text ? json_quote(to, text, n) : buf_addf(to, "null");
}

static int
put_buf(struct buf *to, const char *key, const struct buf *text)
{
	return put_text(to, key, text->n ? (const void *)text->p : "", text->n);
}

static int
put_known(struct buf *to, const char *key, const char *text)
{
	return put_text(to, key, *text ? text : NULL, strlen(text));
}

int
reply_line(const struct reply *w, const char *reason, const char *error, struct buf *to)
{
	struct buf why = {0};
	int r = buf_addf(to, "{\"id\": %s, \"index\": %llu", w->id,
	    (unsigned long long)w->index) < 0 ||
	    put_buf(to, "text", &w->text) < 0 ||
	    (w->thought ? put_buf(to, "reasoning", &w->reasoning) :
	    put_text(to, "reasoning", NULL, 0)) < 0 ||
	    put_buf(to, "answer", &w->answer) < 0 || put_ids(to, w) < 0 ||
	    buf_addf(to, ", \"finish_reason\": \"%s\"", reason) < 0 ? -1 : 0;

	if (r == 0 && error)
		r = utf8_clean(&why, error, strlen(error)) < 0 ||
		    put_buf(to, "error", &why) < 0 ? -1 : 0;
	buf_free(&why);
	return r < 0 ||
	    buf_addf(to, ", \"usage\": {\"prompt_tokens\": %llu, \"completion_tokens\": %zu}, "
	    "\"seed\": %llu", (unsigned long long)w->prompt_tokens, w->n,
	    (unsigned long long)w->seed) < 0 ||
	    put_known(to, "model", w->model) < 0 || put_known(to, "precision", w->precision) < 0 ||
	    buf_addf(to, "}\n") < 0 ? -1 : 0;
}
