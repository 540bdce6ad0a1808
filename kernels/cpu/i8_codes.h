/*
 * Weights on their way to the products of i8, in registers: a part of matmul_i8_lanes.h.
 *
 * A row is read in blocks of 256 columns.  A chunk is 16 columns of it, a lane of a register.  A
 * unit is 2 L groups of columns that share a scale: two registers of chunks, or four where a group
 * has two chunks.  The sums of two registers of groups are added to the lanes of the contract,
 * slots here: 0 1 2 3, or where i8_crossed 0 2 1 3.
 */
enum { CHUNK = 16, CHUNKS = 16, I8_BLOCK = CHUNK * CHUNKS };

static const signed char i8_q4[16] = { QUANT_LEVELS };
static const signed char i8_iq4[16] = { IQ4_LEVELS };
static const signed char i8_q4_high[16] = {
#define HIGH(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p) \
	a ^ -128, b ^ -128, c ^ -128, d ^ -128, e ^ -128, f ^ -128, g ^ -128, h ^ -128, i ^ -128, \
	j ^ -128, k ^ -128, l ^ -128, m ^ -128, n ^ -128, o ^ -128, p ^ -128
#define HIGH_OF(...) HIGH(__VA_ARGS__)
	HIGH_OF(QUANT_LEVELS) };
static const signed char i8_iq4_high[16] = { HIGH_OF(IQ4_LEVELS) };
static const signed char i8_mxfp4[16] = {
	12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0 };

/* Other types of EACH_CODED_BLOCK are multiplied by I8_BELOW. */
#define EACH_I8(X) X(Q8) X(Q4) X(Q8_0) X(Q4_0) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_NL) X(IQ4_XS) X(MXFP4)

/* Chunks of a group. */
INLINE int
i8_each(enum dtype t)
{
	return t == Q8 || t == Q4 || t == Q6_K ? 1 : 2;
}

/* Whether a register has the even groups of a unit and the next the odd ones. */
INLINE int
i8_crossed(enum dtype t)
{
	return t == Q4 || t == Q4_K || t == Q5_K;
}

/* Codes need all 8 bits. */
INLINE int
i8_full(enum dtype t)
{
	return t == Q8 || t == Q4 || t == Q8_0 || t == IQ4_NL || t == IQ4_XS;
}

/* A byte has two codes, and all that they are made from. */
INLINE int
i8_halved(enum dtype t)
{
	return t == Q4 || t == Q4_0 || t == Q4_K || t == IQ4_NL || t == IQ4_XS || t == MXFP4;
}

/* What the codes in registers are more than those of the contract. */
INLINE int
i8_more(enum dtype t)
{
	if (i8_full(t))
		return I8_SIGNED ? 0 : 128;
	return t == Q4_0 ? 8 : t == MXFP4 ? 12 : t == Q6_K ? 32 : 0;
}

/* Types whose tiles of x are alike, by the first of each kind, but for i8_more; */
#define EACH_I8_X(X) X(Q8) X(Q8_0) X(Q4_K)
INLINE enum dtype
i8_x_kind(enum dtype t)
{
	return i8_has_minimum(t) ? Q4_K : i8_each(t) == 1 ? Q8 : Q8_0;
}

/* and whose panels are multiplied alike. */
#define EACH_I8_PRODUCT(X) X(Q8) X(Q8_0) X(Q4_0) X(Q4_K) X(Q6_K)
INLINE enum dtype
i8_product_kind(enum dtype t)
{
	if (i8_each(t) == 1)
		return i8_full(t) ? Q8 : Q6_K;
	return i8_full(t) ? Q8_0 : i8_has_minimum(t) ? Q4_K : Q4_0;
}

/* The chunk of a unit in lane `lane` of register i. */
INLINE int
i8_chunk(int i, int lane, enum dtype t)
{
	const int each = i8_each(t), j = i / each;

	return (i8_crossed(t) ? 2 * lane + j : j * L + lane) * each + i % each;
}

/* The group of slot s. */
INLINE int
i8_slot(int s, enum dtype t)
{
	return i8_crossed(t) ? (s & ~3) | (s & 1) << 1 | (s >> 1 & 1) : s;
}

/* Units of a block. */
INLINE int
i8_units(enum dtype t)
{
	return CHUNKS / (2 * L * i8_each(t));
}

/* The bytes of a block of a row. */
INLINE int
i8_bytes(enum dtype t)
{
	return t == Q8 ? I8_BLOCK : t == Q4 ? I8_BLOCK / 2 : (int)row_bytes(t, I8_BLOCK);
}

