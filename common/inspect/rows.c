#include "inspect/rows.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/frame_json.h"
#include "stage/tap.h"

/* Producers of rows have the names of stages, except the one of ids, for which AT_NONE stands. */
#define TOKENIZE "tokenize"

/* Tensors of a stage besides taps, in the order in which it computes them; others come before
 * `h`. */
static const char *const tensors[] = {"expert.idx", "expert.w", "expert.acc",
    "expert.wacc", "logits"};

static const char *
maker_name(enum at maker)
{
	return maker == AT_NONE ? TOKENIZE : at_name(maker);
}

/* The producer of that name; AT_OTHER: none. */
static enum at
maker_find(const char *name, size_t n)
{
	enum at at = at_parse(name, n);

	if (n == strlen(TOKENIZE) && memcmp(name, TOKENIZE, n) == 0)
		return AT_NONE;
	return at >= AT_SAMPLE ? AT_OTHER : at;
}

/* The layer in a tap's name NAME@LAYER, or -1. */
static int
tap_layer(const char *name)
{
	const char *at = strrchr(name, '@');
	char *end;
	long n;

	if (!at || at[1] < '0' || at[1] > '9')
		return -1;
	n = strtol(at + 1, &end, 10);
	return *end || n > INT_MAX / 4 ? -1 : (int)n;
}

/* Sort keys of a backward pass begin after all others. */
#define BACK ((int64_t)1 << 32)

/* Sort key in pipeline order: before the layers, layer by layer, after the layers; then the same
 * of the backward pass, its layers from the last on. */
static int64_t
order_of(const char *stage, int layer)
{
	enum at back = at_parse(stage, strlen(stage)), at = maker_find(stage, strlen(stage));
	enum at before = at;

	if (at_is_back(back))
		return BACK + (at_layered(back) ? (int64_t)INT_MAX - layer :
		    back == AT_HEAD_BACK ? 0 : BACK) * AT_COUNT + (int)back;
	if (at_layered(at))
		return (layer < 0 ? 1 : layer < INT_MAX / 8 ? layer + 1 : INT_MAX / 8) * AT_OTHER + (int)at;
	while (before > AT_NONE && !at_layered(before))
		before--;
	return before == AT_NONE ? (int)at : INT_MAX - AT_OTHER + (int)at;
}

static int
inner_of(const char *tensor)
{
	int known = sizeof(tensors) / sizeof(tensors[0]);
	size_t n = strcspn(tensor, "@");

	if (tap_find(tensor, n) < TAPS)
		return tap_find(tensor, n);
	for (int i = 0; i < known; i++)
		if (strlen(tensors[i]) == n && memcmp(tensors[i], tensor, n) == 0)
			return TAPS + i;
	return TAPS + known + (strcmp(tensor, "h") == 0);
}

struct group *
group_named(struct groups *g, const char *stage, int layer, const char *tensor, const char *done)
{
	struct buf b = {0};
	struct group *o;
	size_t nstage = strlen(stage), ntensor = strlen(tensor);

	/* three strings with their NULs: the key, and the group's names */
	if (buf_add(&b, stage, nstage + 1) < 0 || buf_add(&b, tensor, ntensor + 1) < 0 ||
	    buf_add(&b, done ? done : "", done ? strlen(done) + 1 : 1) < 0 || buf_add(&b, &layer, sizeof(layer)) < 0)
		goto fail;
	if ((o = table_get(&g->names, b.p, b.n))) {
		buf_free(&b);
		return o;
	}
	if (mem_grow(&g->all, &g->cap, g->n + 1, sizeof(*g->all)) < 0 || !(o = mem_new(1, sizeof(*o))))
		goto fail;
	o->key = (char *)b.p;
	*o = (struct group){.id = (uint32_t)g->n,
	    .stage = o->key,
	    .layer = layer,
	    .tensor = o->key + nstage + 1,
	    .order = order_of(stage, layer),
	    .inner = inner_of(tensor),
	    .key = o->key};
	if (done)
		o->done = o->tensor + ntensor + 1;
	if (table_put(&g->names, b.p, b.n, o) < 0) {
		free(o);
		goto fail;
	}
	return g->all[g->n++] = o;
fail:
	buf_free(&b);
	return NULL;
}

void
groups_free(struct groups *g)
{
	for (size_t i = 0; i < g->n; i++) {
		free(g->all[i]->key);
		free(g->all[i]);
	}
	free(g->all);
	buf_free(&g->trimmed);
	table_free(&g->names);
	memset(g, 0, sizeof(*g));
}

