/*
 * Short prompts do not wait for the whole prefill of a long one.
 *
 * If the first prompt alone would fill the batch, a quarter of the rows goes to the prompts after
 * it, those with the fewest rows first (Schrage and Miller 1966, shortest remaining processing
 * time).  The first one has the other rows, so that it advances in every batch, and each prompt
 * becomes the first one in its turn.
 *
 * Only answers of requests may change places: their lines name the request, and other text is
 * printed in the order of the prompts.  Nothing overtakes a frame that is forwarded, an earlier
 * item of its sequence, or the end of an earlier sequence with the same id.
 */
#include "stage/embed_internal.h"

#define LOOK 1024               /* items that are looked at */
#define SHARE 4                 /* of so many rows one is for other prompts than the first */
#define READ 32                 /* prompts that are read, if all are long */

static int
is_request(const struct embed *e, const struct embed_item *p)
{
	const struct embed_seq *s = p->kind == ITEM_ROWS ? seq_find(e, p->span.seq) : NULL;

	return s && s->request && !p->source->own;
}

static int
first_is_long(const struct embed *e, uint32_t room)
{
	const struct embed_queue *q = &e->prompts;

	return q->first < q->n && q->p[q->first].span.n > room &&
	    is_request(e, &q->p[q->first]);
}

uint32_t
fair_rows(const struct embed *e, uint64_t room)
{
	return room <= e->batch && first_is_long(e, (uint32_t)room) ? (uint32_t)room / SHARE : 0;
}

int
fair_reads(const struct embed *e)
{
	const struct embed_queue *q = &e->prompts;
	uint32_t most = e->batch / READ + 1;
	uint64_t rows = q->rows;

	if (rows < e->batch || !first_is_long(e, e->batch))
		return rows < e->batch;
	rows = 0;
	for (size_t i = q->first; i < q->n && rows < e->batch; i++)
		rows += q->p[i].span.n < most ? q->p[i].span.n : most;
	return rows < e->batch;
}

int
fair_list(struct embed *e, size_t list[FAIR_MAX])
{
	const struct embed_queue *q = &e->prompts;
	size_t end = q->n - q->first > LOOK ? q->first + LOOK : q->n;
	int n = 0;

	e->looks++;
	for (size_t i = q->first; i < end && q->p[i].kind != ITEM_FRAME; i++) {
		const struct embed_item *p = &q->p[i];
		struct embed_seq *s = seq_find(e, p->span.seq);
		int seen = s && s->look == e->looks, at;

		if (s)
			s->look = e->looks;
		if (i == q->first || seen || p->span.n == 0 || !is_request(e, p))
			continue;
		for (at = n; at > 0 && q->p[list[at - 1]].span.n > p->span.n; at--)
			if (at < FAIR_MAX)
				list[at] = list[at - 1];
		if (at < FAIR_MAX)
			list[at] = i;
		n += n < FAIR_MAX;
	}
	return n;
}
