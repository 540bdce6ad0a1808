#include "device/device.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "device/cpu.h"
#include "device/device_internal.h"
#include "device/tensor.h"

int
device_parse(const char *text, int *ordinal)
{
	char *end;
	long n = 0;

	*ordinal = -1;
	if (strcmp(text, "cpu") == 0)
		return 0;
	if (strncmp(text, "cuda:", 5) == 0 && isdigit((unsigned char)text[5]) &&
	    (n = strtol(text + 5, &end, 10)) <= 1023 && !*end)
		*ordinal = (int)n;
	else if (strcmp(text, "cuda") == 0)
		*ordinal = 0;
	else
		return fail(FAIL_USAGE,
		    "'%s': give cpu, cuda, or cuda:N for one of several GPUs, counted from 0",
		    text);
	return 0;
}

static struct cpu *
cpu_new(void)
{
	struct cpu *c = mem_new(1, sizeof(*c));

	if (!c)
		return NULL;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->passed, NULL);
	return c;
}

static void
cpu_free(struct cpu *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->passed);
	scratch_free(&c->tiles);
	scratch_free(&c->scores);
	scratch_free(&c->slots);
	scratch_free(&c->batches);
	free(c);
}

struct device *
device_new(int ordinal, struct pool *pool, const struct kernels *k)
{
	struct device *d = mem_new(1, sizeof(*d));

	if (!d)
		return NULL;
	d->ops = ordinal < 0 ? &ops_cpu : &ops_cuda;
	d->pool = pool;
	d->k = k;
	d->cache_type = k ? cache_type_default(k->precision) : F32;
	d->ordinal = ordinal;
	if (ordinal < 0 && !(d->cpu = cpu_new())) {
		free(d);
		return NULL;
	}
	snprintf(d->name, sizeof(d->name), ordinal < 0 ? "cpu" : "cuda:%d", ordinal);
	return d;
}

struct device_pages {           /* memory that pages of caches are cut from */
	struct device_pages *next;
	void *p;
};

static void
pages_free(struct device *d)
{
	struct device_pages *p;

	while ((p = d->pages)) {
		d->pages = p->next;
		d->lib->free(d->gpu, p->p);
		free(p);
	}
	d->page_left = 0;
}

static void
stop(struct device *d)
{
	if (d->gpu) {
		/* a failed stage may have left work on the stream */
		(void)d->lib->wait(d->gpu);
		device_release(d, &d->attend);
		device_release(d, &d->experts);
	}
	device_slots_free(d);
	pages_free(d);
	for (size_t i = 0; i < d->nslabs && d->lib; i++)
		if (d->slabs[i].p)
			d->lib->free(d->gpu, d->slabs[i].p);
	if (d->gpu)
		d->lib->close(d->gpu);
	d->nslabs = 0;
	d->gpu = NULL;
	d->lib = NULL;
}

void
device_close(struct device *d)
{
	if (!d)
		return;
	if (!device_is_gpu(d))
		huge_free(d);
	stop(d);
	cpu_free(d->cpu);
	free(d->slabs);
	free(d->registered);
	free(d);
}

/* --- weights --- */

static int
add(struct device *d, void *slot, size_t bytes, int own)
{
	struct device_weight *p;

	if (!device_is_gpu(d) && (!d->huge_pages || own))
		return 0;
	if (mem_grow(&d->registered, &d->cap, d->n + 1, sizeof(*d->registered)) < 0)
		return -1;
	p = &d->registered[d->n++];
	*p = (struct device_weight){.slot = slot, .bytes = bytes, .own = own};
	memcpy(&p->host, slot, sizeof(p->host));        /* a pointer, whatever its type */
	return 0;
}

/* What the kernels for GPUs do not read. */
static int
check_layout(const struct device *d, const struct mat *w)
{
	if (!device_is_gpu(d) || (w->dtype <= Q4 && !w->turned))
		return 0;
	return fail(FAIL_DATA, w->turned ? "%s: kv_b in two halves, as GGUF files have it, is not "
	    "supported on a GPU: use -d cpu" : "%s: weights of type %s are not supported on a GPU: "
	    "use -d cpu", d->name, dtype_name(w->dtype));
}

int
device_register(struct device *d, struct mat *w)
{
	size_t rows = (size_t)w->rows, blocks = fp8_blocks((size_t)w->row0 + rows),
	    bytes = (size_t)mat_bytes(w);
	size_t groups = ((size_t)w->cols + QUANT_GROUP - 1) / QUANT_GROUP;

	if (check_layout(d, w) < 0 || add(d, &w->data, bytes, 0) < 0 ||
	    (w->scale && add(d, &w->scale, blocks * (size_t)w->scale_cols * sizeof(*w->scale),
	    0) < 0))
		return -1;
	return w->groups ? add(d, &w->groups, rows * groups, 0) : 0;
}

int
device_register_vec(struct device *d, float **v, size_t n)
{
	return add(d, v, n * sizeof(**v), 1);
}

void
device_vec_free(const struct device *d, float *v)
{
	if (!d->lib)
		free(v);
}

/* --- the start --- */

