/*
 * The products of i8 in NEON without the instructions for them.
 */
#include "cpu/matmul_i8_arm.h"

i8_product *
i8_neon(void)
{
	return product;
}
