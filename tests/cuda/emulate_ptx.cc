/* What the warps of an emulated GPU do in emulate_ptx.h and emulate_fp8.h. */
#include "cuda_runtime.h"
#include "emulate_ptx.h"
#include "emulate_fp8.h"

/* The BF16 at the half `i` of a register. */
static EMULATE_UNCHECKED inline float
half_of(uint32_t r, int i)
{
	uint32_t bits = i ? r & 0xffff0000 : r << 16;
	float x;

	memcpy(&x, &bits, 4);
	return x;
}

typedef double doubles __attribute__((vector_size(32)));
typedef float floats __attribute__((vector_size(16)));

/* Eight products at a time, exact but for the rounding of their sum with what there was; 4 rows at
 * once. */
EMULATE_UNCHECKED void
emulate_mma_all(void *lane[32])
{
	floats a[16][4], d[8][4];       /* columns of A and D */
	float b[8][16];

	for (int l = 0; l < 32; l++) {
		const struct emulate_mma *m = (const struct emulate_mma *)lane[l];
		const int g = l / 4, c = l % 4 * 2;

#pragma GCC unroll 8
		for (int i = 0; i < 4; i++) {
			((float *)a[c + i / 2 * 8])[g + i % 2 * 8] = half_of(m->a[i], 0);
			((float *)a[c + i / 2 * 8 + 1])[g + i % 2 * 8] = half_of(m->a[i], 1);
			((float *)d[c + i % 2])[g + i / 2 * 8] = m->d[i];
		}
#pragma GCC unroll 8
		for (int i = 0; i < 4; i++)
			b[g][c + i / 2 * 8 + i % 2] = half_of(m->b[i / 2], i % 2);
	}
	for (int rows = 0; rows < 4; rows++) {
		doubles x[16];

#pragma GCC unroll 8
		for (int k = 0; k < 16; k++)
			x[k] = __builtin_convertvector(a[k][rows], doubles);
		for (int col = 0; col < 8; col++)
#pragma GCC unroll 8
			for (int k = 0; k < 16; k += 8) {
				doubles sum = __builtin_convertvector(d[col][rows], doubles);

#pragma GCC unroll 8
				for (int j = k; j < k + 8; j++)
					sum += x[j] * (double)b[col][j];
				d[col][rows] = __builtin_convertvector(sum, floats);
			}
	}
	for (int l = 0; l < 32; l++)
#pragma GCC unroll 8
		for (int i = 0; i < 4; i++)
			((struct emulate_mma *)lane[l])->d[i] =
			    ((float *)d[l % 4 * 2 + i % 2])[l / 4 + i / 2 * 8];
}

static void
ldmatrix_row(uint16_t to[8], const void *row)
{
	if ((size_t)row % 16)
		emulate_die("ldmatrix from an address that is not aligned to 16 bytes");
	*(uint4 *)(void *)to = *(const uint4 *)row;
}

EMULATE_UNCHECKED void
emulate_ldmatrix_all(void *lane[32])
{
	alignas(16) uint16_t row[32][8];

	for (int l = 0; l < 32; l++)
		ldmatrix_row(row[l], ((struct emulate_ldmatrix *)lane[l])->row);
	for (int l = 0; l < 32; l++) {
		struct emulate_ldmatrix *to = (struct emulate_ldmatrix *)lane[l];
		const int c = l % 4 * 2, g = l / 4;

#pragma GCC unroll 8
		for (int i = 0; i < 32; i += 8)
			to->r[i / 8] = to->trans ?
			    row[i + c][g] | (uint32_t)row[i + c + 1][g] << 16 :
			    row[i + g][c] | (uint32_t)row[i + g][c + 1] << 16;
	}
}

typedef float column __attribute__((vector_size(32)));

/* float_of_f8, by a table. */
static EMULATE_UNCHECKED inline float
number_of(unsigned code)
{
	static float all[256];

	if (all[1] == 0)
#pragma GCC unroll 8
		for (int i = 0; i < 256; i++)
			all[i] = float_of_f8((uint8_t)i);
	return all[code & 0xff];
}

