/*
 * checkblocks: the block types of GGUF in plain C against the float32 of the package gguf, and the
 * table of types.  Prints TAP; runs in the repository's root.
 */
/* check: yes */
#include <inttypes.h>

#include "numbers.h"
#include "weights/gguf_format.h"

enum { BLOCKS = 256 };          /* as tests/golden/gguf/make.py */

static struct slot s_a;

static unsigned char
pseudorandom(uint32_t x)
{
	x = (x ^ x >> 16) * 0x7feb352d;
	x = (x ^ x >> 15) * 0x846ca68b;
	return (unsigned char)(x >> 24);
}

static uint64_t
checksum(const float *x, int n)
{
	uint64_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += to_bits(x[i]) * (2 * (uint64_t)i + 1);
	return sum;
}

/* A row of BLOCKS blocks as float32. */
static float *
row_of(enum dtype t)
{
	struct mat w = { .rows = 1, .cols = BLOCKS * dtype_cols(t), .dtype = t };
	size_t bytes = dtype_row(t, w.cols);
	unsigned char *p = place(&s_w, bytes);
	float *a = place(&s_a, (size_t)w.cols * 4);

	for (size_t i = 0; i < bytes; i++)
		p[i] = pseudorandom((uint32_t)i);
	w.data = p;
	kernels_named("ref")->row(a, &w, 0);
	return a;
}

/* A line of blocks.txt. */
static int
check_line(const char *name, unsigned type, int cols, int bytes, uint64_t sum)
{
	const struct gguf_format *format = gguf_format(type);
	enum dtype t = format && format->dtype >= 0 ? (enum dtype)format->dtype : F32;

	if (strcmp(dtype_name(t), name) != 0 || dtype_cols(t) != cols ||
	    dtype_row(t, cols) != (size_t)bytes || dtype_row(t, 3 * cols) != 3 * (size_t)bytes)
		return 0;
	return checksum(row_of(t), BLOCKS * cols) == sum;
}

static void
check_types(void)
{
	FILE *f = fopen("tests/golden/gguf/blocks.txt", "r");
	int cols, bytes, lines = 0;
	unsigned type;
	uint64_t sum;
	char name[20];

	while (f && fscanf(f, "%19s %u %d %d %" SCNx64, name, &type, &cols, &bytes, &sum) == 5) {
		ok(check_line(name, type, cols, bytes, sum), "%s has the float32 of gguf-py", name);
		lines++;
	}
	if (f)
		fclose(f);
	ok(lines == DTYPES_ALL - (Q4 + 1), "every block type is among them");
}

/* The halves of a head of llama's q and k stand in pairs. */
static int
zipped(const char *set)
{
	const struct kernels *k = kernels_named(set);
	struct mat w = matrix(16, 64, Q8_0, PLAIN, 0), z = w;
	float a[64], b[64];

	z.zipped = 8;
	for (int r = 0; k && r < 16; r++) {
		k->row(a, &z, r);
		k->row(b, &w, r / 8 * 8 + (r % 8 < 4 ? r % 8 * 2 : r % 8 * 2 - 7));
		if (memcmp(a, b, sizeof(a)) != 0)
			return 0;
	}
	return 1;
}

int
main(void)
{
	check_types();
	ok(dtype_cols(F32) == 1 && dtype_cols(Q4) == 1 && dtype_parse("Q4_K", 4) == -1,
	    "block types are no dtypes of safetensors");
	for (int i = 0; kernels_set(i); i++)
		ok(zipped(kernels_set(i)), "row of %s takes the model's row of a zipped matrix",
		    kernels_set(i));
	printf("1..%d\n", points);
	return failures != 0;
}
