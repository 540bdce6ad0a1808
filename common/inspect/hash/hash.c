#include "inspect/hash/hash.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/hash/hash_internal.h"

/* How often a sequence id was freed. */
struct generation {
	uint64_t seq, n;
};

static void
free_generations(struct hashes *t)
{
	for (struct table_slot *s = NULL; (s = table_next(&t->generations, s)); )
		free(s->value);
	table_free(&t->generations);
}

static int
next_generation(struct hashes *t, uint64_t seq)
{
	struct generation *l = table_get(&t->generations, &seq, sizeof(seq));

	if (!l) {
		if (!(l = mem_new(1, sizeof(*l))))
			return -1;
		l->seq = seq;
		if (table_put(&t->generations, &l->seq, sizeof(l->seq), l) < 0) {
			free(l);
			return -1;
		}
	}
	l->n++;
	return 0;
}

static struct hash_line *
find_line(struct hashes *t, const struct row *r)
{
	struct generation *generation = table_get(&t->generations, &r->seq, sizeof(r->seq));
	struct hash_line_key k = {r->seq, generation ? generation->n : 0, r->group->id};
	struct hash_line *l = t->last;

	if (l && memcmp(&l->key, &k, sizeof(k)) == 0)
		return l;
	if (!(l = table_get(&t->names, &k, sizeof(k)))) {
		if (mem_grow(&t->lines, &t->cap, t->n + 1, sizeof(struct hash_line *)) < 0 || !(l = mem_new(1, sizeof(*l))))
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

static struct hash_row *
find_row(struct hash_line *l, uint32_t pos)
{
	uint64_t number = pos / HASH_PAGE;
	struct hash_page *p = l->last;

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
	return &p->rows[pos % HASH_PAGE];
}

static int
add_row(void *arg, const struct row *r)
{
	struct hashes *t = arg;
	struct hash_line *l = find_line(t, r);
	struct hash_row *x = l ? find_row(l, r->pos) : NULL;
	unsigned char hash[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;

	if (!x)
		return -1;
	sha256_init(&sha);
	sha256_update(&sha, r->bytes, r->data);
	sha256_digest(&sha, sizeof(hash), hash);
	l->clock++;
	if (x->seen && (memcmp(x->hash, hash, sizeof(hash)) != 0 || x->dtype != r->dtype))
		x->changed = l->clock;
	x->seen = l->clock;
	x->dtype = r->dtype;
	x->count = r->ragged ? 0 : r->count;
	memcpy(x->hash, hash, sizeof(hash));
	return 0;
}

int
hash_read(struct hashes *t, const char *name)
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
			free_generations(t);
		stream = s.stream;
		r = frame_frees(&f) ? next_generation(t, f.seq) : rows_walk(&t->groups, &f, add_row, t, &t->odd);
		frame_free(&f);
		if (r < 0) {
			fail_in("%s: frame %llu", s.in.name, (unsigned long long)s.in.frames);
			break;
		}
	}
	frame_free(&f);
	free_generations(t);
	if (r == -2 && s.cut)
		r = fail(FAIL_SYSTEM, "%s", s.cut);
	source_close(&s);
	return r == -1 ? -1 : 0;
}

/* --- lines --- */

static int
by_number(const void *a, const void *b)
{
	const struct hash_page *x = *(struct hash_page *const *)a, *y = *(struct hash_page *const *)b;

	return (x->number > y->number) - (x->number < y->number);
}

int
hash_sort(struct hash_line *l)
{
	uint64_t changed = 0;
	size_t n = 0;

	if (!(l->sorted = mem_raw(l->pages.n, sizeof(struct hash_page *))))
		return -1;
	for (struct table_slot *s = NULL; (s = table_next(&l->pages, s)); )
		l->sorted[n++] = s->value;
	qsort(l->sorted, n, sizeof(struct hash_page *), by_number);
	for (size_t i = 0; i < n * HASH_PAGE; i++) {
		struct hash_row *x = &l->sorted[i / HASH_PAGE]->rows[i % HASH_PAGE];

		if (x->seen < changed)
			x->seen = 0;            /* truncated with an earlier row */
		if (x->changed > changed)
			changed = x->changed;
	}
	return 0;
}

const struct hash_row *
hash_row_at(const struct hash_line *l, uint64_t pos)
{
	uint64_t number = pos / HASH_PAGE;
	const struct hash_page *p = table_get(&l->pages, &number, sizeof(number));

	return p && p->rows[pos % HASH_PAGE].seen ? &p->rows[pos % HASH_PAGE] : NULL;
}

void
hash_range(const struct hash_line *l, uint64_t from, uint64_t to, char hex[2 * SHA256_DIGEST_SIZE + 1])
{
	unsigned char hash[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;

	sha256_init(&sha);
	for (uint64_t pos = from; pos <= to; pos++)
		sha256_update(&sha, sizeof(hash), hash_row_at(l, pos)->hash);
	sha256_digest(&sha, sizeof(hash), hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		sprintf(hex + 2 * i, "%02x", hash[i]);
}

void
hash_print_seq(FILE *to, const struct hash_line *l)
{
	group_print_stage(to, l->group);
	fprintf(to, " %" PRIu64, l->key.seq);
	if (l->key.generation > 0)
		fprintf(to, ":%" PRIu64, l->key.generation + 1);
}

static int
by_order(const void *a, const void *b)
{
	const struct hash_line *x = *(struct hash_line *const *)a, *y = *(struct hash_line *const *)b;
	int c = (x->key.seq > y->key.seq) - (x->key.seq < y->key.seq);

	c = c ? c : (x->key.generation > y->key.generation) - (x->key.generation < y->key.generation);
	return c ? c : group_cmp(x->group, y->group);
}

void
hash_format_count(const struct hash_row *x, char to[24])
{
	if (x->count > 0)
		snprintf(to, 24, "%" PRIu64, x->count);
	else
		strcpy(to, "-");
}

static void
print_range(FILE *to, const struct hash_line *l, uint64_t from, uint64_t to_pos, const struct hash_row *x)
{
	char hex[2 * SHA256_DIGEST_SIZE + 1], count[24];

	hash_format_count(x, count);
	hash_range(l, from, to_pos, hex);
	fprintf(to, "%s ", hex);
	hash_print_seq(to, l);
	fprintf(to, " %" PRIu64 "-%" PRIu64 " ", from, to_pos);
	group_print_tensor(to, l->group);
	fprintf(to, " %s %s\n", dtype_name(x->dtype), count);
}

/* Print one line for each run of positions whose rows have the same type and width. */
static void
print_line(FILE *to, const struct hash_line *l, long *total)
{
	const struct hash_row *first = NULL;
	uint64_t from = 0, next = 0;

	for (size_t i = 0; i < l->pages.n * HASH_PAGE; i++) {
		const struct hash_page *p = l->sorted[i / HASH_PAGE];
		const struct hash_row *x = &p->rows[i % HASH_PAGE];
		uint64_t pos = p->number * HASH_PAGE + i % HASH_PAGE;

		if (!x->seen)
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
hash_print(FILE *to, struct hashes *t, long *total)
{
	*total = 0;
	if (t->n > 0)
		qsort(t->lines, t->n, sizeof(struct hash_line *), by_order);
	for (size_t i = 0; i < t->n; i++) {
		if (hash_sort(t->lines[i]) < 0)
			return -1;
		print_line(to, t->lines[i], total);
	}
	return 0;
}

void
hash_free(struct hashes *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct hash_line *l = t->lines[i];

		for (struct table_slot *s = NULL; (s = table_next(&l->pages, s)); )
			free(s->value);
		table_free(&l->pages);
		free(l->sorted);
		free(l);
	}
	free(t->lines);
	table_free(&t->names);
	free_generations(t);
	groups_free(&t->groups);
	memset(t, 0, sizeof(*t));
}