/* The cause, and the memory needed: which GPU would do. */
static int
refuse(const struct device *d)
{
	char why[768], all[32], weights[32], working[32];

	snprintf(why, sizeof(why), "%s", fail_text());
	return fail(FAIL_SYSTEM,
	    "%s: %s; it needs %s of GPU memory (weights %s, working %s), or -d cpu",
	    d->name, why, mem_text((double)(d->weights + d->expected), all),
	    mem_text((double)d->weights, weights),
	    mem_text((double)d->expected, working));
}

/* Open the GPU and look whether all fits there. -1 and a message of the library's, or of our
 * own. */
static int
find(struct device *d)
{
	char free_text[32], memory[32];
	int n;

	if (d->lib->count(&n) < 0)
		return fail(FAIL_SYSTEM, "%s", d->lib->error());
	if (n == 0)
		return fail(FAIL_SYSTEM, "there is no GPU here");
	if (d->ordinal >= n)
		return fail(FAIL_SYSTEM, "the last GPU here is cuda:%d", n - 1);
	if (d->lib->open(&d->gpu, d->ordinal) < 0 || d->lib->about(d->gpu, &d->about) < 0)
		return fail(FAIL_SYSTEM, "%s", d->lib->error());
	if (d->weights + d->expected > d->about.free)
		return fail(FAIL_SYSTEM,
		    "too little memory: %s of %s are free: divide the layers (-l) or the experts (-e) among more GPUs",
		    mem_text((double)d->about.free, free_text), mem_text((double)d->about.memory,
		    memory));
	return 0;
}

void
weights_moved(struct device *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct device_weight *p = &d->registered[i];
		void *there = (char *)d->slabs[p->slab].p + p->at;

		memcpy(p->slot, &there, sizeof(there));
		if (p->own && !weight_again(d, i))
			free((void *)p->host);
	}
	d->n = 0;
}

int
device_start(struct device *d)
{
	if (!device_is_gpu(d)) {
		if (d->huge_pages && (d->huge_pages = huge_start(d)) < 0)
			return -1;
		prefetch_init(&d->prefetch);
		return 0;
	}
	if (weights_layout(d) < 0)
		return fail_in("%s", d->name);
	if (gpu_load(&d->lib) < 0) {
		d->lib = NULL;
		return refuse(d);
	}
	if (find(d) < 0 || weights_upload(d) < 0) {
		(void)refuse(d);
		stop(d);
		return -1;
	}
	weights_moved(d);
	return 0;
}

int
device_fail(const struct device *d, const char *what)
{
	return fail(FAIL_SYSTEM, "%s: %s: %s", d->name, what, d->lib->error());
}

int
device_wait(struct device *d)
{
	if (d->lib->wait(d->gpu) < 0)
		return device_fail(d, "the GPU's work");
	d->waits++;
	return 0;
}

/* --- working memory --- */

void *
device_reserve(struct device *d, struct scratch *s, size_t bytes)
{
	char more[32], weights[32], working[32];

	if (s->p && bytes <= s->bytes)
		return s->p;
	if (s->p && bytes < s->bytes + s->bytes / 4)
		bytes = s->bytes + s->bytes / 4;        /* what grows by little would do so often */
	device_release(d, s);
	if (d->lib->alloc(d->gpu, &s->p, bytes ? bytes : 1) < 0) {
		s->p = NULL;
		fail(FAIL_SYSTEM, "%s: cannot allocate %s more of working memory (in use: %s, "
		    "weights %s): %s", d->name, mem_text((double)bytes, more),
		    mem_text((double)d->working, working), mem_text((double)d->weights, weights),
		    d->lib->error());
		return NULL;
	}
	s->bytes = bytes;
	d->working += bytes;
	d->moves++;
	return s->p;
}

void
device_release(struct device *d, struct scratch *s)
{
	if (s->p) {
		/* what is on its way may still use it; a failure comes back with the next call */
		(void)d->lib->wait(d->gpu);
		d->lib->free(d->gpu, s->p);
		d->working -= s->bytes;
	}
	*s = (struct scratch){0};
}

/* --- pages of caches --- */

/* Memory for pages of so many bytes. */
static int
pages_new(struct device *d, size_t bytes)
{
	size_t n = bytes < DEVICE_PAGES ? DEVICE_PAGES / bytes * bytes : bytes;
	struct device_pages *pages = mem_new(1, sizeof(*pages));
	char more[32], weights[32], working[32];

	if (!pages)
		return -1;
	if (d->lib->alloc(d->gpu, &pages->p, n) < 0) {
		free(pages);
		return fail(FAIL_SYSTEM,
		    "%s: cannot allocate %s more for the KV cache (in use with "
		    "working memory: %s, weights %s): %s", d->name, mem_text((double)n, more),
		    mem_text((double)d->working, working), mem_text((double)d->weights, weights),
		    d->lib->error());
	}
	pages->next = d->pages;
	d->pages = pages;
	d->page = pages->p;
	d->page_left = n;
	d->working += n;
	return 0;
}

void *
device_page(struct device *d, size_t bytes)
{
	void *page;

	if (d->page_left < bytes && pages_new(d, bytes) < 0)
		return NULL;
	page = d->page;
	d->page += bytes;
	d->page_left -= bytes;
	return page;
}
