/*
 * The products of i8 in AVX2 with AVX-VNNI.
 */
#define I8_VNNI
#include "cpu/lanes_avx2.h"
#include "cpu/products.h"
#include "cpu/i8.h"
#include "cpu/i8_lanes_avx2.h"
#include "cpu/matmul_i8_lanes.h"

i8_product *
i8_vnni_avx2(void)
{
	return product;
}