INLINE vec
codes_signed(vec v)
{
	return I8_SIGNED ? v : v_xor(v, v_bytes(-128));
}

/* Of 4 bits: those of the low halves of bytes, and of the high ones. */
INLINE void
codes_halves(vec *low, vec *high, vec v, enum dtype t)
{
	const signed char *levels = t == Q4 ? (I8_SIGNED ? i8_q4 : i8_q4_high) :
	    t == MXFP4 ? i8_mxfp4 : I8_SIGNED ? i8_iq4 : i8_iq4_high;

	if (t == Q4_0 || t == Q4_K) {
		*low = v_low(v);
		*high = v_high(v);
	} else {
		*low = v_of_low(levels, v);
		*high = v_of_high(levels, v);
	}
}

/* L chunks of Q6_K from chunk c on. */
INLINE vec
codes_q6(const unsigned char *b, int c)
{
	vec low = v_load(b + c / 8 * 64 + c % 4 * 16);
	vec two = v_rotate(v_every_pair(b + 128 + c / 8 * 32), 4 - c / 2 % 4 * 2, -2, 2);

	return v_with(c / 4 % 2 ? v_high(low) : v_low(low), two, 0x30);
}

/* Registers of the bytes of a unit. */
INLINE int
i8_raws(enum dtype t)
{
	return t == Q4 ? 1 : t == Q8_0 || t == Q5_K ? 4 : 2;
}

/* The bytes of a unit of a block b, whose lanes are those of the codes. */
ALWAYS void
raw_unit(vec raw[4], const unsigned char *b, int u, enum dtype t)
{
	const int g = 2 * L * u;        /* of the first group */

	if (t == Q4_K || t == Q5_K)
		v_split(&raw[0], &raw[1], b + (t == Q4_K ? 16 : 48) + CHUNK * g);
	UNROLL
	for (int i = 0; i < 2; i++) {
		const unsigned char *p = b + (size_t)(g + i * L) * row_bytes(t, 32);

		if (t == Q5_K) {
			raw[2 + i] = v_every_lane(b + 16 + i * CHUNK);
		} else if (t == Q8) {
			raw[i] = v_load(b + CHUNK * (g + i * L));
		} else if (t == Q4) {
			raw[0] = v_load(b + CHUNK * L * u);
		} else if (t == Q6_K) {
			raw[i] = codes_q6(b, g + i * L);
		} else if (t == Q8_0) {
			raw[2 * i] = v_lanes(p + 2, 34);
			raw[2 * i + 1] = v_lanes(p + 18, 34);
		} else if (t != Q4_K) {
			raw[i] = t == IQ4_XS ? v_load(b + 8 + CHUNK * (g + i * L)) :
			    t == MXFP4 ? v_lanes(p + 1, 17) : v_lanes(p + 2, 18);
		}
	}
}

/* The same of two rows: each lane has 8 bytes of a and the same 8 of b, in low the first 8. */
ALWAYS void
raw_units(vec low[4], vec high[4], const unsigned char *a, const unsigned char *b, int u,
    enum dtype t)
{
	vec of_a[4], of_b[4];

	if (t == Q4_0 || t == IQ4_NL || t == MXFP4) {
		const int size = (int)row_bytes(t, 32);

		UNROLL
		for (int i = 0; i < 2; i++) {
			const int at = (2 * u + i) * L * size;

			v_ends(&low[i], &high[i], a + at, b + at, size);
		}
		return;
	}
	raw_unit(of_a, a, u, t);
	raw_unit(of_b, b, u, t);
	UNROLL
	for (int i = 0; i < i8_raws(t); i++) {
		low[i] = v_low64(of_a[i], of_b[i]);
		high[i] = v_high64(of_a[i], of_b[i]);
	}
}

/* The codes of a unit. */
ALWAYS void
codes_of(vec v[4], const vec raw[4], int u, enum dtype t)
{
	if (t == Q4_K || t == Q5_K) {
		UNROLL
		for (int i = 0; i < 2; i++) {
			v[i] = v_low(raw[i]);
			v[2 + i] = v_high(raw[i]);
		}
		UNROLL
		for (int i = 0; t == Q5_K && i < 4; i++)
			v[i] = v_with(v[i], v_rotate(raw[2 + i % 2], 4 - 2 * L * u - i / 2, -2, 1),
			    0x10);
		return;
	}
	UNROLL
	for (int i = 0; i < i8_raws(t); i++)
		if (t == Q8 || t == Q8_0)
			v[i] = codes_signed(raw[i]);
		else if (t == Q6_K)
			v[i] = raw[i];
		else
			codes_halves(&v[2 * i], &v[2 * i + 1], raw[i], t);
}
