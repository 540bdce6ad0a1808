#include "stage/mlp.h"

#include <stdatomic.h>
#include <string.h>

#include "stage/linear.h"

int
mlp_open(struct mlp *m, struct model *model, enum role gate, int layer, int expert)
{
	return model_weight(model, gate, layer, expert, &m->gate) < 0 ||
	    model_weight(model, gate + 1, layer, expert, &m->up) < 0 ||
	    model_weight(model, gate + 2, layer, expert, &m->down) < 0 ? -1 : 0;
}

struct piece {                  /* some rows of a part */
	const struct mlp_rows *of;
	int from, n;
	ptrdiff_t at;           /* the first of them in the job's x and y */
	float *gate, *up;       /* [n][width] each */
	size_t units;           /* of all pieces up to this one's end, LINEAR_GRAIN of width each */
};

struct job {
	const struct kernels *k;
	struct piece piece[MLP_PIECES];
	int pieces, D;
	ptrdiff_t rows;         /* of all */
	size_t inner;           /* floats of all gate and up */
	double macs;            /* of gate and up */
	const float *from;
	float *x, *y;           /* [rows][D] */
	int64_t *acc;
	atomic_int bad;         /* the first row that was refused; rows: none */
};

static void
gather(void *arg, size_t from, size_t to, int thread)
{
	const struct job *j = arg;
	size_t D = (size_t)j->D;

	(void)thread;
	for (const struct piece *p = j->piece; p < j->piece + j->pieces; p++)
		for (size_t i = 0; i < (size_t)p->n; i++)
			if ((size_t)p->at + i >= from && (size_t)p->at + i < to)
				memcpy(j->x + ((size_t)p->at + i) * D, j->from + (size_t)p->of->row[(size_t)p->from + i] * D,
				    D * sizeof(*j->x));
}

/* The inner units from .. to-1 of a piece. */
static void
inner_piece(const struct job *j, const struct piece *p, int from, int to)
{
	const struct mlp *m = p->of->m;
	ptrdiff_t D = j->D, width = m->gate.rows;
	const float *x = j->x + p->at * D;

	j->k->matmul(p->gate, width, x, D, p->n, &m->gate, from, to);
	j->k->matmul(p->up, width, x, D, p->n, &m->up, from, to);
	for (ptrdiff_t i = 0; i < p->n; i++)
		j->k->silu_mul(p->gate + i * width + from, p->up + i * width + from, to - from);
}

/* from, to: units of LINEAR_GRAIN, counted through all pieces. */
static void
inner(void *arg, size_t from, size_t to, int thread)
{
	const struct job *j = arg;
	size_t begin = 0;

	(void)thread;
	for (const struct piece *p = j->piece; p < j->piece + j->pieces && begin < to; begin = p++->units) {
		size_t a = from > begin ? from - begin : 0, b = (to < p->units ? to : p->units) - begin;
		int width = p->of->m->gate.rows, end = (int)b * LINEAR_GRAIN;

		if (p->units > from)
			inner_piece(j, p, (int)a * LINEAR_GRAIN, end < width ? end : width);
	}
}

/* The outputs from .. to-1 of all rows, added to the sums. */
static void
outer(void *arg, size_t from, size_t to, int thread)
{
	struct job *j = arg;
	ptrdiff_t D = j->D, at = (ptrdiff_t)from;

	(void)thread;
	for (const struct piece *p = j->piece; p < j->piece + j->pieces; p++) {
		const struct mlp *m = p->of->m;
		float *y = j->y + p->at * D;

		j->k->matmul(y, D, p->gate, m->gate.rows, p->n, &m->down, (int)from, (int)to);
		for (int i = 0; i < p->n; i++) {
			int seen = atomic_load(&j->bad), row = (int)p->at + i;

			if (j->k->fixed_add(j->acc + p->of->row[p->from + i] * D + at, y + i * D + at, p->of->w[p->from + i],
			    (int)(to - from)) < 0)
				while (row < seen && !atomic_compare_exchange_weak(&j->bad, &seen, row))
					;
		}
	}
}

/* Copy what a piece has added. */
static void
piece_tap(const struct job *j, const struct piece *p)
{
	ptrdiff_t D = j->D;

	for (ptrdiff_t i = 0; i < p->n; i++) {
		float *to = p->of->tap + p->of->slot[p->from + i] * D;

		memcpy(to, j->y + (p->at + i) * D, (size_t)D * sizeof(*to));
		j->k->scale(to, p->of->w[p->from + i], (int)D);
	}
}

/* -1: done; else the first row that was refused; -2 and a message. */
static int
job_run(const struct stage *s, struct job *j, struct scratch *memory)
{
	size_t D = (size_t)j->D, units = j->pieces ? j->piece[j->pieces - 1].units : 0;
	float *rest;

	if (j->rows == 0)
		return -1;
	j->x = scratch_reserve(memory, (size_t)j->rows * 2 * D + j->inner, sizeof(*j->x));
	if (!j->x)
		return -2;
	j->y = j->x + (size_t)j->rows * D;
	rest = j->y + (size_t)j->rows * D;
	for (struct piece *p = j->piece; p < j->piece + j->pieces; p++) {
		size_t n = (size_t)p->n * (size_t)p->of->m->gate.rows;

		p->gate = rest;
		p->up = rest + n;
		rest += 2 * n;
	}
	atomic_store(&j->bad, (int)j->rows);
	pool_run(s->pool, (size_t)j->rows, 1, (double)D, gather, j);
	pool_run(s->pool, units, 1, j->macs / (double)units, inner, j);
	pool_run(s->pool, D, LINEAR_GRAIN, j->macs / 2 / (double)D, outer, j);
	if (atomic_load(&j->bad) < j->rows)
		return atomic_load(&j->bad);
	for (int i = 0; i < j->pieces; i++)
		if (j->piece[i].of->tap)
			piece_tap(j, &j->piece[i]);
	return -1;
}

/* Take rows of a part from *at on. */
static void
job_take(struct job *j, const struct mlp_rows *r, int *at)
{
	int left = r->n - *at, width = r->m->gate.rows;
	struct piece *p = &j->piece[j->pieces];

	*p = (struct piece){.of = r, .from = *at, .n = left < MLP_ROWS ? left : MLP_ROWS, .at = j->rows};
	p->units = (j->pieces ? p[-1].units : 0) + ((size_t)width + LINEAR_GRAIN - 1) / LINEAR_GRAIN;
	j->pieces++;
	j->rows += p->n;
	j->inner += 2 * (size_t)p->n * (size_t)width;
	j->macs += 2.0 * p->n * width * j->D;
	*at += p->n;
}

int
mlp_add(const struct stage *s, const struct mlp_rows *parts, int nparts, struct scratch *memory, int64_t *acc,
    const float *x, int *row)
{
	for (int i = 0, at = 0; i < nparts; ) {
		struct job j = {.k = s->k, .acc = acc, .from = x, .D = parts[i].m->down.rows};
		int bad;

		while (i < nparts && j.pieces < MLP_PIECES && j.rows < MLP_ROWS) {
			if (at < parts[i].n)
				job_take(&j, &parts[i], &at);
			if (at == parts[i].n)
				at = 0, i++;
		}
		bad = job_run(s, &j, memory);
		for (const struct piece *p = j.piece; bad >= 0 && p < j.piece + j.pieces; p++)
			if (bad < p->at + p->n) {
				*row = p->from + bad - (int)p->at;
				return (int)(p->of - parts);
			}
		if (bad == -2)
			return -2;
	}
	return -1;
}
