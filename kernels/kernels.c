#include "kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "coded.h"
#include "cpu/i8.h"

static const char *const dtypes[DTYPES_ALL] = {
	[F32] = "F32", [BF16] = "BF16", [F16] = "F16", [F8_E4M3] = "F8_E4M3", [I32] = "I32", [I64] = "I64", [U8] = "U8",
	[Q8] = "Q8", [Q4] = "Q4",
#define NAME(name, type, cols, bytes) [name] = #name,
	EACH_BLOCK_TYPE(NAME)
#undef NAME
};

size_t
dtype_size(enum dtype t)
{
	return element_bytes(t);
}

size_t
dtype_row(enum dtype t, int cols)
{
	return row_bytes(t, cols);
}

int
dtype_cols(enum dtype t)
{
	return block_cols(t);
}

const char *
dtype_name(enum dtype t)
{
	return dtypes[t];
}

int
dtype_parse(const char *name, size_t len)
{
	for (int t = 0; t < DTYPES; t++)
		if (strlen(dtypes[t]) == len && memcmp(dtypes[t], name, len) == 0)
			return t;
	return -1;
}

struct mat
mat_rows(const struct mat *w, int from, int n)
{
	struct mat m = *w;

	m.data = w->turned ? (const unsigned char *)w->data +
	    (size_t)(from / w->turned) * (size_t)w->cols * row_bytes(w->dtype, w->turned) :
	    mat_at(w, from);
	if (w->groups)
		m.groups += (size_t)from * mat_groups(w);
	m.row0 += from;
	m.rows = n;
	return m;
}

const char *
precision_name(enum precision p)
{
#define NAME(name, text, before) text,
	static const char *const names[PRECISIONS] = {EACH_PRECISION(NAME)};
#undef NAME

	return names[p];
}

int
precision_on(enum precision p, int gpu)
{
	return p != (gpu ? PRECISION_I8 : PRECISION_FP8);
}

int
dtype_coded(enum dtype t)
{
	return i8_width(t) > 0;
}

int
precision_parse(const char *name)
{
	int p = PRECISIONS - 1;

	while (p >= 0 && strcmp(name, precision_name((enum precision)p)) != 0)
		p--;
	return p;
}

const char *
cache_type_name(enum dtype t)
{
	return t == BF16 ? "bf16" : "f32";
}

int
cache_type_parse(const char *name)
{
	return strcmp(name, "f32") == 0 ? F32 : strcmp(name, "bf16") == 0 ? BF16 : -1;
}

enum dtype
cache_type_default(enum precision p)
{
	return p == PRECISION_F32 || p == PRECISION_I8 ? F32 : BF16;
}

const char *
precision_text(enum precision p, enum dtype cache_type)
{
	return cache_type != BF16 || cache_type_default(p) == BF16 ? precision_name(p) :
	    p == PRECISION_I8 ? "i8, cache bf16" : "f32, cache bf16";
}

/* An instruction set.  Each needs the one before it, down to plain C. */
struct set {
	const char *name;
	int (*have)(void);                      /* NULL: always */
	void (*fill[5])(struct kernels *k);     /* for f32, then NULL */
	void (*fill_bf16)(struct kernels *k);   /* for bf16; NULL: that of the set below */
	i8_product *(*i8)(void);                /* for i8; NULL: that of the set below */
};

#define PLAIN_C { "ref", NULL, { matmul_ref, vector_ref, quantize_ref, grad_ref }, \
	matmul_bf16_ref, i8_ref }

#if defined(__x86_64__)
#include "cpu/sets_x86_64.h"
#elif defined(__aarch64__)
#include "cpu/sets_aarch64.h"
#else
static const struct set sets[] = { PLAIN_C };
#endif

enum { SETS = sizeof(sets) / sizeof(*sets) };

static struct kernels tables[SETS][PRECISIONS]; /* as many sets as the machine runs */
static int ntables;

/* The products of i8 of each set, for the weights that have them; others are multiplied in f32. */
static i8_product *i8_products[SETS];

#define EACH_SET(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
_Static_assert(SETS <= 8, "each set has an i8_of");

#define I8_OF(i) \
static void \
i8_of_##i(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, \
    int n0, int n1) \
{ \
	i8_product *f = i8_width(w->dtype) ? i8_products[i % SETS] : \
	    tables[i % SETS][PRECISION_F32].matmul; \
\
	f(out, ldo, x, ldx, T, w, n0, n1); \
}
EACH_SET(I8_OF)
#undef I8_OF

/* From the table of f32. */
static void
i8_fill(int i)
{
#define NAME(i) i8_of_##i,
	static i8_product *const own[] = {EACH_SET(NAME)};
#undef NAME
	struct kernels *k = &tables[i][PRECISION_I8];

	*k = tables[i][PRECISION_F32];
	k->precision = PRECISION_I8;
	k->matmul = own[i];
	i8_products[i] = sets[i].i8 ? sets[i].i8() : NULL;
	if (!i8_products[i])
		i8_products[i] = i8_products[i - 1];
}

/* Each table begins as a copy of the one below it; only products differ in other precisions. */
static void
tables_fill(void)
{
	for (int i = 0; i < SETS && (!sets[i].have || sets[i].have()); i++) {
		struct kernels *k = &tables[i][PRECISION_F32], *bf16 = &tables[i][PRECISION_BF16], *fp8 = &tables[i][PRECISION_FP8];

		if (i > 0)
			*k = tables[i - 1][PRECISION_F32];
		k->name = sets[i].name;
		for (int j = 0; sets[i].fill[j]; j++)
			sets[i].fill[j](k);
		*bf16 = *k;
		bf16->precision = PRECISION_BF16;
		if (i > 0) {
			bf16->matmul = tables[i - 1][PRECISION_BF16].matmul;
			bf16->matmul_t = tables[i - 1][PRECISION_BF16].matmul_t;
		}
		if (sets[i].fill_bf16)
			sets[i].fill_bf16(bf16);
		*fp8 = *k;
		fp8->precision = PRECISION_FP8;
		fp8->matmul = NULL;
		fp8->matmul_t = NULL;
		i8_fill(i);
		ntables = i + 1;
	}
}

static void
tables_ready(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, tables_fill);
}

/* The number of the set of that name, or -1. */
static int
set_named(const char *name)
{
	int i = SETS - 1;

	while (i >= 0 && strcmp(sets[i].name, name) != 0)
		i--;
	return i;
}

const char *
kernels_set(int i)
{
	return i < SETS ? sets[i].name : NULL;
}

const struct kernels *
kernels_named(const char *name)
{
	int i = set_named(name);

	tables_ready();
	return i >= 0 && i < ntables ? &tables[i][PRECISION_F32] : NULL;
}

const struct kernels *
kernels_precision(const struct kernels *k, enum precision p)
{
	tables_ready();
	return &tables[set_named(k->name)][p];
}

const struct kernels *
kernels_choose(void)
{
	const char *cap = getenv("DS_KERNELS");
	int most = cap && *cap ? set_named(cap) : SETS - 1;

	tables_ready();
	return most < 0 ? NULL : &tables[most < ntables ? most : ntables - 1][PRECISION_F32];
}
