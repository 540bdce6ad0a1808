#include "inspect/score/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/select.h"
#include "stage/logprob.h"

#define LLU(x) (unsigned long long)(x)

struct logits {                 /* of one row */
	const float *x;         /* [n], or NULL: none */
	uint64_t n;
	uint32_t pos;
};

struct scored {
	double loglik;          /* NaN: the previous row had no logits */
	uint32_t pos;
};

/* Guesses of a draft, which count once a later row shows that they were right.  */
struct guesses {
	uint32_t pos, n;                /* their positions */
	int32_t *ids;                   /* [n] */
	float *x;                       /* [n][vocab] their logits */
	uint64_t vocab;                 /* 0: there are no logits */
	size_t ids_cap, x_cap;
};

struct score_seq {
	uint64_t id;                    /* key of `live` */
	struct score_seq *prev, *next;
	struct logits before;           /* of the previous row */
	float *kept;                    /* [cap] copy of them once their frame is freed */
	size_t cap;
	struct scored *tokens;          /* [n] ascending by position */
	size_t n, tokens_cap;
	struct guesses guesses;
};

static struct score_seq *
seq_get(struct score *s, uint64_t id)
{
	struct score_seq *q = table_get(&s->live, &id, sizeof(id));

	if (q || !(q = mem_new(1, sizeof(*q))))
		return q;
	q->id = id;
	if (table_put(&s->live, &q->id, sizeof(q->id), q) < 0) {
		free(q);
		return NULL;
	}
	q->prev = s->last;
	*(s->last ? &s->last->next : &s->first) = q;
	s->last = q;
	return q;
}

static void
seq_drop(struct score *s, struct score_seq *q)
{
	(void)table_del(&s->live, &q->id, sizeof(q->id));
	*(q->prev ? &q->prev->next : &s->first) = q->next;
	*(q->next ? &q->next->prev : &s->last) = q->prev;
	free(q->kept);
	free(q->tokens);
	free(q->guesses.ids);
	free(q->guesses.x);
	free(q);
}

/* --- one row of logits --- */

/* 1 if a is likelier than b; ties go to the lower id. */
static int
likelier(const struct logits *l, uint64_t a, uint64_t b)
{
	return l->x[a] > l->x[b] || (l->x[a] == l->x[b] && a < b);
}

/* Find the likeliest tokens, in order. Returns their number. */
static int
find_top(const struct logits *l, int max, uint64_t *top)
{
	int n = 0;

	for (uint64_t i = 0; i < l->n; i++) {
		int at = n;

		if (n == max && !likelier(l, i, top[n - 1]))
			continue;
		for (at = n < max ? n++ : n - 1; at > 0 && likelier(l, i, top[at - 1]); at--)
			top[at] = top[at - 1];
		top[at] = i;
	}
	return n;
}

static void
put_text(const struct score *s, uint64_t id)
{
	size_t n;
	const char *bytes = s->t ? tokenizer_bytes(s->t, (int64_t)id, &n) : NULL;

	if (bytes)
		record_put_string(s->r, bytes, n);
	else
		s->r->pad -= fprintf(s->r->to, s->r->json ? "null" : "-");
}

static void
print_top(struct score *s, const struct logits *l, double norm)
{
	struct record *r = s->r;
	uint64_t top[SCORE_TOP_MAX];
	int n = l->x && s->top > 0 ? find_top(l, s->top, top) : 0;

	record_field(r);
	fputs(r->json ? "[" : n ? "" : "-", r->to);
	for (int i = 0; i < n; i++) {
		fprintf(r->to, r->json ? "%s{\"id\": %llu, \"logprob\": " : "%s%llu:", i == 0 ? "" : r->json ? ", " : " ", LLU(top[i]));
		record_put_number(r, logprob_of(l->x, top[i], norm), 6);
		if (s->t) {
			fputs(r->json ? ", \"text\": " : ":", r->to);
			put_text(s, top[i]);
		}
		fputs(r->json ? "}" : "", r->to);
	}
	fputs(r->json ? "]" : "", r->to);
}

/* l: logits for that position; norm: their logprob_norm. */
static void
print_token(struct score *s, const struct score_seq *q, const struct scored *t, int32_t id, const struct logits *l, double norm)
{
	static const char columns[] = "token seq  pos    id     logprob      rank   text         top";
	struct record *r = s->r;
	int64_t rank = l->x ? 1 : -1;

	for (uint64_t i = 0; l->x && i < l->n; i++)
		rank += likelier(l, i, (uint64_t)id);
	record_begin(r, columns);
	record_uint(r, q->id);
	record_uint(r, t->pos);
	record_int(r, id);
	record_number(r, t->loglik, 6);
	record_int(r, rank);
	record_field(r);
	put_text(s, (uint64_t)id);
	print_top(s, l, norm);
	record_end(r);
}

