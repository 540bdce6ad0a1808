/*
 * The products of i8 in the tiles of AMX, for many rows of x.
 */
#include <cpuid.h>

#define I8_TILES
#include "cpu/lanes_avx512.h"
#include "cpu/products.h"
#include "cpu/i8.h"
#include "cpu/i8_lanes_avx512.h"
#include "cpu/matmul_i8_lanes.h"

enum { AMX_INT8 = 1 << 25 };    /* in EDX of leaf 7 */

i8_product *
i8_amx(void)
{
	unsigned a, b, c, d;

	return i8_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_INT8) ?
	    product : NULL;
}
