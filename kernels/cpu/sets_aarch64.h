/*
 * The instruction sets of aarch64, and whether this machine has them: a part of kernels.c.  NEON is
 * in every one.  (quantize_ref is compiled to it.)
 */
#include <sys/auxv.h>

enum { ASIMDDP = 1 << 20, I8MM = 1 << 13 };     /* in AT_HWCAP and AT_HWCAP2 */

static int
have_dot(void)
{
	return (getauxval(AT_HWCAP) & ASIMDDP) != 0;
}

static int
have_i8mm(void)
{
	return (getauxval(AT_HWCAP2) & I8MM) != 0;
}

static const struct set sets[] = {
	PLAIN_C,
	{ "neon", NULL, { matmul_neon, vector_neon, grad_neon }, matmul_bf16_neon, i8_neon },
	{ "dot", have_dot, { NULL }, NULL, i8_dot },
	{ "i8mm", have_i8mm, { NULL }, NULL, i8_i8mm },
};
