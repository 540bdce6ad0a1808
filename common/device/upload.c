/*
 * Weights on their way to the GPU.
 *
 * Weights lie in a few large slabs of its memory, in the order in which they lie in the files. A
 * slab is filled from its beginning to its end through two buffers of pinned memory: while the GPU
 * copies from one, the other is filled. The files are prefetched.
 */
#include "device/device_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/mem.h"

#define ALIGN 256u
#define SLAB ((size_t)128 << 20)        /* bytes, or more for a larger weight alone */
#define BUFFER ((size_t)16 << 20)       /* bytes of a pinned buffer */
#define PREFETCH ((size_t)256 << 20)    /* bytes of the files */
#define GRAIN 65536                     /* bytes that a thread copies at least */

/* --- where all of it goes --- */

static int
by_address(const void *a, const void *b)
{
	const struct device_weight *p = a, *q = b;

	if (p->host != q->host)
		return (uintptr_t)p->host < (uintptr_t)q->host ? -1 : 1;
	return p->bytes < q->bytes ? -1 : p->bytes > q->bytes;
}

int
weight_again(const struct device *d, size_t i)
{
	return i > 0 && by_address(&d->registered[i - 1], &d->registered[i]) == 0;
}

int
weights_layout(struct device *d)
{
	struct device_slab *last = NULL;

	if (d->n > 0)
		qsort(d->registered, d->n, sizeof(*d->registered), by_address);
	d->weights = d->nslabs = 0;
	for (size_t i = 0; i < d->n; i++) {
		struct device_weight *p = &d->registered[i];
		size_t bytes = (p->bytes + ALIGN - 1) / ALIGN * ALIGN;

		if (weight_again(d, i)) {
			p->slab = p[-1].slab;
			p->at = p[-1].at;
			continue;
		}
		if (!last || last->bytes + bytes > SLAB) {
			if (mem_grow(&d->slabs, &d->slabs_cap, d->nslabs + 1,
			    sizeof(*d->slabs)) < 0)
				return -1;
			last = &d->slabs[d->nslabs++];
			*last = (struct device_slab){0};
		}
		p->slab = d->nslabs - 1;
		p->at = last->bytes;
		last->bytes += bytes;
		d->weights += bytes;
	}
	return 0;
}

/* --- the way there --- */

struct upload {
	struct device *d;
	unsigned char *buffer[2];       /* of `size` bytes each, pinned */
	size_t size, n;                 /* n: bytes in the one that is being filled */
	int turn;                       /* which that is */
	int sent[2];                    /* mark `turn` follows its copy */
	unsigned char *to;              /* where in the GPU it goes */
	size_t copied;                  /* bytes of all parts so far */
	/* how far files have been asked for: a part, bytes of it, bytes in all */
	size_t part, in_part, asked;
};

/* Ask for what lies up to PREFETCH before us. */
static void
prefetch(struct upload *u)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	while (u->part < u->d->n && u->asked < u->copied + PREFETCH) {
		const struct device_weight *p = &u->d->registered[u->part];
		size_t n = p->bytes - u->in_part < BUFFER ? p->bytes - u->in_part : BUFFER;
		uintptr_t from = (uintptr_t)p->host + u->in_part, start = from / page * page;

		if (weight_again(u->d, u->part))
			n = p->bytes;
		else {
			if (!p->own)
				/* advice: refused, pages come as they are touched */
				madvise((void *)start, from + n - start, MADV_WILLNEED);
			u->asked += n;
		}
		u->in_part += n;
		if (u->in_part >= p->bytes) {
			u->in_part = 0;
			u->part++;
		}
	}
}

/* Send the buffer that has been filled, and wait until the other may be. */
static int
send(struct upload *u)
{
	const struct gpu_lib *lib = u->d->lib;
	struct gpu *gpu = u->d->gpu;
	int i = u->turn;

	if (u->n == 0)
		return 0;
	if (lib->upload(gpu, u->to, u->buffer[i], u->n) < 0 || lib->mark(gpu, i) < 0)
		return -1;
	u->sent[i] = 1;
	u->to += u->n;
	u->n = 0;
	u->turn = !i;
	prefetch(u);
	return u->sent[u->turn] ? lib->passed(gpu, u->turn) : 0;
}

struct copy {
	unsigned char *to;
	const unsigned char *from;
};

static void
copy(void *arg, size_t from, size_t to, int thread)
{
	const struct copy *c = arg;

	(void)thread;
	memcpy(c->to + from, c->from + from, to - from);
}

static int
put(struct upload *u, const unsigned char *from, size_t n)
{
	for (size_t m; n > 0; n -= m, from += m) {
		struct copy c = {u->buffer[u->turn] + u->n, from};

		m = n < u->size - u->n ? n : u->size - u->n;
		if (u->d->pool)
			pool_run(u->d->pool, m, GRAIN, 1, copy, &c);
		else
			copy(&c, 0, m, 0);
		u->n += m;
		u->copied += m;
		if (u->n == u->size && send(u) < 0)
			return -1;
	}
	return 0;
}

/* Up to the next multiple of ALIGN; a buffer ends at one, too. */
static int
pad(struct upload *u)
{
	size_t n = (ALIGN - u->n % ALIGN) % ALIGN;

	memset(u->buffer[u->turn] + u->n, 0, n);
	u->n += n;
	return u->n == u->size ? send(u) : 0;
}

/* All parts, which stand in the order of their places. */
static int
put_all(struct upload *u)
{
	struct device *d = u->d;

	prefetch(u);
	for (size_t i = 0; i < d->n; i++) {
		const struct device_weight *p = &d->registered[i];

		if (weight_again(d, i))
			continue;
		if (p->at == 0) {
			if (send(u) < 0)
				return -1;
			u->to = d->slabs[p->slab].p;
		}
		if (put(u, p->host, p->bytes) < 0 || pad(u) < 0)
			return -1;
	}
	return send(u) < 0 ? -1 : d->lib->wait(d->gpu);
}

int
weights_upload(struct device *d)
{
	struct upload u = {.d = d, .size = d->weights < BUFFER ? d->weights : BUFFER};
	int r = 0;

	if (d->weights == 0)
		return 0;
	for (size_t i = 0; r == 0 && i < d->nslabs; i++)
		r = d->lib->alloc(d->gpu, &d->slabs[i].p, d->slabs[i].bytes);
	for (int i = 0; r == 0 && i < 2; i++) {
		void *p = NULL;

		r = d->lib->pin(d->gpu, &p, u.size);
		u.buffer[i] = p;
	}
	if (r == 0)
		r = put_all(&u);
	if (r < 0)
		fail(FAIL_SYSTEM, "cannot copy the weights to the GPU: %s", d->lib->error());
	for (int i = 0; i < 2; i++)
		if (u.buffer[i])
			d->lib->unpin(d->gpu, u.buffer[i]);
	return r;
}
