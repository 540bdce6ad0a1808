#include "kernels.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"

static const struct {
	const char *name;
	size_t size;
} dtypes[DTYPES_ALL] = {
	[F32] = { "F32", 4 }, [BF16] = { "BF16", 2 }, [F16] = { "F16", 2 }, [F8_E4M3] = { "F8_E4M3", 1 },
	[I32] = { "I32", 4 }, [I64] = { "I64", 8 }, [U8] = { "U8", 1 },
	[Q8] = { "Q8", 1 }, [Q4] = { "Q4", 0 },
};

size_t
dtype_size(enum dtype t)
{
	return dtypes[t].size;
}

size_t
dtype_row(enum dtype t, int cols)
{
	return t == Q4 ? ((size_t)cols + 31) / 32 * 16 : (size_t)cols * dtypes[t].size;
}

const char *
dtype_name(enum dtype t)
{
	return dtypes[t].name;
}

int
dtype_parse(const char *name, size_t len)
{
	for (int t = 0; t < DTYPES; t++)
		if (strlen(dtypes[t].name) == len && memcmp(dtypes[t].name, name, len) == 0)
			return t;
	return -1;
}

struct mat
mat_rows(const struct mat *w, int from, int n)
{
	struct mat m = *w;

	m.data = mat_at(w, from);
	if (w->groups)
		m.groups += (size_t)from * mat_groups(w);
	m.row0 += from;
	m.rows = n;
	return m;
}

static int
have_avx2(void)
{
	unsigned a, b, c, d;

	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	    __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static int
have_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static struct kernels tables[3];        /* ref, avx2, avx512: as many as the machine runs */
static int ntables;

/* Each table begins as the one below it. */
static void
tables_fill(void)
{
	matmul_ref(&tables[0]);
	vector_ref(&tables[0]);
	quantize_ref(&tables[0]);
	tables[0].name = "ref";
	ntables = 1;
	if (!have_avx2())
		return;
	tables[1] = tables[0];
	matmul_avx2(&tables[1]);
	vector_avx2(&tables[1]);
	quantize_avx2(&tables[1]);
	tables[1].name = "avx2";
	ntables = 2;
	if (!have_avx512())
		return;
	tables[2] = tables[1];
	matmul_avx512(&tables[2]);
	vector_avx512(&tables[2]);
	quantize_avx512(&tables[2]);
	tables[2].name = "avx512";
	ntables = 3;
}

static void
tables_ready(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, tables_fill);
}

const struct kernels *
kernels_named(const char *name)
{
	tables_ready();
	for (int i = 0; i < ntables; i++)
		if (strcmp(tables[i].name, name) == 0)
			return &tables[i];
	return NULL;
}

const struct kernels *
kernels_choose(void)
{
	static const char *const names[] = { "ref", "avx2", "avx512" };
	const char *cap = getenv("DS_KERNELS");
	int most = 2;

	tables_ready();
	if (cap && *cap) {
		for (most = 2; most >= 0 && strcmp(names[most], cap) != 0; most--)
			;
		if (most < 0)
			return NULL;
	}
	return &tables[most < ntables ? most : ntables - 1];
}
