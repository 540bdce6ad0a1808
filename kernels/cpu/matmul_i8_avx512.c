/*
 * The products of i8 in AVX-512 with VNNI and VBMI.
 */
#include "cpu/lanes_avx512.h"
#include "cpu/products.h"
#include "cpu/i8.h"
#include "cpu/i8_lanes_avx512.h"
#include "cpu/matmul_i8_lanes.h"

i8_product *
i8_avx512(void)
{
	return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") ?
	    product : NULL;
}
