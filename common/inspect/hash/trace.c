#include "inspect/hash/trace.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/hash/trace_internal.h"

/* A sequence that was freed, and how often. */
struct life {
	uint64_t seq, n;
};

static void
forget_lives(struct trace *t)
{
	for (struct table_slot *s = NULL; (s = table_next(&t->lives, s)); )
		free(s->value);
	table_free(&t->lives);
}

static int
end_life(struct trace *t, uint64_t seq)
{
	struct life *l = table_get(&t->lives, &seq, sizeof(seq));

	if (!l) {
		if (!(l = mem_new(1, sizeof(*l))))
			return -1;
		l->seq = seq;
		if (table_put(&t->lives, &l->seq, sizeof(l->seq), l) < 0) {
			free(l);
			return -1;
		}
	}
	l->n++;
	return 0;
}

static struct trace_line *
find_line(struct trace *t, const struct row *r)
{
	struct life *life = table_get(&t->lives, &r->seq, sizeof(r->seq));
	struct trace_key k = {r->seq, life ? life->n : 0, r->group->id};
	struct trace_line *l = t->last;

	if (l && memcmp(&l->key, &k, sizeof(k)) == 0)
		return l;
	if (!(l = table_get(&t->names, &k, sizeof(k)))) {
		if (mem_grow(&t->lines, &t->cap, t->n + 1, sizeof(struct trace_line *)) < 0 || !(l = mem_new(1, sizeof(*l))))
			return NULL;
		l->key = k;
		l->group = r->group;
		if (table_put(&t->names, &l->key, sizeof(l->key), l) < 0) {
			free(l);
			return NULL;
		}
		t->lines[t->n++] = l;
	}
	return t->last = l;
}

static struct trace_row *
find_row(struct trace_line *l, uint32_t pos)
{
	uint64_t number = pos / TRACE_PAGE;
	struct trace_page *p = l->last;

	if (!p || p->number != number)
		p = table_get(&l->pages, &number, sizeof(number));
	if (!p) {
		if (!(p = mem_new(1, sizeof(*p))))
			return NULL;
		p->number = number;
		if (table_put(&l->pages, &p->number, sizeof(p->number), p) < 0) {
			free(p);
			return NULL;
		}
	}
	l->last = p;
	return &p->rows[pos % TRACE_PAGE];
}

