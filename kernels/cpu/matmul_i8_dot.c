/*
 * The products of i8 with SDOT (FEAT_DotProd).
 */
#define I8_DOT
#include "cpu/matmul_i8_arm.h"

i8_product *
i8_dot(void)
{
	return product;
}
