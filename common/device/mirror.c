#include "device/mirror.h"

#include <string.h>

#define STEP 256        /* bytes that are compared and sent together */

void
mirror_free(struct device *d, struct mirror *m)
{
	if (m->p) {
		d->lib->free(d->gpu, m->p);
		d->working -= m->cap;
	}
	if (m->host)
		d->lib->unpin(d->gpu, m->host);
	*m = (struct mirror){0};
}

static int
mirror_grow(struct device *d, struct mirror *m, size_t n)
{
	size_t cap = 4096;
	void *p;

	while (cap < n)
		cap *= 2;
	/* for what reads it, and what is on its way there */
	if (m->p && device_wait(d) < 0)
		return -1;
	mirror_free(d, m);
	if (d->lib->alloc(d->gpu, &p, cap) < 0)
		return device_fail(d, "tables of a batch");
	m->p = p;
	m->cap = cap;
	d->working += cap;
	d->moves++;
	if (d->lib->pin(d->gpu, &p, cap) < 0) {
		device_fail(d, "tables of a batch");
		mirror_free(d, m);
		return -1;
	}
	m->host = p;
	return 0;
}

/* The steps of the n bytes that are not as in the mirror: from the first to the last, in bytes. */
static void
differing(const struct mirror *m, const char *data, size_t n, size_t *from, size_t *to)
{
	const char *had = m->host;

	*from = n;
	*to = 0;
	for (size_t i = 0, step; i < n; i += step) {
		step = n - i < STEP ? n - i : STEP;
		if (i + step <= m->n && memcmp(had + i, data + i, step) == 0)
			continue;
		*from = i < *from ? i : *from;
		*to = i + step;
	}
}

int
mirror_set(struct device *d, struct mirror *m, const void *data, size_t n)
{
	size_t from, to;

	if (n > m->cap && mirror_grow(d, m, n) < 0)
		return -1;
	differing(m, data, n, &from, &to);
	if (from >= to)
		return 0;
	/* the last change may still be on its way: what it is copied from must not change */
	if (m->n > 0 && m->waits == d->waits && device_wait(d) < 0)
		return -1;
	memcpy((char *)m->host + from, (const char *)data + from, to - from);
	if (d->lib->upload(d->gpu, (char *)m->p + from, (char *)m->host + from, to - from) < 0)
		return device_fail(d, "tables of a batch");
	m->waits = d->waits;
	m->n = n > m->n ? n : m->n;
	return 1;
}
