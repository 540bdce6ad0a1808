#include "stage/expert_prefetch.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define BATCHES 1000    /* that are read ahead behind one that waited for the disk; with all in memory it costs them 1% or so */

static long
disk_waits(void)
{
	struct rusage r;

	return getrusage(RUSAGE_SELF, &r) == 0 ? r.ru_majflt : 0;
}

void
expert_ahead_init(struct expert_ahead *a)
{
	*a = (struct expert_ahead){.waits = disk_waits()};
}

static uint64_t
mat_bytes(const struct mat *w)
{
	return (uint64_t)w->rows * dtype_row(w->dtype, w->cols);
}

/* How many of the bytes from p on, which lie in whole pages, are in memory. */
static uint64_t
held_of(unsigned char *p, size_t bytes, size_t page)
{
	unsigned char in[1024];
	uint64_t held = 0;

	for (size_t n; bytes > 0; p += n, bytes -= n) {
		n = bytes < sizeof(in) * page ? bytes : sizeof(in) * page;
		if (mincore(p, n, in) == 0)
			for (size_t i = 0; i < n / page; i++)
				held += in[i] & 1 ? page : 0;
	}
	return held;
}

static void
mat_ahead(struct expert_ahead *a, const struct mat *w)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)w->data / page * page;
	size_t bytes = ((uintptr_t)w->data + mat_bytes(w) - from + page - 1) / page * page;

	if (a->counts) {
		a->bytes += bytes;
		a->held += held_of((unsigned char *)from, bytes, page);
	}
	if (a->reads > 0)
		madvise((void *)from, bytes, MADV_WILLNEED);    /* advice: where it is refused, pages come as they are touched */
}

void
expert_ahead(struct expert_ahead *a, const struct mlp_rows *parts, int n)
{
	long waits = disk_waits();

	a->batches++;
	a->reads = waits != a->waits ? BATCHES : a->reads > 0 ? a->reads - 1 : 0;
	a->waits = waits;
	a->read |= a->reads > 0;
	for (int i = 0; i < n && (a->reads > 0 || a->counts); i++) {
		mat_ahead(a, &parts[i].m->gate);
		mat_ahead(a, &parts[i].m->up);
		mat_ahead(a, &parts[i].m->down);
	}
}
