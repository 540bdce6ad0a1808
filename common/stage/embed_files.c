/*
 * --cache-dir of ds-embed: sequences that end are saved, and a prompt that begins with saved tokens
 * waits until they are loaded, as a retained prefix, from which it is then forked.
 *
 * `save` and `load` go round the loop, so that all caches have acted on them when they return.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/embed_kv_internal.h"

int
files_open(struct embed *e, const char *dir)
{
	struct frame f;

	frame_init(&f);
	stage_stamp(e->stage, &f);
	if (!e->kv.on)
		return fail(FAIL_USAGE, "--cache-dir: give --cache-size, too");
	if (e->loop < 0)
		return fail(FAIL_USAGE, "--cache-dir: it needs a loop, the last of two -i");
	e->files.on = 1;
	return saved_open(&e->files.index, dir, &f, e->stage->device->cache_type);
}

void
files_close(struct embed *e)
{
	saved_close(&e->files.index);
	free(e->files.saving);
}

void
files_report(const struct embed *e)
{
	const struct embed_files *d = &e->files;

	if (d->on)
		warn("%llu prefixes of %llu positions loaded, %llu saved, %zu in '%s'",
		    LLU(d->loaded), LLU(d->positions), LLU(d->saved), d->index.n, d->index.dir);
}

static int
send(struct embed *e, enum op op, uint64_t seq, const char *key, const int32_t *ids, uint32_t n)
{
	uint64_t rows = n;
	struct tensor *t;
	struct frame f;
	int r = -1;

	frame_init(&f);
	f.op = op;
	f.seq = seq;
	f.fork_n = n;
	memcpy(f.key, key, sizeof(f.key));
	if ((t = frame_add(&f, "ids", I32, 1, &rows))) {
		if (n > 0)
			memcpy(t->data, ids, t->bytes);
		r = embed_queue_all(e, &f);
	}
	frame_free(&f);
	return r;
}

/* --- saving --- */

/* Where the key of a `save` that has not returned is. */
static size_t
saving(const struct embed_files *d, const char *key)
{
	size_t i = 0;

	while (i < d->nsaving && strcmp(d->saving[i].text, key) != 0)
		i++;
	return i;
}

int
files_save(struct embed *e, const struct prefix *x, uint32_t n)
{
	struct embed_files *d = &e->files;
	uint32_t common = 0;
	struct saved_key key;

	if (!d->on || d->stopped)
		return 0;
	if (saved_find(&d->index, x->ids, n, &common) && common == n)
		return 0;
	saved_key(&d->index, x->ids, n, key.text);
	if (saving(d, key.text) < d->nsaving)
		return 0;
	if (mem_grow(&d->saving, &d->cap, d->nsaving + 1, sizeof(*d->saving)) < 0)
		return -1;
	d->saving[d->nsaving++] = key;
	return send(e, OP_SAVE, x->seq, key.text, x->ids, n);
}

/* Not all caches have it, or its index file cannot be written: remove what there is. */
static int
unsave(struct embed *e, const char *key)
{
	e->files.stopped = 1;
	saved_remove(&e->files.index, key);
	return send(e, OP_SAVE, 0, key, NULL, 0);
}

static int
save_returned(struct embed *e, struct frame *f)
{
	struct embed_files *d = &e->files;
	size_t i = saving(d, f->key);
	struct tensor *ids;

	if (i == d->nsaving)            /* that of unsave */
		return 0;
	d->saving[i] = d->saving[--d->nsaving];
	if (f->fork_n == 0)             /* the stage has printed why */
		return unsave(e, f->key);
	if (!(ids = frame_require(f, "ids", I32, f->fork_n, 0)))
		return -1;
	if (saved_add(&d->index, ids->data, f->fork_n) == 0) {
		d->saved++;
		return 0;
	}
	warn("%s: no more is saved", fail_text());
	return unsave(e, f->key);
}

/* --- loading --- */

uint32_t
files_find(const struct embed *e, const int32_t *ids, uint32_t n, struct saved_key *key)
{
	const struct saved_prefix *p;
	uint32_t common = 0;

	if (!e->files.on || !(p = saved_find(&e->files.index, ids, n, &common)))
		return 0;
	memcpy(key->text, p->key, sizeof(key->text));
	return common;
}

int
files_load(struct embed *e, const struct saved_key *key, const int32_t *ids, uint32_t n)
{
	uint64_t seq = seq_fresh(e);
	const struct span all = {seq, 0, n, 0};
	struct prefix *x = prefix_new(&e->kv.prefixes, seq);

	if (!x || prefix_set(x, 0, ids, n) < 0 || kv_append(e, &all) < 0)
		return -1;
	prefix_retain(&e->kv.prefixes, x, seq, n);
	x->loading = 1;
	e->files.nloading++;
	return send(e, OP_LOAD, seq, key->text, ids, n);
}

/* It may have been dropped meanwhile. */
static int
load_returned(struct embed *e, const struct frame *f)
{
	struct prefix *x = prefix_retained(&e->kv.prefixes, f->seq);

	e->files.nloading--;
	if (f->fork_n == 0)             /* the stage has printed why */
		saved_forget(&e->files.index, f->key);
	if (!x || !x->loading)
		return 0;
	if (f->fork_n == 0)
		return kv_drop(e, x);
	x->loading = 0;
	e->files.loaded++;
	e->files.positions += x->n;
	return 0;
}

int
files_returned(struct embed *e, struct frame *f)
{
	return f->op == OP_SAVE ? save_returned(e, f) : load_returned(e, f);
}
