#include "device/prefetch.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* that prefetch after one that waited for the disk; with all in memory it costs them 1% or so */
#define BATCHES 1000

static long
disk_waits(void)
{
	struct rusage r;

	return getrusage(RUSAGE_SELF, &r) == 0 ? r.ru_majflt : 0;
}

void
prefetch_init(struct prefetch *p)
{
	p->waits = disk_waits();
}

uint64_t
mat_bytes(const struct mat *w)
{
	if (w->turned)          /* heads [cols][turned] */
		return (uint64_t)(w->rows / w->turned) * (uint64_t)w->cols *
		    dtype_row(w->dtype, w->turned);
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

void
prefetch_mat(struct prefetch *p, const struct mat *w)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)w->data / page * page;
	size_t bytes = ((uintptr_t)w->data + mat_bytes(w) - from + page - 1) / page * page;

	if (p->counts) {
		p->bytes += bytes;
		p->held += held_of((unsigned char *)from, bytes, page);
	}
	if (p->left > 0)
		/* advice: where it is refused, pages come as they are touched */
		madvise((void *)from, bytes, MADV_WILLNEED);
}

int
prefetch_begin(struct prefetch *p)
{
	long waits = disk_waits();

	p->batches++;
	p->left = waits != p->waits ? BATCHES : p->left > 0 ? p->left - 1 : 0;
	p->waits = waits;
	p->asked |= p->left > 0;
	return p->left > 0 || p->counts;
}
