#include "launch/dialog.h"

#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

int
dialog_open(struct dialog *c, const char *model)
{
	memset(c, 0, sizeof(*c));
	c->t = tokenizer_open(model);
	return c->t ? 0 : -1;
}

void
dialog_close(struct dialog *c)
{
	tokenizer_close(c->t);
	buf_free(&c->messages);
	buf_free(&c->answer);
	memset(c, 0, sizeof(*c));
}

/* NULs are dropped: ds-tokenize refuses JSON strings with NULs. */
static int
add_message(struct dialog *c, const char *role, const void *text, size_t n)
{
	struct buf clean = {0};
	size_t kept = 0;
	int r = utf8_clean(&clean, text, n);

	for (size_t i = 0; i < clean.n; i++)
		if (clean.p[i])
			clean.p[kept++] = clean.p[i];
	if (r == 0)
		r = buf_addf(&c->messages, "{\"role\": \"%s\", \"content\": ", role) < 0 ||
		    json_quote(&c->messages, (char *)clean.p, kept) < 0 ||
		    buf_addf(&c->messages, "},") < 0 ? -1 : 0;
	buf_free(&clean);
	return r;
}

int
dialog_add_question(struct dialog *c, struct buf *to, const char *text, size_t n)
{
	c->messages.n = c->answered;
	c->answer.n = 0;
	c->ended = 0;
	if (add_message(c, "user", text, n) < 0)
		return -1;
	return buf_addc(to, '[') < 0 || buf_add(to, c->messages.p, c->messages.n - 1) < 0 ||
	    buf_add(to, "]\n", 2) < 0 ? -1 : 0;
}

static int
add_id(struct dialog *c, int64_t id)
{
	size_t n;
	const char *bytes = tokenizer_bytes(c->t, id, &n);

	return bytes && !tokenizer_is_special(c->t, id) ? buf_add(&c->answer, bytes, n) : 0;
}

static int
add_ids(struct dialog *c, struct frame *f)
{
	const struct tensor *ids = frame_tensor(f, "ids");
	uint32_t row = 0;

	if (ids && (ids->dtype != I32 || ids->bytes != f->rows * sizeof(int32_t)))
		return 0;               /* ds-detokenize reports what is wrong with it */

	for (int i = 0; ids && i < f->nspans; i++) {
		for (uint32_t k = 0; k < span_tokens(&f->spans[i]); k++)
			if (add_id(c, ((const int32_t *)ids->data)[row + k]) < 0)
				return -1;
		row += f->spans[i].n;
	}
	return 0;
}

int
dialog_add_frame(struct dialog *c, struct frame *f)
{
	int last = 0;

	if (!c->t || c->ended)
		return 0;
	if (f->op == OP_ERROR || f->op == OP_FAILED) {
		c->ended = 1;
		return 0;
	}
	if (f->op != OP_NONE)
		return 0;
	for (int i = 0; i < f->nspans; i++)
		last |= f->spans[i].flags & SPAN_LAST;
	if (add_ids(c, f) < 0)
		return -1;
	if (!last)
		return 0;
	c->ended = 1;
	if (add_message(c, "assistant", c->answer.p, c->answer.n) < 0)
		return -1;
	c->answered = c->messages.n;
	return 0;
}

void
dialog_reset(struct dialog *c)
{
	c->messages.n = c->answered = 0;
}
