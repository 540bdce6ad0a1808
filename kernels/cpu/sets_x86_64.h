/*
 * The instruction sets of x86-64, and whether this machine has them: a part of kernels.c.
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
have_avx2(void)
{
	unsigned a, b, c, d;

	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	    __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static int
have_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static int
have_vbmi(void)
{
	return __builtin_cpu_supports("avx512vbmi") != 0;
}

enum { XTILEDATA = 18 };        /* the state that Linux gives to a process only when asked */
enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };        /* in EDX of leaf 7; not every cpuid.h names them */

/* Tiles of BF16, and a system that lets this process have them. */
static int
have_amx(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
	    __builtin_cpu_supports("avx512bf16") &&
	    syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}

static const struct set sets[] = {
	PLAIN_C,
	{ "avx2", have_avx2, { matmul_avx2, vector_avx2, quantize_avx2, grad_avx2 },
	    matmul_bf16_avx2, i8_avx2 },
	{ "avx512", have_avx512, { matmul_avx512, vector_avx512, quantize_avx512, grad_avx512 },
	    matmul_bf16_avx512, i8_avx512 },
	{ "vbmi", have_vbmi, { matmul_vbmi }, NULL, NULL },
	{ "amx", have_amx, { NULL }, matmul_bf16_amx, i8_amx },
};
