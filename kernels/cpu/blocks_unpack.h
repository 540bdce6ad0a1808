/*
 * Block types of GGUF whose weights are code * scale - minimum, with both shared by 16 columns or
 * more: a part of blocks_lanes.h.  Codes are bytes.
 */
struct unpacked {
	signed char codes[256] __attribute__((aligned(64)));
	float scale[16], minimum[16];   /* of groups of block_shared columns */
};

/* Columns that share a scale; 0: the type is of another kind. */
ALWAYS int
block_shared(enum dtype t)
{
	switch (t) {
	case Q2_K:
	case Q3_K:
	case Q6_K:
		return 16;
	case TQ2_0:
		return 256;
	case IQ2_XXS:
	case IQ2_XS:
	case IQ2_S:
	case IQ3_XXS:
	case IQ3_S:
	case IQ1_S:
	case IQ1_M:
	case TQ1_0:
		return 0;
	default:
		return 32;
	}
}

ALWAYS int
block_has_minimum(enum dtype t)
{
	return t == Q4_1 || t == Q5_1 || t == Q2_K || t == Q4_K || t == Q5_K;
}

/* The eight 6-bit scales and minimums of Q4_K and Q5_K. */
ALWAYS void
unpack_six(struct unpacked *u, const unsigned char *p, float d, float m)
{
	uint32_t v[3], s[4];
	const unsigned char *c = (const unsigned char *)s;

	memcpy(v, p, sizeof(v));
	s[0] = v[0] & 0x3f3f3f3f;
	s[1] = (v[2] & 0x0f0f0f0f) | (v[0] >> 2 & 0x30303030);
	s[2] = v[1] & 0x3f3f3f3f;
	s[3] = (v[2] >> 4 & 0x0f0f0f0f) | (v[1] >> 2 & 0x30303030);
	eight_times(u->scale, d, c);
	eight_times(u->minimum, m, c + 8);
}

/* The 16 scales of Q3_K: four bits in 8 bytes, two in 4. */
ALWAYS bytes16
scales_q3(const unsigned char *p)
{
	uint32_t v[3], s[4];

	memcpy(v, p, sizeof(v));
	for (int i = 0; i < 4; i++)
		s[i] = (v[i % 2] >> i / 2 * 4 & 0x0f0f0f0f) | (v[2] >> 2 * i & 0x03030303) << 4;
	return less16(load16(s), 32);
}

ALWAYS void
unpack_scales(struct unpacked *u, const unsigned char *b, enum dtype t)
{
	switch (t) {
	case Q2_K:
		sixteen_times(u->scale, f16_at(b + 80), low_halves(load16(b)));
		sixteen_times(u->minimum, f16_at(b + 82), high_halves(load16(b)));
		break;
	case Q3_K:
		sixteen_times(u->scale, f16_at(b + 108), scales_q3(b + 96));
		break;
	case Q4_K:
	case Q5_K:
		unpack_six(u, b + 4, f16_at(b), f16_at(b + 2));
		break;
	case Q6_K:
		sixteen_times(u->scale, f16_at(b + 208), load16(b + 192));
		break;
	case IQ4_XS:
		for (int s = 0; s < 8; s++) {
			int high = (int)block_u16(b + 2) >> 2 * s & 3;

			u->scale[s] = f16_at(b) *
			    (float)(((b[4 + s / 2] >> s % 2 * 4 & 15) | high << 4) - 32);
		}
		break;
	case MXFP4:
		u->scale[0] = block_e8m0(b[0]);
		break;
	case TQ2_0:
		u->scale[0] = f16_at(b + 64);
		break;
	case Q4_1:
	case Q5_1:
		u->minimum[0] = -f16_at(b + 2);
		u->scale[0] = f16_at(b);
		break;
	default:
		u->scale[0] = f16_at(b);
	}
}

ALWAYS void
codes_store(struct unpacked *u, int k, bytes32 v, int less)
{
	store32(u->codes + k, less ? less32(v, less) : v);
}

static const signed char levels_iq4[16] = { IQ4_LEVELS }, levels_mxfp4[16] = { MXFP4_LEVELS };

