/* The cache against a plain model of it: arrays of numbers, changed in the same way. */
/* check: yes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "attention/cache.h"

#define WIDTH 3
#define SEQS 6
#define MOST (4 * CACHE_PAGE)

static int tests, failed;

static void
ok(int good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	failed += !good;
}

struct plain {
	int known;
	uint32_t n;
	float rows[MOST];
};

static uint32_t
random_below(uint32_t n)
{
	static uint32_t x = 12345;

	x = x * 1664525 + 1013904223;
	return (x >> 8) % n;
}

/* Position i of the sequence, as this test lays out its pages. */
static float *
row_of(const struct cache_seq *s, uint32_t i)
{
	return (float *)cache_page(s, i / CACHE_PAGE) + i % CACHE_PAGE * WIDTH;
}

static int
same(const struct cache *c, const struct plain *all)
{
	for (uint64_t id = 0; id < SEQS; id++) {
		const struct plain *p = &all[id];
		const struct cache_seq *s = cache_find(c, id);

		if (!s != !p->known || (s && s->n != p->n))
			return 0;
		for (uint32_t i = 0; s && i < s->n; i++) {
			const float *row = row_of(s, i);

			for (int k = 0; k < WIDTH; k++)
				if (row[k] != p->rows[i] + (float)k)
					return 0;
		}
	}
	return 1;
}

/* Some rows more, after going back to position n. */
static int
go_on(struct cache *c, struct plain *p, uint64_t id, uint32_t n, uint32_t more)
{
	static float value;
	struct cache_seq *s = cache_at(c, id, n);

	if (!s)
		return 0;
	p->known = 1;
	p->n = n;
	for (; more > 0 && p->n < MOST; more--) {
		if (cache_append(c, s) < 0)
			return 0;
		p->rows[p->n] = value += WIDTH;
		for (int k = 0; k < WIDTH; k++)
			row_of(s, p->n)[k] = value + (float)k;
		p->n++;
	}
	return 1;
}

static int
random_steps(struct cache *c, struct plain *all, int steps)
{
	for (; steps > 0; steps--) {
		uint64_t id = random_below(SEQS), to = random_below(SEQS);
		struct plain *p = &all[id], *q = &all[to];
		uint32_t n = random_below(p->n + 1);

		switch (random_below(8)) {
		case 0:
			cache_release(c, id);
			memset(p, 0, sizeof(*p));
			break;
		case 1: case 2:
			if ((cache_fork(c, id, to, n) == 0) != (p->known && !q->known))
				return 0;
			if (p->known && !q->known) {
				*q = *p;
				q->n = n;
			}
			break;
		case 3:
			if (!go_on(c, p, id, n, random_below(5)))
				return 0;
			break;
		default:
			if (!go_on(c, p, id, p->n, random_below(CACHE_PAGE)))
				return 0;
		}
		if (!same(c, all))
			return 0;
	}
	return 1;
}

static void
messages(struct cache *c)
{
	struct cache_seq *s = cache_at(c, 100, 0);

	for (int i = 0; i < 12; i++)
		if (cache_append(c, s) < 0)
			return;
	ok(!cache_at(c, 100, 40) && fail_status() == FAIL_DATA &&
	    strcmp(fail_text(), "sequence 100: position 40 arrives, cache holds 12") == 0,
	    "a gap is an error that says what is held");
	ok(!cache_at(c, 101, 1) && strstr(fail_text(), "cache holds 0") && !cache_find(c, 101),
	    "a sequence that is not known holds nothing, and is not made by an error");
	ok(cache_fork(c, 100, 102, 13) < 0 && strstr(fail_text(), "cache holds 12") && !cache_find(c, 102),
	    "no fork of more than there is");
	ok(cache_fork(c, 103, 102, 0) < 0 && strstr(fail_text(), "sequence 103"), "no fork of what is not known");
	ok(cache_fork(c, 100, 100, 1) < 0 && s->n == 12, "no fork onto a sequence that exists");
	ok(cache_at(c, 104, 0) && cache_find(c, 104)->n == 0, "a span without rows makes a sequence known");
	cache_release(c, UINT64_MAX);
	ok(!cache_find(c, UINT64_MAX), "letting go of what is not known does nothing");
}

/* A device whose memory counts, can run out, and may refuse to copy. */
static struct {
	size_t pages, most, copied;
} store;

static void *
store_page(struct device *d, size_t bytes)
{
	(void)d;
	if (store.pages == store.most) {
		fail(FAIL_SYSTEM, "the store is full");
		return NULL;
	}
	store.pages++;
	return malloc(bytes);
}

static void
store_free(struct device *d, void *page)
{
	(void)d;
	store.pages--;
	free(page);
}

static int
store_copy(struct device *d, void *to, const void *from, size_t bytes)
{
	(void)d;
	if (store.copied == SIZE_MAX)
		return fail(FAIL_SYSTEM, "the store does not copy");
	store.copied += bytes;
	memcpy(to, from, bytes);
	return 0;
}

static void
elsewhere(void)
{
	static const struct ops ops = {.page = store_page, .page_free = store_free, .copy = store_copy};
	static struct plain all[SEQS];
	struct device d = {.ops = &ops};
	struct cache_seq *s;
	struct cache c;
	size_t copied;

	store.most = 1000;
	cache_init(&c, &d, WIDTH * sizeof(float));
	ok(random_steps(&c, all, 1000) && store.copied > 0, "the same where pages are in another memory");
	s = cache_at(&c, 50, 0);
	for (int i = 0; i < 3; i++)
		(void)cache_append(&c, s);
	copied = store.copied;
	ok(cache_fork(&c, 50, 51, 3) == 0 && store.copied == copied && cache_append(&c, s) == 0 &&
	    store.copied == copied + CACHE_PAGE * WIDTH * sizeof(float), "a shared page is copied when it is written");
	store.copied = SIZE_MAX;
	ok(cache_fork(&c, 50, 52, 4) == 0 && cache_append(&c, s) < 0 && s->n == 4 && strstr(fail_text(), "does not copy"),
	    "a copy that fails is an error, and the sequence as it was");
	store.copied = 0;
	store.most = store.pages;
	while (cache_append(&c, s) == 0)
		;
	ok(strstr(fail_text(), "full") && cache_find(&c, 50)->n == s->n, "so is memory that has run out");
	cache_free(&c);
	ok(store.pages == 0, "all pages are freed");
}

int
main(void)
{
	static struct plain all[SEQS];
	struct device *d = device_new(-1, NULL, NULL);
	struct cache c;

	cache_init(&c, d, WIDTH * sizeof(float));
	ok(random_steps(&c, all, 4000), "what a cache holds is what was put in, after any forks, drafts taken back and releases");
	messages(&c);
	cache_free(&c);
	device_close(d);
	elsewhere();
	printf("1..%d\n", tests);
	return failed > 0;
}
