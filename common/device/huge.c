/*
 * Weights in huge pages: the registered ones are copied to memory of the process, for which the
 * system is asked for huge pages. An entry of the TLB then covers 2 MiB in place of 4 KiB.
 */
#include "device/device_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/memory.h"

#define HUGE ((size_t)2 << 20)          /* bytes of a huge page; a wrong value costs speed only */
#define SETTING "/sys/kernel/mm/transparent_hugepage/enabled"

/* 0: the system has no huge pages for memory of processes. */
static int
is_enabled(void)
{
	char line[64] = "";
	FILE *f = fopen(SETTING, "re");

	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	return line[0] && !strstr(line, "[never]");
}

/* The slab's memory, from a multiple of HUGE on: 0, or -1 and a message. */
static int
slab_map(struct device_slab *s)
{
	size_t n = (s->bytes + HUGE - 1) / HUGE * HUGE, before, after;
	unsigned char *p = mmap(NULL, n + HUGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return fail(FAIL_SYSTEM, "--huge-pages: cannot map %zu bytes:", n);
	before = (HUGE - (uintptr_t)p % HUGE) % HUGE;
	after = HUGE - before;
	if (before > 0)
		munmap(p, before);
	if (after > 0)
		munmap(p + before + n, after);
	s->p = p + before;
	s->bytes = n;
	/* advice: warn_of_shortage reports it if it was not followed */
	(void)madvise(s->p, n, MADV_HUGEPAGE);
	return 0;
}

struct fill {                           /* of a slab */
	unsigned char *to;
	const struct device_weight *first, *end;        /* its weights */
};

/* A thread copies whole huge pages, which are of the NUMA node of the thread that touches them. */
static void
fill(void *arg, size_t from, size_t to, int thread)
{
	const struct fill *f = arg;

	(void)thread;
	for (const struct device_weight *p = f->first; p < f->end; p++) {
		size_t begin = p->at > from ? p->at : from, end = p->at + p->bytes < to ?
		    p->at + p->bytes : to;

		if (begin < end)
			memcpy(f->to + begin, (const unsigned char *)p->host + (begin - p->at),
			    end - begin);
	}
}

/* The first weight after those of the slab of weight `at`; the files are read ahead to there. */
static size_t
slab_end(const struct device *d, size_t at)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), slab = d->registered[at].slab;

	for (; at < d->n && d->registered[at].slab == slab; at++) {
		uintptr_t from = (uintptr_t)d->registered[at].host, start = from / page * page;

		(void)madvise((void *)start, from + d->registered[at].bytes - start, MADV_WILLNEED);
	}
	return at;
}

static int
fill_all(struct device *d)
{
	size_t at = 0, end = slab_end(d, 0);

	while (at < d->n) {
		struct device_slab *s = &d->slabs[d->registered[at].slab];
		struct fill f = {.first = d->registered + at, .end = d->registered + end};

		at = end;
		end = at < d->n ? slab_end(d, at) : at;
		if (slab_map(s) < 0)
			return -1;
		f.to = s->p;
		pool_run(d->pool, s->bytes, HUGE, 1, fill, &f);
	}
	return 0;
}

void
huge_free(struct device *d)
{
	for (size_t i = 0; i < d->nslabs; i++)
		if (d->slabs[i].p)
			munmap(d->slabs[i].p, d->slabs[i].bytes);
	d->nslabs = 0;
}

/* Bytes of this process in huge pages. */
static uint64_t
huge_bytes(void)
{
	char line[256];
	uint64_t kib = 0;
	FILE *f = fopen("/proc/self/smaps_rollup", "re");

	while (f && fgets(line, sizeof(line), f) &&
	    sscanf(line, "AnonHugePages: %" SCNu64, &kib) != 1)
		;
	if (f)
		fclose(f);
	return kib << 10;
}

/* Memory in fragments has too few huge pages. */
static void
warn_of_shortage(const struct device *d)
{
	uint64_t huge = huge_bytes();
	char a[32], b[32];

	if (huge < d->weights / 10 * 9)
		warn("--huge-pages: only %s of %s of weights are in huge pages: the system has no "
		    "more", mem_text((double)huge, a), mem_text((double)d->weights, b));
}

int
huge_start(struct device *d)
{
	char need[32], have[32];
	uint64_t memory = memory_free();

	if (!is_enabled()) {
		warn("--huge-pages: the system gives none (" SETTING "): weights stay in the "
		    "mapped files");
		return 0;
	}
	if (weights_layout(d) < 0)
		return -1;
	if (d->weights == 0)
		return 0;
	if (memory > 0 && d->weights > memory)
		return fail(FAIL_SYSTEM, "--huge-pages: a copy of the weights takes %s of memory, "
		    "%s are free: run fewer layers or experts in this process, or leave it out",
		    mem_text((double)d->weights, need), mem_text((double)memory, have));
	if (fill_all(d) < 0) {
		huge_free(d);
		return -1;
	}
	weights_moved(d);
	warn_of_shortage(d);
	return 1;
}