/* The codes of 64 columns of Q6_K: with `high`, of the high halves. */
ALWAYS void
codes_q6(struct unpacked *u, int k, const unsigned char *low, const unsigned char *two, int high)
{
	bytes32 h = load32(two);

	codes_store(u, k, bytes_or(bytes_shift(load32(low), high ? -4 : 0, 15),
	    bytes_shift(h, high ? 0 : 4, 0x30)), 32);
	codes_store(u, k + 32, bytes_or(bytes_shift(load32(low + 32), high ? -4 : 0, 15),
	    bytes_shift(h, high ? -2 : 2, 0x30)), 32);
}

/* Of types that have 32 columns in a block. */
ALWAYS void
codes_of_32(struct unpacked *u, const unsigned char *b, enum dtype t)
{
	switch (t) {
	case Q4_0:
		codes_store(u, 0, halves(b + 2), 8);
		break;
	case Q4_1:
		codes_store(u, 0, halves(b + 4), 0);
		break;
	case Q5_0:
		codes_store(u, 0, bytes_or(halves(b + 6), fifth_bits(b + 2)), 16);
		break;
	case Q5_1:
		codes_store(u, 0, bytes_or(halves(b + 8), fifth_bits(b + 4)), 0);
		break;
	case IQ4_NL:
		codes_store(u, 0, of_levels(levels_iq4, halves(b + 2)), 0);
		break;
	default:
		codes_store(u, 0, of_levels(levels_mxfp4, halves(b + 1)), 0);
	}
}

/* Columns 32 s .. of types that have 256. */
ALWAYS void
codes_of_256(struct unpacked *u, const unsigned char *b, int s, enum dtype t)
{
	bytes32 v;

	switch (t) {
	case Q2_K:
		v = bytes_shift(load32(b + 16 + s / 4 * 32), -2 * (s % 4), 3);
		codes_store(u, 32 * s, v, 0);
		break;
	case TQ2_0:
		codes_store(u, 32 * s, bytes_shift(load32(b + s / 4 * 32), -2 * (s % 4), 3), 1);
		break;
	case Q3_K:
		v = bytes_shift(load32(b + 32 + s / 4 * 32), -2 * (s % 4), 3);
		codes_store(u, 32 * s, bytes_or(v, bytes_shift(load32(b), 2 - s, 4)), 4);
		break;
	case IQ4_XS:
		codes_store(u, 32 * s, of_levels(levels_iq4, halves(b + 8 + 16 * s)), 0);
		break;
	case Q6_K:
		if (s % 2 == 0)
			codes_q6(u, 32 * s, b + s / 4 * 64, b + 128 + s / 4 * 32, s / 2 % 2);
		break;
	default:                        /* Q4_K, Q5_K */
		v = load32(b + (t == Q4_K ? 16 : 48) + s / 2 * 32);
		v = bytes_shift(v, s % 2 ? -4 : 0, 15);
		if (t == Q5_K)
			v = bytes_or(v, bytes_shift(load32(b + 16), 4 - s, 16));
		codes_store(u, 32 * s, v, 0);
	}
}

/* The codes of a block: u->codes, or where they lie. */
ALWAYS const signed char *
unpack_codes(struct unpacked *u, const unsigned char *b, enum dtype t)
{
	if (t == Q8_0)
		return (const signed char *)b + 2;
	if (block_cols(t) == 32)
		codes_of_32(u, b, t);
	else
		UNROLL
		for (int s = 0; s < 8; s++)
			codes_of_256(u, b, s, t);
	return u->codes;
}

/* What is done with W weights of a block, those from column k on: they are stored, or multiplied
 * with x; or, of a transposed product, each with the x of their row. */
struct pass {
	int store, down;                /* known when compiled */
	float *to;                      /* every 16 begin `step` after the 16 before */
	ptrdiff_t step;
	const float *x;
	reg by;
	reg *s;                         /* [REGS], or a register for each W columns */
};

ALWAYS void
pass_on(const struct pass *p, int k, reg v)
{
	if (p->store)
		r_store(p->to + k / LANES * p->step + k % LANES, v);
	else if (p->down)
		p->s[k / W] = r_fma(v, p->by, p->s[k / W]);
	else
		p->s[k % LANES / W] = r_fma(v, r_load(p->x + k), p->s[k % LANES / W]);
}