/* --- sequences --- */

static void
print_sum(struct record *r, const struct score_sum *s)
{
	double mean = s->scored ? s->loglik / (double)s->scored : NAN;

	record_uint(r, s->tokens);
	record_uint(r, s->scored);
	record_number(r, s->loglik, 9);
	record_number(r, mean, 6);
	record_number(r, fixed_exp(-mean), 6);
	record_end(r);
}

static void
print_seq(struct score *s, const struct score_seq *q)
{
	static const char columns[] = "sequence seq  tokens scored loglik        mean       perplexity";
	struct score_sum sum = {1, q->n, 0, 0};

	for (size_t i = 0; i < q->n; i++)
		if (!isnan(q->tokens[i].loglik)) {
			sum.scored++;
			sum.loglik += q->tokens[i].loglik;
		}
	record_begin(s->r, columns);
	record_uint(s->r, q->id);
	print_sum(s->r, &sum);
	s->total.sequences++;
	s->total.tokens += sum.tokens;
	s->total.scored += sum.scored;
	s->total.loglik += sum.loglik;
}

/* Score the token at pos. */
static int
add_token(struct score *s, struct score_seq *q, uint32_t pos, int32_t id)
{
	struct logits none = {0}, *l = q->before.x && pos > 0 && q->before.pos == pos - 1 ? &q->before : &none;
	struct scored *t;
	double norm = 0;

	while (q->n > 0 && q->tokens[q->n - 1].pos >= pos)      /* rolled back */
		q->n--;
	if (id < 0)
		return fail(FAIL_DATA, "position %u: id %d is negative", pos, id);
	if (l->x && (uint64_t)id >= l->n)
		return fail(FAIL_DATA, "position %u: id %d has no logit: the last one is of %llu", pos, id, LLU(l->n - 1));
	if ((l->x && logprob_norm(s->k, l->x, l->n, l->pos, &norm) < 0) ||
	    mem_grow(&q->tokens, &q->tokens_cap, q->n + 1, sizeof(*q->tokens)) < 0)
		return -1;
	t = &q->tokens[q->n++];
	*t = (struct scored){l->x ? logprob_of(l->x, (uint64_t)id, norm) : NAN, pos};
	if (s->tokens)
		print_token(s, q, t, id, l, norm);
	return 0;
}

/* Copy the logits that are still needed before their frame is freed. */
static int
keep_logits(struct score_seq *q)
{
	if (!q->before.x || q->before.x == q->kept)
		return 0;
	if (mem_grow(&q->kept, &q->cap, q->before.n, sizeof(*q->kept)) < 0)
		return -1;
	memcpy(q->kept, q->before.x, q->before.n * sizeof(*q->kept));
	q->before.x = q->kept;
	return 0;
}

static int
fork_seq(struct score *s, const struct frame *f)
{
	struct score_seq *from = table_get(&s->live, &f->from, sizeof(f->from)), *to = table_get(&s->live, &f->to, sizeof(f->to));

	if (from == to)
		return 0;
	if (to)
		seq_drop(s, to);
	if (!from || !from->before.x || f->fork_n == 0 || from->before.pos != f->fork_n - 1)
		return 0;
	if (!(to = seq_get(s, f->to)))
		return -1;
	to->before = from->before;
	return keep_logits(to);
}

/* --- frames --- */

/* The logits of a frame: row[i] is the row of logits i, of n. */
struct logit_rows {
	const struct tensor *logits;
	uint32_t *row;
	uint64_t n, next;
};

static int
find_logits(struct frame *f, struct logit_rows *w)
{
	struct tensor *t = frame_tensor(f, "logits");
	int r;

	memset(w, 0, sizeof(*w));
	if (!t)
		return 0;
	if (t->dtype != F32 || t->rank != 2 || t->shape[1] == 0)
		return fail(FAIL_DATA, "tensor 'logits' is not F32 of two dimensions");
	r = select_rows_of(f, t, &w->row);
	if (r == 0)
		return fail(FAIL_DATA, "tensor 'logits' does not have the rows that 'row' lists");
	w->logits = t;
	w->n = t->shape[0];
	return r < 0 ? -1 : 0;
}

