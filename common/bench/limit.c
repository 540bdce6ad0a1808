#include "bench/limit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"

#define SWEEP_MIN ((size_t)64 << 20)
#define SWEEP_MAX ((size_t)2 << 30)
#define UNIT 1024               /* bytes per index of pool_run */

/* A set of kernels that is not here has the peak of the set below. */
static const struct {
	const char *set;
	const struct peak *peak;
	peak_loop *bf16;                /* NULL: as in f32 */
	peak_loop *(*i8)(void);
} peaks[] = {
	{"ref", &peak_ref, NULL, peak_i8_ref},
#ifdef __x86_64__
	{"avx2", &peak_avx2, NULL, peak_i8_avx2},
	{"avx512", &peak_avx512, NULL, peak_i8_avx512},
	{"amx", &peak_avx512, peak_amx, peak_i8_amx},
#elif defined(__aarch64__)
	{"neon", &peak_neon, NULL, peak_i8_neon},
	{"dot", &peak_neon, NULL, peak_i8_dot},
	{"i8mm", &peak_neon, NULL, peak_i8_i8mm},
#endif
};

static struct peak
peak_of(const struct kernels *k)
{
	size_t best = 0;
	struct peak p;

	for (int set = 0;; set++) {
		for (size_t i = 0; i < sizeof(peaks) / sizeof(*peaks); i++)
			if (strcmp(peaks[i].set, kernels_set(set)) == 0)
				best = i;
		if (strcmp(k->name, kernels_set(set)) == 0)
			break;
	}
	p = *peaks[best].peak;
	if (peaks[best].bf16 && k->precision == PRECISION_BF16)
		p.multiply_adds = peaks[best].bf16;
	if (k->precision == PRECISION_I8)
		p.multiply_adds = peaks[best].i8();
	return p;
}

size_t
sweep_size(uint64_t most)
{
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	size_t n = cache > 0 ? 2 * (size_t)cache : SWEEP_MIN;

	n = n < SWEEP_MIN ? SWEEP_MIN : n > SWEEP_MAX ? SWEEP_MAX : n;
	return n <= most ? n : (size_t)most / (1 << 20) * (1 << 20);
}

int
sweep_open(struct sweep *s, size_t n, int huge)
{
	s->p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (n == 0 || s->p == MAP_FAILED) {
		s->p = NULL;
		return fail(FAIL_SYSTEM, "no memory for %zu bytes to be read", n);
	}
	s->n = n;
	madvise(s->p, n, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(s->p, 1, n);
	return 0;
}

void
sweep_close(struct sweep *s)
{
	if (s->p)
		munmap(s->p, s->n);
	*s = (struct sweep){0};
}

struct measurement {
	struct peak peak;
	const unsigned char *p;
	size_t distance;
	long rounds;
	double operations[1024];        /* per thread */
	uint64_t seen[1024];
};

static void
read_part(void *arg, size_t from, size_t to, int thread)
{
	struct measurement *j = arg;

	j->seen[thread] ^= j->peak.read(j->p + from * UNIT, (to - from) * UNIT, j->distance);
}

static double
read_once(const struct sweep *s, const struct kernels *k, struct pool *pool, size_t distance, double (*now)(void))
{
	struct measurement j = {.peak = peak_of(k), .p = s->p, .distance = distance};
	double start = now();

	pool_run(pool, s->n / UNIT, 1024, UNIT, read_part, &j);
	return now() - start;
}

double
sweep_read(const struct sweep *s, const struct kernels *k, struct pool *pool)
{
	return read_once(s, k, pool, 0, clock_now);
}

static void
compute_part(void *arg, size_t from, size_t to, int thread)
{
	struct measurement *j = arg;

	j->operations[thread] += j->peak.multiply_adds(j->rounds * (long)(to - from));
}

/* Operations per second of all threads. */
static double
compute_once(const struct kernels *k, struct pool *pool, long rounds)
{
	struct measurement j = {.peak = peak_of(k), .rounds = rounds};
	double start = clock_now(), all = 0;

	pool_run(pool, (size_t)pool_threads(pool) * 16, 1, 1e9, compute_part, &j);
	for (int i = 0; i < pool_threads(pool); i++)
		all += j.operations[i];
	return all / (clock_now() - start);
}

void
limit_measure(struct limit *l, const struct sweep *s, const struct kernels *k, struct pool *pool, double seconds,
    double (*now)(void))
{
	static const size_t distance[] = {0, 1024, 4096};
	double end = clock_now() + seconds / 2, fma;

	*l = (struct limit){0};
	for (int i = 0; i < 3 || clock_now() < end; i++) {
		double rate = (double)s->n / read_once(s, k, pool, distance[i % 3], now);

		l->read = rate > l->read ? rate : l->read;
	}
	end += seconds / 2;
	do {
		fma = compute_once(k, pool, 2000);
		l->fma = fma > l->fma ? fma : l->fma;
	} while (clock_now() < end);
}