struct group *
group_of(struct groups *g, const struct frame *f, const struct tensor *t)
{
	size_t dot = strcspn(t->name, ".");
	enum at maker = t->name[dot] ? maker_find(t->name, dot) : AT_OTHER, at = f->at;
	int tap = tap_layer(t->name), layer = f->layer;

	if (strcmp(t->name, "ids") == 0)
		return group_named(g, TOKENIZE, -1, t->name, NULL);
	if (strncmp(t->name, "head.", 5) == 0 || (maker != AT_OTHER && tap >= 0))
		return group_named(g, maker_name(maker), tap, t->name, NULL);
	if ((at == AT_EXPERT || at == AT_EXPERT_BACK) && (strcmp(t->name, "expert.acc") == 0 ||
	    strcmp(t->name, "expert.wacc") == 0))
		return group_named(g, at_name(at), layer, t->name, f->experts_done ? f->experts_done : "");
	if (at == AT_NONE || at == AT_OTHER || at_is_back(at))
		return group_named(g, f->at_text, layer, t->name, NULL);
	at_previous(&at, &layer);
	if (at == AT_ROUTE && strcmp(t->name, "h") == 0)        /* the router adds nothing to it */
		at_previous(&at, &layer);
	return group_named(g, maker_name(at), layer, t->name, NULL);
}

int
group_cmp(const struct group *a, const struct group *b)
{
	int c = (a->order > b->order) - (a->order < b->order);

	c = c ? c : strcmp(a->stage, b->stage);
	c = c ? c : (a->layer > b->layer) - (a->layer < b->layer);
	c = c ? c : a->inner - b->inner;
	c = c ? c : strcmp(a->tensor, b->tensor);
	return c ? c : strcmp(a->done ? a->done : "", b->done ? b->done : "");
}

static void
print_field(FILE *to, const char *s)
{
	if (*s == '\0')
		putc('-', to);
	for (size_t n; *s; s += n) {
		n = strcspn(s, " ");
		frame_json_string(to, s, n);
		if (s[n] == ' ') {
			fputs("\\u0020", to);
			n++;
		}
	}
}

void
group_print_stage(FILE *to, const struct group *g)
{
	print_field(to, g->stage);
	if (g->layer < 0)
		fputs(" -", to);
	else
		fprintf(to, " %d", g->layer);
}

void
group_print_tensor(FILE *to, const struct group *g)
{
	print_field(to, g->tensor);
	if (g->done) {
		putc(':', to);
		print_field(to, g->done);
	}
}

const char *
group_where(const struct group *g, char *to, size_t size)
{
	if (g->layer < 0)
		snprintf(to, size, "%.100s", g->stage);
	else
		snprintf(to, size, "%.100s layer %d", g->stage, g->layer);
	return to;
}

size_t
row_size(enum dtype t)
{
	return t == ROW_F64 ? 8 : dtype_size(t);
}

void
row_print_type(FILE *to, enum dtype t, const struct extent *e)
{
	fprintf(to, "%s [", t == ROW_F64 ? "F64" : dtype_name(t));
	for (int i = 0; i < e->rank; i++)
		fprintf(to, "%s%" PRIu64, i ? ", " : "", e->shape[i]);
	putc(']', to);
}

uint64_t
row_digest(const struct row *r)
{
	const unsigned char *s = r->data;
	uint64_t h = 0x9e3779b97f4a7c15u ^ r->bytes ^ (uint64_t)r->dtype << 56;

	/* each step is bijective in the word, so rows that differ in one word have different
	 * digests */
	for (size_t i = 0; i < r->bytes; i += sizeof(h)) {
		uint64_t w = 0;

		memcpy(&w, s + i, r->bytes - i < sizeof(w) ? r->bytes - i : sizeof(w));
		h = (h ^ w) * 0xd6e8feb86659fd93u;
		h ^= h >> 32;
	}
	return h ? h : 1;
}

/* Position of a row in a frame. */
struct row_cursor {
	const struct frame *f;
	int span;
	uint64_t first;         /* first row of the span */
};

static void
locate_row(struct row_cursor *p, uint64_t row, struct row *r)
{
	while (row - p->first >= p->f->spans[p->span].n)
		p->first += p->f->spans[p->span++].n;
	r->seq = p->f->spans[p->span].seq;
	r->pos = p->f->spans[p->span].pos + (uint32_t)(row - p->first);
}