/* The 16 codes of a type as floats. */
ALWAYS reg
level_codes(enum dtype t)
{
	static const float iq4[16] = { IQ4_LEVELS }, mxfp4[16] = { MXFP4_LEVELS };
	static const float q4_0[16] = { -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7 };
	static const float none[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

	return r_load(t == IQ4_NL || t == IQ4_XS ? iq4 : t == MXFP4 ? mxfp4 :
	    t == Q4_0 ? q4_0 : none);
}

/* The 16 weights of a group of 32 columns. */
ALWAYS reg
level_weights(const struct unpacked *u, int s, enum dtype t)
{
	reg v = r_mul(level_codes(t), r_set(u->scale[s]));

	return block_has_minimum(t) ? r_sub(v, r_set(u->minimum[s])) : v;
}

/* Of 4 bits in AVX-512: a weight is a permutation of the register that has the 16 of its group.
 * Columns 64 i .. of Q4_K. */
ALWAYS void
pass_levels_q4_k(const struct pass *p, const struct unpacked *u, const unsigned char *b, int i)
{
	reg low = level_weights(u, 2 * i, Q4_K), high = level_weights(u, 2 * i + 1, Q4_K);
	reg v[2 * REGS], w[2 * REGS];

	r_load32_q4_of(b + 16 + 32 * i, &low, &high, v);
	r_load32_q4_of(b + 16 + 32 * i + 16, &low, &high, w);
	pass_on(p, 64 * i, v[0]);
	pass_on(p, 64 * i + 16, w[0]);
	pass_on(p, 64 * i + 32, v[1]);
	pass_on(p, 64 * i + 48, w[1]);
}

/* Columns 32 s .. of the others. */
ALWAYS void
pass_levels_32(const struct pass *p, const struct unpacked *u, const unsigned char *b, int s,
    enum dtype t)
{
	const unsigned char *q = b + (t == IQ4_XS ? 8 : t == Q4_1 ? 4 : t == MXFP4 ? 1 : 2);
	reg level = level_weights(u, s, t), v[2 * REGS];

	r_load32_q4_of(q + 16 * s, &level, &level, v);
	pass_on(p, 32 * s, v[0]);
	pass_on(p, 32 * s + 16, v[1]);
}

/* 16 columns from codes. */
ALWAYS void
pass_codes(const struct pass *p, const struct unpacked *u, const signed char *codes, int g,
    enum dtype t)
{
	const int s = g * LANES / block_shared(t);

	UNROLL
	for (int j = 0; j < LANES; j += W) {
		reg v = r_mul(r_load_q8(codes + g * LANES + j), r_set(u->scale[s]));

		if (block_has_minimum(t))
			v = r_sub(v, r_set(u->minimum[s]));
		pass_on(p, g * LANES + j, v);
	}
}

/* Whether pass_levels_* have the type. */
ALWAYS int
block_levels(enum dtype t)
{
	return REGS == 1 && (t == Q4_K || t == IQ4_XS || t == Q4_0 || t == Q4_1 || t == IQ4_NL ||
	    t == MXFP4);
}

/* In memory: loads that broadcast leave the units that permute to
 * the weights. */
#define STORED(a) __asm__("" : "+m"(a))

/* n blocks of n rows, side by side: the sums of one row wait for each other. */
ALWAYS void
pass_blocks(const struct pass *p, const unsigned char *const *b, int n, enum dtype t)
{
	const int levels = block_levels(t), cols = t == Q4_K && levels ? 64 : levels ? 32 : LANES;
	const signed char *codes[ROWS];
	struct unpacked u[ROWS];

	UNROLL
	for (int r = 0; r < n; r++) {
		unpack_scales(&u[r], b[r], t);
		if (block_cols(t) == 256 && block_shared(t) <= 32 && t != IQ4_XS)
			STORED(u[r]);
		if (!levels)
			codes[r] = unpack_codes(&u[r], b[r], t);
	}
	UNROLL
	for (int i = 0; i < block_cols(t) / cols; i++)
		UNROLL
		for (int r = 0; r < n; r++)
			if (!levels)
				pass_codes(&p[r], &u[r], codes[r], i, t);
			else if (t == Q4_K)
				pass_levels_q4_k(&p[r], &u[r], b[r], i);
			else
				pass_levels_32(&p[r], &u[r], b[r], i, t);
}