static int
take_row(void *arg, const struct row *r)
{
	struct trace *t = arg;
	struct trace_line *l = find_line(t, r);
	struct trace_row *x = l ? find_row(l, r->pos) : NULL;
	unsigned char hash[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;

	if (!x)
		return -1;
	sha256_init(&sha);
	sha256_update(&sha, r->bytes, r->data);
	sha256_digest(&sha, sizeof(hash), hash);
	l->clock++;
	if (x->came && (memcmp(x->hash, hash, sizeof(hash)) != 0 || x->dtype != r->dtype))
		x->changed = l->clock;
	x->came = l->clock;
	x->dtype = r->dtype;
	x->count = r->ragged ? 0 : r->count;
	memcpy(x->hash, hash, sizeof(hash));
	return 0;
}

int
trace_read(struct trace *t, const char *name)
{
	struct source s;
	struct frame f;
	uint64_t stream = 0;
	int r;

	if (source_open(&s, name) < 0)
		return -1;
	frame_init(&f);
	while ((r = source_next(&s, &f, 1)) > 0) {
		if (s.stream != stream)
			forget_lives(t);
		stream = s.stream;
		r = frame_frees(&f) ? end_life(t, f.seq) : rows_walk(&t->groups, &f, take_row, t, &t->odd);
		frame_free(&f);
		if (r < 0) {
			fail_in("%s: frame %llu", s.in.name, (unsigned long long)s.in.frames);
			break;
		}
	}
	frame_free(&f);
	forget_lives(t);
	if (r == -2 && s.cut)
		r = fail(FAIL_SYSTEM, "%s", s.cut);
	source_close(&s);
	return r == -1 ? -1 : 0;
}

/* --- lines --- */

static int
by_number(const void *a, const void *b)
{
	const struct trace_page *x = *(struct trace_page *const *)a, *y = *(struct trace_page *const *)b;

	return (x->number > y->number) - (x->number < y->number);
}

int
trace_sort(struct trace_line *l)
{
	uint64_t changed = 0;
	size_t n = 0;

	if (!(l->sorted = mem_raw(l->pages.n, sizeof(struct trace_page *))))
		return -1;
	for (struct table_slot *s = NULL; (s = table_next(&l->pages, s)); )
		l->sorted[n++] = s->value;
	qsort(l->sorted, n, sizeof(struct trace_page *), by_number);
	for (size_t i = 0; i < n * TRACE_PAGE; i++) {
		struct trace_row *x = &l->sorted[i / TRACE_PAGE]->rows[i % TRACE_PAGE];

		if (x->came < changed)
			x->came = 0;            /* taken back with a row before it */
		if (x->changed > changed)
			changed = x->changed;
	}
	return 0;
}

const struct trace_row *
trace_row_at(const struct trace_line *l, uint64_t pos)
{
	uint64_t number = pos / TRACE_PAGE;
	const struct trace_page *p = table_get(&l->pages, &number, sizeof(number));

	return p && p->rows[pos % TRACE_PAGE].came ? &p->rows[pos % TRACE_PAGE] : NULL;
}

void
trace_hash(const struct trace_line *l, uint64_t from, uint64_t to, char hex[2 * SHA256_DIGEST_SIZE + 1])
{
	unsigned char hash[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;

	sha256_init(&sha);
	for (uint64_t pos = from; pos <= to; pos++)
		sha256_update(&sha, sizeof(hash), trace_row_at(l, pos)->hash);
	sha256_digest(&sha, sizeof(hash), hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		sprintf(hex + 2 * i, "%02x", hash[i]);
}

void
trace_print_seq(FILE *to, const struct trace_line *l)
{
	group_print_stage(to, l->group);
	fprintf(to, " %" PRIu64, l->key.seq);
	if (l->key.life > 0)
		fprintf(to, ":%" PRIu64, l->key.life + 1);
}

static int
by_place(const void *a, const void *b)
{
	const struct trace_line *x = *(struct trace_line *const *)a, *y = *(struct trace_line *const *)b;
	int c = (x->key.seq > y->key.seq) - (x->key.seq < y->key.seq);

	c = c ? c : (x->key.life > y->key.life) - (x->key.life < y->key.life);
	return c ? c : group_cmp(x->group, y->group);
}

void
trace_count(const struct trace_row *x, char to[24])
{
	if (x->count > 0)
		snprintf(to, 24, "%" PRIu64, x->count);
	else
		strcpy(to, "-");
}

static void
print_range(FILE *to, const struct trace_line *l, uint64_t from, uint64_t to_pos, const struct trace_row *x)
{
	char hex[2 * SHA256_DIGEST_SIZE + 1], count[24];

	trace_count(x, count);
	trace_hash(l, from, to_pos, hex);
	fprintf(to, "%s ", hex);
	trace_print_seq(to, l);
	fprintf(to, " %" PRIu64 "-%" PRIu64 " ", from, to_pos);
	group_print_tensor(to, l->group);
	fprintf(to, " %s %s\n", dtype_name(x->dtype), count);
}

/* A line of text for each run of positions whose rows are alike. */
static void
print_line(FILE *to, const struct trace_line *l, long *total)
{
	const struct trace_row *first = NULL;
	uint64_t from = 0, next = 0;

	for (size_t i = 0; i < l->pages.n * TRACE_PAGE; i++) {
		const struct trace_page *p = l->sorted[i / TRACE_PAGE];
		const struct trace_row *x = &p->rows[i % TRACE_PAGE];
		uint64_t pos = p->number * TRACE_PAGE + i % TRACE_PAGE;

		if (!x->came)
			continue;
		if (first && (pos != next || x->dtype != first->dtype || x->count != first->count)) {
			print_range(to, l, from, next - 1, first);
			++*total;
			first = NULL;
		}
		if (!first) {
			first = x;
			from = pos;
		}
		next = pos + 1;
	}
	if (first) {
		print_range(to, l, from, next - 1, first);
		++*total;
	}
}

int
trace_print(FILE *to, struct trace *t, long *total)
{
	*total = 0;
	if (t->n > 0)
		qsort(t->lines, t->n, sizeof(struct trace_line *), by_place);
	for (size_t i = 0; i < t->n; i++) {
		if (trace_sort(t->lines[i]) < 0)
			return -1;
		print_line(to, t->lines[i], total);
	}
	return 0;
}

void
trace_free(struct trace *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct trace_line *l = t->lines[i];

		for (struct table_slot *s = NULL; (s = table_next(&l->pages, s)); )
			free(s->value);
		table_free(&l->pages);
		free(l->sorted);
		free(l);
	}
	free(t->lines);
	table_free(&t->names);
	forget_lives(t);
	groups_free(&t->groups);
	memset(t, 0, sizeof(*t));
}
