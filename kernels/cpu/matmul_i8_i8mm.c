/*
 * The products of i8 with SMMLA (FEAT_I8MM), and SDOT for a single row of x.
 */
#define I8_MATRIX
#include "cpu/matmul_i8_arm.h"

i8_product *
i8_i8mm(void)
{
	return product;
}