/* Keep what follows the tokens of a span, until the next one.  */
static int
keep_guesses(struct score_seq *q, const struct span *p, const int32_t *ids, uint32_t first,
    struct logit_rows *w)
{
	struct guesses *g = &q->guesses;
	uint32_t tokens = span_tokens(p);

	g->pos = p->pos + tokens;
	g->n = p->n - tokens;
	if (g->n == 0)
		return 0;
	first += tokens;
	g->vocab = w->n - w->next >= g->n && w->row[w->next] == first &&
	    w->row[w->next + g->n - 1] == first + g->n - 1 ? w->logits->shape[1] : 0;
	if (mem_grow(&g->ids, &g->ids_cap, g->n, sizeof(*g->ids)) < 0 ||
	    mem_grow(&g->x, &g->x_cap, g->n * g->vocab, sizeof(*g->x)) < 0)
		return -1;
	memcpy(g->ids, ids + first, g->n * sizeof(*g->ids));
	if (g->vocab > 0)
		memcpy(g->x, (const float *)w->logits->data + g->vocab * w->next,
		    g->n * g->vocab * sizeof(*g->x));
	while (w->next < w->n && w->row[w->next] < first + g->n)
		w->next++;
	return 0;
}

/* Guesses before pos were right.  */
static int
settle(struct score *s, struct score_seq *q, uint32_t pos)
{
	struct guesses *g = &q->guesses;

	for (uint32_t i = 0; i < g->n && g->pos + i < pos; i++) {
		if (add_token(s, q, g->pos + i, g->ids[i]) < 0)
			return fail_in("sequence %llu", LLU(q->id));
		q->before = (struct logits){.pos = g->pos + i, .n = g->vocab,
		    .x = g->vocab ? g->x + i * g->vocab : NULL};
		if (keep_logits(q) < 0)
			return -1;
	}
	g->n = 0;
	return 0;
}

static int
add_span(struct score *s, const struct span *p, const int32_t *ids, uint32_t first, struct logit_rows *w)
{
	struct score_seq *q = seq_get(s, p->seq);

	if (!q || settle(s, q, p->pos) < 0)
		return -1;
	for (uint32_t i = 0; i < span_tokens(p); i++) {
		if (add_token(s, q, p->pos + i, ids[first + i]) < 0)
			return fail_in("sequence %llu", LLU(p->seq));
		q->before = (struct logits){.pos = p->pos + i};
		if (w->next < w->n && w->row[w->next] == first + i) {
			q->before.n = w->logits->shape[1];
			q->before.x = (const float *)w->logits->data + q->before.n * w->next++;
		}
	}
	return keep_logits(q) < 0 ? -1 : keep_guesses(q, p, ids, first, w);
}

static int
add_rows(struct score *s, struct frame *f)
{
	const struct tensor *ids = frame_require(f, "ids", I32, f->rows, 0);
	struct logit_rows w;
	uint32_t row = 0;
	int r = ids ? find_logits(f, &w) : -1;

	if (!ids)
		return -1;
	for (int i = 0; i < f->nspans && r == 0; i++) {
		r = f->spans[i].n > 0 ? add_span(s, &f->spans[i], ids->data, row, &w) : 0;
		row += f->spans[i].n;
	}
	free(w.row);
	if (r == 0 && w.next != w.n)
		return fail(FAIL_DATA, "tensor 'row' does not ascend");
	return r;
}

/* Print sequences that were not freed; another stream may use their ids again. */
static void
print_live(struct score *s)
{
	while (s->first) {
		print_seq(s, s->first);
		seq_drop(s, s->first);
	}
}

int
score_frame(struct score *s, struct frame *f)
{
	struct score_seq *q;

	if (frame_frees(f) && (q = table_get(&s->live, &f->seq, sizeof(f->seq)))) {
		if (f->op == OP_FREE)
			print_seq(s, q);
		seq_drop(s, q);
	}
	s->failed += f->op == OP_FAILED;
	if (f->op == OP_FORK)
		return fork_seq(s, f);
	if (f->op == OP_END)
		print_live(s);
	if (f->op != OP_NONE || f->nspans == 0)
		return 0;
	if (f->at != AT_SAMPLE)
		return frame_stray(f, "");
	return add_rows(s, f);
}

void
score_end(struct score *s)
{
	static const char columns[] = "total sequences tokens scored loglik        mean       perplexity";

	print_live(s);
	record_begin(s->r, columns);
	record_uint(s->r, s->total.sequences);
	print_sum(s->r, &s->total);
}

void
score_free(struct score *s)
{
	while (s->first)
		seq_drop(s, s->first);
	table_free(&s->live);
}
