#include "device/tensor.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

struct device_slot {
	struct device_slot *next;
	struct device *d;
	void *p;                /* in the GPU: [bytes] */
	size_t bytes;
	struct {
		void *p;        /* pinned: [bytes]; by way of it tensors come and go */
		size_t bytes;
		/* d->waits + 1 when it was copied from: until then it must not change */
		uint64_t busy;
	} host[2];              /* whose turn it is: d->turn */
	uint64_t version;       /* of the tensor that it holds */
	char name[];
};

static struct device_slot *
slot_of(struct device *d, const char *name)
{
	size_t n = strlen(name) + 1;
	struct device_slot *s = d->slots;

	while (s && strcmp(s->name, name) != 0)
		s = s->next;
	if (s)
		return s;
	if (!(s = calloc(1, sizeof(*s) + n))) {
		fail(FAIL_SYSTEM, "no memory for tensor '%s'", name);
		return NULL;
	}
	memcpy(s->name, name, n);
	s->d = d;
	s->next = d->slots;
	return d->slots = s;
}

/* Room that batches can grow into: twice as much up to 16 MiB, then 16 MiB at a time. */
static size_t
rounded(size_t n)
{
	const size_t large = (size_t)16 << 20;
	size_t to = 4096;

	while (to < n && to < large)
		to *= 2;
	return n <= to ? to : (n + large - 1) / large * large;
}

static int
slot_hold(struct device_slot *s, size_t bytes)
{
	struct device *d = s->d;
	size_t n = rounded(bytes);
	void *p;

	s->version++;
	if (s->p && bytes <= s->bytes)
		return 0;
	if (device_wait(d) < 0)         /* for what is on its way there */
		return -1;
	if (s->p)
		d->lib->free(d->gpu, s->p);
	d->working -= s->bytes;
	s->p = NULL;
	s->bytes = 0;
	if (d->lib->alloc(d->gpu, &p, n) < 0)
		return device_fail(d, s->name);
	s->p = p;
	s->bytes = n;
	d->working += n;
	d->moves++;
	return 0;
}

static int
slot_pin(struct device_slot *s, size_t bytes)
{
	struct device *d = s->d;
	size_t n = rounded(bytes);
	int i = d->turn;
	void *p;

	if (s->host[i].p && bytes <= s->host[i].bytes)
		return 0;
	if (device_wait(d) < 0)
		return -1;
	if (s->host[i].p)
		d->lib->unpin(d->gpu, s->host[i].p);
	s->host[i].p = NULL;
	s->host[i].bytes = 0;
	if (d->lib->pin(d->gpu, &p, n) < 0)
		return device_fail(d, s->name);
	s->host[i].p = p;
	s->host[i].bytes = n;
	return 0;
}

/* The tensor is the one that its slot holds. */
static int
slot_check(const struct tensor *t)
{
	const struct device_slot *s = t->where;

	return s->version == t->version ? 0 : fail(FAIL_SYSTEM,
	    "another frame's has been put over it in the GPU");
}

static int
fetch(struct tensor *t)
{
	struct device_slot *s = t->where;
	struct device *d = s->d;

	if (slot_check(t) < 0 || slot_pin(s, t->bytes) < 0)
		return -1;
	if (d->lib->download(d->gpu, s->host[d->turn].p, s->p, t->bytes) < 0)
		return device_fail(d, s->name);
	if (device_wait(d) < 0)
		return -1;
	free(t->own);
	t->own = NULL;
	t->data = s->host[d->turn].p;
	return 0;
}

/* By way of memory that outlives the frame, which may be freed before the copy has happened. */
static int
slot_send(struct device_slot *s, const struct tensor *t)
{
	struct device *d = s->d;
	int i = d->turn;

	if (slot_pin(s, t->bytes) < 0)
		return -1;
	if (t->data != s->host[i].p && t->bytes > 0) {
		if (s->host[i].busy == d->waits + 1 && device_wait(d) < 0)
			return -1;
		memcpy(s->host[i].p, t->data, t->bytes);
	}
	s->host[i].busy = d->waits + 1;
	return d->lib->upload(d->gpu, s->p, s->host[i].p, t->bytes) < 0 ? device_fail(d, s->name) :
	    0;
}

void *
device_tensor(struct device *d, struct frame *f, const char *name, enum dtype dtype, uint64_t rows,
    uint64_t cols)
{
	struct tensor *t = frame_find(f, name, dtype, rows, cols);
	struct device_slot *s;

	if (!t)
		return NULL;
	if (t->fetch) {
		s = t->where;
		if (slot_check(t) == 0)
			return s->p;
		fail_in("tensor '%s'", name);
		return NULL;
	}
	if (!(s = slot_of(d, name)) || slot_hold(s, t->bytes) < 0 || slot_send(s, t) < 0)
		return NULL;
	t->where = s;
	t->version = s->version;
	return s->p;
}

void
device_wrote(struct frame *f, const char *name)
{
	struct tensor *t = frame_tensor(f, name);

	t->fetch = fetch;
	f->changed = 1;
}

void *
device_add(struct device *d, struct frame *f, const char *name, enum dtype dtype, int rank,
    const uint64_t *shape)
{
	struct tensor *t = frame_add(f, name, dtype, rank, shape);
	struct device_slot *s = t ? slot_of(d, name) : NULL;

	if (!s || slot_hold(s, t->bytes) < 0)
		return NULL;
	t->where = s;
	t->version = s->version;
	t->fetch = fetch;
	return s->p;
}

const void *
device_where(const struct tensor *t)
{
	const struct device_slot *s = t->where;

	return s->p;
}

void
device_slots_free(struct device *d)
{
	struct device_slot *s;

	while ((s = d->slots)) {
		d->slots = s->next;
		if (s->p)
			d->lib->free(d->gpu, s->p);
		d->working -= s->bytes;
		for (int i = 0; i < 2; i++)
			if (s->host[i].p)
				d->lib->unpin(d->gpu, s->host[i].p);
		free(s);
	}
}