/* d[0] and d[1], rows 0 .. 7 and 8 .. 15, += the products of a[k] and b[k], k ascending. */
static EMULATE_UNCHECKED inline void
column_add(column d[2], const column a[32][2], const float b[32])
{
#pragma GCC unroll 8
	for (int k = 0; k < 32; k++) {
		d[0] += a[k][0] * b[k];
		d[1] += a[k][1] * b[k];
	}
}

/* Lane l has bytes k .. of rows l / 4 and l / 4 + 8 of A, and of column l / 4 of B, for
 * k = l % 4 * 4 and 16 more. */
EMULATE_UNCHECKED void
emulate_mma_e4m3(void *lane[32])
{
	column a[32][2], d[8][2];
	float b[8][32];

	for (int l = 0; l < 32; l++) {
		const struct emulate_mma_e4m3 *m = (const struct emulate_mma_e4m3 *)lane[l];
		const int g = l / 4, c = l % 4;

#pragma GCC unroll 8
		for (int i = 0; i < 4; i++) {
#pragma GCC unroll 8
			for (int byte = 0; byte < 4; byte++)
				((float *)&a[c * 4 + i / 2 * 16 + byte][i % 2])[g] =
				    number_of(m->a[i] >> byte * 8);
			((float *)&d[c * 2 + i % 2][i / 2])[g] = m->d[i];
		}
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++)
			b[g][c * 4 + i / 4 * 16 + i % 4] = number_of(m->b[i / 4] >> i % 4 * 8);
	}
	for (int col = 0; col < 8; col++)
		column_add(d[col], a, b[col]);
	for (int l = 0; l < 32; l++)
#pragma GCC unroll 8
		for (int i = 0; i < 4; i++)
			((struct emulate_mma_e4m3 *)lane[l])->d[i] =
			    ((float *)&d[l % 4 * 2 + i % 2][i / 2])[l / 4];
}

/* 32 bytes of row r of the tile that a descriptor names. */
static void
tile(uint8_t to[32], uint64_t descriptor, int r)
{
	uint64_t at = (descriptor & 0x3fff) << 4, eight = (descriptor >> 32 & 0x3fff) << 4;

	if (descriptor >> 62 != 1)
		emulate_die("a descriptor that is not of 128-byte swizzle");
	at += (uint64_t)(r / 8) * eight + (uint64_t)(r % 8) * 128;
#pragma GCC unroll 8
	for (int k = 0; k < 32; k += 16, at += 16)
		*(uint4 *)(void *)(to + k) =
		    *(const uint4 *)(emulate_shared_base() + (at ^ (at >> 7 & 7) << 4));
}

/* A warp's 16 rows of A by N rows of B.  d[i] of lane l: row l / 4, or 8 on, and column
 * i / 4 * 8 + l % 4 * 2, or the next. */
EMULATE_UNCHECKED void
emulate_wgmma_all(void *lane[32])
{
	const struct emulate_wgmma *first = (const struct emulate_wgmma *)lane[0];
	const int warp = (int)emulate_index / 32 % 4;
	alignas(16) uint8_t row[32];
	column a[32][2];

	for (int r = 0; r < 16; r++) {
		tile(row, first->from_a, warp * 16 + r);
#pragma GCC unroll 8
		for (int k = 0; k < 32; k++)
			((float *)&a[k][r / 8])[r % 8] = number_of(row[k]);
	}
	for (int n = 0; n < first->N; n++) {
		const int at = n / 8 * 4 + n % 2, c = n % 8 / 2;
		column sum[2] = { };
		float b[32];

		tile(row, first->from_b, n);
#pragma GCC unroll 8
		for (int k = 0; k < 32; k++)
			b[k] = number_of(row[k]);
		for (int r = 0; first->more && r < 16; r++)
			((float *)&sum[r / 8])[r % 8] =
			    ((struct emulate_wgmma *)lane[r % 8 * 4 + c])->d[at + r / 8 * 2];
		column_add(sum, a, b);
		for (int r = 0; r < 16; r++)
			((struct emulate_wgmma *)lane[r % 8 * 4 + c])->d[at + r / 8 * 2] =
			    ((float *)&sum[r / 8])[r % 8];
	}
}
