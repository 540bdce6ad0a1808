/*
 * checkvnni: the products of i8 in AVX-VNNI, with the same instructions as AVX-512 encodes them.
 */
#define FEW_COPIES      /* (soon compiled; it need not be fast) */
#include "numbers.h"

static const struct kernels *ref;
static struct slot s_x, s_a, s_b;

#include "products_i8.h"

#define i8_vnni_avx2 i8_encoded
#include "cpu/matmul_i8_vnni_avx2.c"

int
main(void)
{
	struct kernels k = { .name = "vnni", .matmul = i8_encoded() };

	ref = kernels_precision(kernels_named("ref"), PRECISION_I8);
	candidate_add(&k);
	if (kernels_named("avx512") && i8_avx512()) {
		check_i8_types();
		ok(candidates[0].good,
		    "matmul with VNNI of 256 bits gives the bits of the plain one");
	} else {
		ok(1, "matmul with VNNI of 256 bits # SKIP this machine lacks VNNI of AVX-512");
	}
	printf("1..%d\n", points);
	return failures != 0;
}
