#include <string.h>
#ifdef __aarch64__
#include <sys/auxv.h>
#endif

#include "frame/frame.h"

#define POLYNOMIAL 0x82f63b78u          /* Castagnoli's, reflected */

/* A byte at a time.  */
static uint32_t
crc_table(uint32_t crc, const unsigned char *p, size_t n)
{
	static uint32_t table[256];
	static int made;

	if (!__atomic_load_n(&made, __ATOMIC_ACQUIRE)) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (int k = 0; k < 8; k++)
				c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
			__atomic_store_n(&table[i], c, __ATOMIC_RELAXED);
		}
		__atomic_store_n(&made, 1, __ATOMIC_RELEASE);
	}
	for (; n > 0; n--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return crc;
}

#if defined(__x86_64__) || defined(__aarch64__)
#define LANE 4096

/* crc after n zero bytes: what puts a lane's CRC in front of the next one.  */
static uint32_t
crc_zeros(uint32_t crc, size_t n)
{
	static const unsigned char zeros[256];

	for (; n > sizeof(zeros); n -= sizeof(zeros))
		crc = crc_table(crc, zeros, sizeof(zeros));
	return crc_table(crc, zeros, n);
}

/* The effect of LANE zero bytes on a CRC is linear over its bits: a table for each of its bytes.
 * Bit 31 is the polynomial 1, and each bit is x times the one above it: so are the effects.  */
static uint32_t
crc_shift(uint32_t crc)
{
	static uint32_t shift[4][256];
	static int made;

	if (!__atomic_load_n(&made, __ATOMIC_ACQUIRE)) {
		uint32_t one[32];

		one[31] = crc_zeros(1u << 31, LANE);
		for (int k = 31; k > 0; k--)
			one[k - 1] = one[k] & 1 ? one[k] >> 1 ^ POLYNOMIAL : one[k] >> 1;
		for (int b = 0; b < 4; b++)
			for (uint32_t i = 0; i < 256; i++) {
				uint32_t bits = 0;

				for (uint32_t left = i; left; left &= left - 1)
					bits ^= one[b * 8 + __builtin_ctz(left)];
				__atomic_store_n(&shift[b][i], bits, __ATOMIC_RELAXED);
			}
		__atomic_store_n(&made, 1, __ATOMIC_RELEASE);
	}
	return shift[0][crc & 0xff] ^ shift[1][crc >> 8 & 0xff] ^
	    shift[2][crc >> 16 & 0xff] ^ shift[3][crc >> 24];
}

#ifdef __x86_64__
#define FOR_CRC __attribute__((target("sse4.2")))
#define CRC8(c, w) ((c) = __builtin_ia32_crc32di((c), (w)))
#define CRC1(c, b) ((c) = __builtin_ia32_crc32qi((uint32_t)(c), (b)))
#define HAVE_CRC __builtin_cpu_supports("sse4.2")
#else
#define FOR_CRC
#define CRC8(c, w) \
	__asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(c) : "r"(w))
#define CRC1(c, b) \
	__asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(c) : "r"((uint32_t)(b)))
#define HAVE_CRC (getauxval(AT_HWCAP) & 1 << 7)         /* HWCAP_CRC32 */
#endif

/* The instruction has a latency of two or three cycles: three lanes at once keep it busy.  */
FOR_CRC static uint32_t
crc_words(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t w[3], c = crc;

	for (; n >= 3 * LANE; n -= 3 * LANE, p += 3 * LANE) {
		uint64_t c1 = 0, c2 = 0;

		for (size_t i = 0; i < LANE; i += 8) {
			memcpy(&w[0], p + i, 8);
			memcpy(&w[1], p + LANE + i, 8);
			memcpy(&w[2], p + 2 * LANE + i, 8);
			CRC8(c, w[0]);
			CRC8(c1, w[1]);
			CRC8(c2, w[2]);
		}
		c = crc_shift(crc_shift((uint32_t)c) ^ (uint32_t)c1) ^ (uint32_t)c2;
	}
	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&w[0], p, 8);
		CRC8(c, w[0]);
	}
	for (; n > 0; n--)
		CRC1(c, *p++);
	return (uint32_t)c;
}
#endif

uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
#ifdef HAVE_CRC
	if (HAVE_CRC)
		return ~crc_words(~crc, p, n);
#endif
	return ~crc_table(~crc, p, n);
}
