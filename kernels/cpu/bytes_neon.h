/*
 * 32 bytes, 16 bytes and 8 floats of NEON: what codes of block types are unpacked with.
 * bytes_avx2.h says the same for AVX2; a part of lanes_neon.h.
 */
typedef uint8x16x2_t bytes32;
typedef uint8x16_t bytes16;
typedef float32x4x2_t eight;

#define BYTES static inline __attribute__((always_inline))

BYTES bytes16 load16(const void *p) { return vld1q_u8(p); }
BYTES bytes16 low_halves(bytes16 v) { return vandq_u8(v, vdupq_n_u8(15)); }
BYTES bytes16 high_halves(bytes16 v) { return vshrq_n_u8(v, 4); }
BYTES bytes16 less16(bytes16 v, int less) { return vsubq_u8(v, vdupq_n_u8((uint8_t)less)); }

BYTES bytes32
load32(const unsigned char *p)
{
	return (bytes32){{vld1q_u8(p), vld1q_u8(p + 16)}};
}

BYTES void
store32(signed char *p, bytes32 v)
{
	vst1q_s8(p, vreinterpretq_s8_u8(v.val[0]));
	vst1q_s8(p + 16, vreinterpretq_s8_u8(v.val[1]));
}

BYTES bytes32
bytes_or(bytes32 a, bytes32 b)
{
	return (bytes32){{vorrq_u8(a.val[0], b.val[0]), vorrq_u8(a.val[1], b.val[1])}};
}

BYTES bytes32
less32(bytes32 v, int less)
{
	return (bytes32){{less16(v.val[0], less), less16(v.val[1], less)}};
}

BYTES bytes32
bytes_and(bytes32 v, int mask)
{
	const uint8x16_t m = vdupq_n_u8((uint8_t)mask);

	return (bytes32){{vandq_u8(v.val[0], m), vandq_u8(v.val[1], m)}};
}

/* Each byte of v shifted to the left, or right where by < 0, and masked. */
BYTES bytes32
bytes_shift(bytes32 v, int by, int mask)
{
	const int8x16_t b = vdupq_n_s8((int8_t)by);

	return bytes_and((bytes32){{vshlq_u8(v.val[0], b), vshlq_u8(v.val[1], b)}}, mask);
}

/* 32 halves: those of the low halves of 16 bytes, then the high ones. */
BYTES bytes32
halves(const unsigned char *p)
{
	uint8x16_t v = vld1q_u8(p);

	return (bytes32){{low_halves(v), high_halves(v)}};
}

/* 16 in the bytes whose bits are set in 4 bytes. */
BYTES bytes32
fifth_bits(const unsigned char *p)
{
	const uint8x8_t bit = vcreate_u8(0x8040201008040201);
	uint8x8_t v[4];

	for (int i = 0; i < 4; i++)
		v[i] = vand_u8(vtst_u8(vdup_n_u8(p[i]), bit), vdup_n_u8(16));
	return (bytes32){{vcombine_u8(v[0], v[1]), vcombine_u8(v[2], v[3])}};
}

/* The levels that 32 numbers below 16 select. */
BYTES bytes32
of_levels(const signed char *levels, bytes32 v)
{
	const uint8x16_t table = vreinterpretq_u8_s8(vld1q_s8(levels));

	return (bytes32){{vqtbl1q_u8(table, v.val[0]), vqtbl1q_u8(table, v.val[1])}};
}

BYTES float
f16_at(const unsigned char *p)
{
	__fp16 h;

	memcpy(&h, p, sizeof(h));
	return (float)h;
}

/* d times 8 unsigned bytes. */
BYTES void
eight_times(float *to, float d, const unsigned char *c)
{
	uint16x8_t v = vmovl_u8(vld1_u8(c));

	vst1q_f32(to, vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_low_u16(v))), d));
	vst1q_f32(to + 4, vmulq_n_f32(vcvtq_f32_u32(vmovl_high_u16(v)), d));
}

/* d times 16 signed bytes. */
BYTES void
sixteen_times(float *to, float d, bytes16 v)
{
	reg c[4];

	of_16_i8(c, vreinterpretq_s8_u8(v));
	for (int i = 0; i < 4; i++)
		vst1q_f32(to + 4 * i, vmulq_n_f32(c[i], d));
}

BYTES void
eight_store(float *p, eight x)
{
	vst1q_f32(p, x.val[0]);
	vst1q_f32(p + 4, x.val[1]);
}

BYTES eight
eight_add(eight x, float y)
{
	return (eight){{vaddq_f32(x.val[0], vdupq_n_f32(y)), vaddq_f32(x.val[1], vdupq_n_f32(y))}};
}

BYTES eight
eight_mul(eight x, float y)
{
	return (eight){{vmulq_n_f32(x.val[0], y), vmulq_n_f32(x.val[1], y)}};
}

/* Of eight indices in a word, `bits` apart and below 4 or 8, the values. */
BYTES eight
eight_of(uint32_t entry, int bits, const float *values)
{
	float v[8];

	for (int i = 0; i < 8; i++)
		v[i] = values[entry >> bits * i & (bits == 2 ? 3 : 7)];
	return (eight){{vld1q_f32(v), vld1q_f32(v + 4)}};
}

/* x, or -x where a bit of `signs` is set. */
BYTES eight
eight_signed(eight x, unsigned signs)
{
	static const int32_t by[8] = {31, 30, 29, 28, 27, 26, 25, 24};
	const uint32x4_t s = vdupq_n_u32(signs), sign = vdupq_n_u32(0x80000000);

	for (int i = 0; i < 2; i++) {
		uint32x4_t m = vandq_u32(vshlq_u32(s, vld1q_s32(by + 4 * i)), sign);

		x.val[i] = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x.val[i]), m));
	}
	return x;
}
