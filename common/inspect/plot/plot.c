#include "inspect/plot/plot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/plot/svg.h"

static const struct plot_kind *const kinds[] = {&plot_norm, &plot_load, &plot_probs, &plot_surprise, &plot_trace};

int
plot_open(struct plot *p, const char *name)
{
	memset(p, 0, sizeof(*p));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i]->name, name) == 0)
			p->kind = kinds[i];
	if (!p->kind)
		return fail(FAIL_USAGE, "-f '%s': give norm, load, probs, surprise or trace", name);
	p->state = mem_new(1, p->kind->size);
	return p->state ? 0 : -1;
}

int
plot_frame(struct plot *p, struct frame *f)
{
	return f->op == OP_NONE ? p->kind->frame(p, f) : 0;
}

int
plot_draw(struct plot *p, FILE *to)
{
	int r = p->kind->draw(p, to);

	if (r == 0)
		return fail(FAIL_DATA, "nothing to draw%s: %s", select_is_set(&p->select) ?
		    " of what the options select" : "", p->kind->input);
	return r < 0 ? -1 : 0;
}

void
plot_close(struct plot *p)
{
	if (p->state)
		p->kind->free(p->state);
	free(p->state);
	select_free(&p->select);
	ranges_free(&p->heads);
	memset(p, 0, sizeof(*p));
}

int
plot_next(const struct frame *f, struct plot_row *r)
{
	r->row += r->started;
	r->in += r->started;
	r->started = 1;
	while (r->span < (uint32_t)f->nspans && r->in >= f->spans[r->span].n) {
		r->span++;
		r->in = 0;
	}
	if (r->span >= (uint32_t)f->nspans)
		return 0;
	r->seq = f->spans[r->span].seq;
	r->pos = f->spans[r->span].pos + r->in;
	return 1;
}

const char *
plot_missing(const struct plot *p, char *buf, size_t size)
{
	*buf = 0;
	if (p->missing)
		snprintf(buf, size, ", %" PRIu64 " not finite and left out", p->missing);
	return buf;
}

int
plot_token(const struct plot *p, int64_t id, int max, struct buf *b)
{
	const char *s = NULL;
	size_t n;

	b->n = 0;
	if (p->tokens)
		s = tokenizer_bytes(p->tokens, id, &n);
	return svg_token(b, s ? s : "", s ? n : 0, max);
}
