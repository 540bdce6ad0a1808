/*
 * The queues of ds-embed.
 */
#include <stdlib.h>
#include <string.h>

#include "stage/embed_internal.h"

void
embed_release(struct embed_source *s)
{
	if (--s->refs > 0)
		return;
	if (s->held)
		*s->held -= sizeof(*s) + s->f.nraw;
	frame_free(&s->f);
	free(s->params);
	free(s->claimed);
	free(s);
}

/* 1 if a sequence's end must not overtake the item.  */
static int
waits(const struct embed_item *p)
{
	return p->prefix && (p->kind == ITEM_ROWS || p->kind == ITEM_FRAME);
}

int
embed_push(struct embed_queue *q, struct embed_item p)
{
	if (q->first > 0 && q->n == q->cap) {
		memmove(q->p, q->p + q->first, (q->n - q->first) * sizeof(q->p[0]));
		q->n -= q->first;
		q->first = 0;
	}
	if (mem_grow(&q->p, &q->cap, q->n + 1, sizeof(q->p[0])) < 0)
		return -1;
	if (p.source)
		p.source->refs++;
	if (waits(&p))
		p.prefix->queued++;
	q->rows += p.span.n;
	q->p[q->n++] = p;
	return 0;
}

int
embed_unshift(struct embed_queue *q, struct embed_item p)
{
	if (q->first == 0) {
		if (mem_grow(&q->p, &q->cap, q->n + 1, sizeof(q->p[0])) < 0)
			return -1;
		memmove(q->p + 1, q->p, q->n * sizeof(q->p[0]));
		q->first++;
		q->n++;
	}
	q->p[--q->first] = p;
	q->rows += p.span.n;
	return 0;
}

void
embed_drop(struct embed_queue *q)
{
	struct embed_item *p = &q->p[q->first];

	q->rows -= p->span.n;
	if (waits(p))
		p->prefix->queued--;
	if (p->source)
		embed_release(p->source);
	free(p->text);
	if (++q->first == q->n)
		q->first = q->n = 0;
}

void
embed_pop(struct embed_queue *q, size_t i, uint32_t n)
{
	struct embed_item *p = &q->p[i], item;

	q->rows -= n;
	p->span.n -= n;
	p->span.pos += n;
	p->row += n;
	p->params = -1;                 /* they went with these */
	if (p->span.n > 0)
		return;
	item = *p;
	memmove(&q->p[q->first + 1], &q->p[q->first], (i - q->first) * sizeof(item));
	q->p[q->first] = item;
	embed_drop(q);
}