int
rows_check_list(const struct tensor *t, uint32_t rows)
{
	const int32_t *v = t->data;

	if (t->dtype != I32 || t->rank != 1)
		return fail(FAIL_DATA, "tensor 'row' is not I32 of one dimension");
	for (uint64_t i = 0; i < t->shape[0]; i++)
		if (v[i] < 0 || (uint32_t)v[i] >= rows || (i > 0 && v[i] <= v[i - 1]))
			return fail(FAIL_DATA, "tensor 'row' is not ascending in 0 to %lld", (long long)rows - 1);
	return 0;
}

int
rows_are_listed(const char *tensor)
{
	return strcmp(tensor, "logits") == 0 || strcmp(tensor, "logits.grad") == 0 ||
	    strncmp(tensor, "head.", 5) == 0;
}

int
rows_have_list(const struct frame *f)
{
	return f->at == AT_SAMPLE || f->at == AT_HEAD_BACK;
}

/* Get the tensor `row`; *out is NULL if there is none. Returns 0, or -1 and a message if it is
 * invalid. */
static int
logit_rows(struct frame *f, const struct tensor **out)
{
	const struct tensor *t = frame_tensor(f, "row");

	*out = NULL;
	if (!t || !rows_have_list(f))
		return 0;
	if (rows_check_list(t, f->rows) < 0)
		return -1;
	*out = t;
	return 0;
}

int
row_trim(struct buf *to, uint64_t H, uint64_t P, struct row *r)
{
	uint64_t n = P;
	size_t size = row_size(r->dtype);
	const char *p = r->data;

	while (n > (uint64_t)r->pos + 1) {
		for (uint64_t h = 0; h < H; h++)
			for (size_t i = 0; i < size; i++)
				if (p[(h * P + n - 1) * size + i])
					goto found;
		n--;
	}
found:
	r->count = H * n;
	r->bytes = r->count * size;
	r->ragged = 1;
	r->extent = (struct extent){.rank = 2, .shape = {H, n}};
	if (mem_grow(&to->p, &to->cap, r->bytes, 1) < 0)
		return -1;
	for (uint64_t h = 0; h < H; h++)
		memcpy(to->p + h * n * size, p + h * P * size, n * size);
	r->data = to->p;
	return 0;
}

static int
walk_tensor(struct groups *g, struct frame *f, const struct tensor *t, const struct tensor *wanted,
    int (*fn)(void *arg, const struct row *r), void *arg, uint64_t *odd)
{
	struct row r = {.dtype = t->dtype};
	struct row_cursor p = {.f = f};
	const int32_t *which = NULL;
	uint64_t n = t->rank > 0 ? t->shape[0] : 0;

	if (wanted && rows_are_listed(t->name))
		which = wanted->data;
	if (!(r.group = group_of(g, f, t)))
		return -1;
	if (t->rank == 0 || n != (which ? wanted->shape[0] : f->rows)) {
		++*odd;
		r.group->odd++;
		return 0;
	}
	if (t->bytes == 0)
		return 0;
	r.extent.rank = t->rank;
	memcpy(r.extent.shape, t->shape, (size_t)t->rank * sizeof(t->shape[0]));
	r.ragged = t->rank == 3 && strncmp(t->name, "attn.probs@", 11) == 0;
	for (uint64_t i = 0; i < n; i++) {
		r.bytes = t->bytes / n;
		r.count = r.bytes / dtype_size(t->dtype);
		r.data = (const char *)t->data + i * r.bytes;
		locate_row(&p, which ? (uint64_t)which[i] : i, &r);
		if ((r.ragged && row_trim(&g->trimmed, t->shape[1], t->shape[2], &r) < 0) ||
		    fn(arg, &r) < 0)
			return -1;
	}
	return 0;
}

int
rows_walk(struct groups *g, struct frame *f, int (*fn)(void *arg, const struct row *r), void *arg, uint64_t *odd)
{
	const struct tensor *wanted;

	if (f->op != OP_NONE)
		return 0;
	if (logit_rows(f, &wanted) < 0)
		return -1;
	for (int i = 0; i < f->ntensors; i++)
		if (&f->tensors[i] != wanted &&
		    walk_tensor(g, f, &f->tensors[i], wanted, fn, arg, odd) < 0)
			return -1;
	return 0;
}
