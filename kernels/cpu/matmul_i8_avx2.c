/*
 * The products of i8 in AVX2.
 */
#include <cpuid.h>

#include "cpu/lanes_avx2.h"
#include "cpu/products.h"
#include "cpu/i8.h"
#include "cpu/i8_lanes_avx2.h"
#include "cpu/matmul_i8_lanes.h"

enum { AVX_VNNI = 1 << 4 };     /* in EAX of leaf 7, subleaf 1 */

i8_product *
i8_avx2(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX_VNNI) ? i8_vnni_avx2() : product;
}
