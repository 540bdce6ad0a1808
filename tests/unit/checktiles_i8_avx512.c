/*
 * checktiles: the products of i8 in the tiles of AMX, which are emulated in plain C.
 */
#define FEW_COPIES      /* (soon compiled; it need not be fast) */
#include "numbers.h"

static const struct kernels *ref;
static struct slot s_x, s_a, s_b;

#include "products_i8.h"

#define I8_EMULATE
#define i8_amx i8_emulated
#include "cpu/matmul_i8_amx.c"

int
main(void)
{
	struct kernels k = { .name = "tiles", .matmul = product };

	ref = kernels_precision(kernels_named("ref"), PRECISION_I8);
	candidate_add(&k);
	if (kernels_named("avx512") && i8_avx512()) {
		check_i8_types();
		ok(candidates[0].good, "matmul in emulated tiles gives the bits of the plain one");
	} else {
		ok(1, "matmul in emulated tiles # SKIP this machine lacks AVX-512 VNNI or VBMI");
	}
	printf("1..%d\n", points);
	return failures != 0;
}
