/*
 * Block types of GGUF whose columns are entries of a table: a part of blocks_lanes.h.
 */
static const float grid_values[][8] = {
	{ 8, 25, 43, 0 }, { 4, 12, 20, 28, 36, 44, 52, 62 }, { 1, 3, 5, 7, 9, 11, 13, 15 },
	{ -1, 0, 1, 0 }
};

/* Seven signs, and the eighth that makes their number even. */
ALWAYS unsigned
eight_signs(unsigned seven)
{
	return (seven & 127) | (unsigned)__builtin_parity(seven & 127) << 7;
}

/* The columns 8 e .. 8 e + 7 of a block. */
ALWAYS eight
grid_eight(const unsigned char *b, int e, enum dtype t)
{
	const int s = e / 4;
	const unsigned char *scales = b + (t == IQ2_XS ? 66 : t == IQ2_S ? 74 : 0);
	const unsigned four = (unsigned)scales[s] >> e / 2 % 2 * 4 & 15;
	const float *iq2 = grid_values[0], *iq1 = grid_values[3];
	uint32_t h, entry;
	eight x;
	float d;

	switch (t) {
	case IQ2_XXS:
		h = block_u32(b + 6 + 8 * s);
		d = f16_at(b) * (0.5f + (float)(h >> 28)) * 0.25f;
		x = eight_mul(eight_of(grid_iq2_xxs[b[2 + 8 * s + e % 4]], 2, iq2), d);
		return eight_signed(x, eight_signs(h >> 7 * (e % 4)));
	case IQ2_XS:
		h = block_u16(b + 2 + 2 * e);
		d = f16_at(b) * (0.5f + (float)four) * 0.25f;
		x = eight_mul(eight_of(grid_iq2_xs[h & 511], 2, iq2), d);
		return eight_signed(x, eight_signs(h >> 9));
	case IQ2_S:
		h = b[2 + e] | ((unsigned)b[66 + s] >> e % 4 * 2 & 3) << 8;
		d = f16_at(b) * (0.5f + (float)four) * 0.25f;
		return eight_signed(eight_mul(eight_of(grid_iq2_s[h], 2, iq2), d), b[34 + e]);
	case IQ3_XXS:
		h = block_u32(b + 66 + 4 * s);
		d = f16_at(b) * (0.5f + (float)(h >> 28)) * 0.5f;
		entry = grid_iq3_xxs[b[2 + 2 * e]] | (uint32_t)grid_iq3_xxs[b[3 + 2 * e]] << 16;
		x = eight_mul(eight_of(entry, 4, grid_values[1]), d);
		return eight_signed(x, eight_signs(h >> 7 * (e % 4)));
	case IQ3_S:
		h = (unsigned)b[66 + s] >> e % 4 * 2;
		d = f16_at(b) * (float)(1 + 2 * (b[106 + s / 2] >> s % 2 * 4 & 15));
		entry = grid_iq3_s[b[2 + 2 * e] | (h & 1) << 8] |
		    (uint32_t)grid_iq3_s[b[3 + 2 * e] | (h & 2) << 7] << 16;
		return eight_signed(eight_mul(eight_of(entry, 4, grid_values[2]), d), b[74 + e]);
	case IQ1_S:
		h = block_u16(b + 34 + 2 * s);
		d = f16_at(b) * (float)(2 * (h >> 12 & 7) + 1);
		x = eight_of(grid_iq1[b[2 + e] | (h >> e % 4 * 3 & 7) << 8], 2, iq1);
		return eight_mul(eight_add(x, h & 0x8000 ? -0.125f : 0.125f), d);
	default:                        /* IQ1_M */
		h = b[49] >> 4 | b[51] >> 4 << 4 | (unsigned)b[53] >> 4 << 8 |
		    (unsigned)b[55] >> 4 << 12;
		d = float_of_f16((uint16_t)h) *
		    (float)(2 * (block_u16(b + 48 + e / 8 * 2) >> e / 2 % 4 * 3 & 7) + 1);
		h = (unsigned)b[32 + e / 2] >> e % 2 * 4;
		x = eight_of(grid_iq1[b[e] | (h & 7) << 8], 2, iq1);
		return eight_mul(eight_add(x, h & 8 ? -0.125f : 0.125f), d);
	}
}

ALWAYS int
block_grid(enum dtype t)
{
	return t != TQ1_0 && block_shared(t) == 0;
}
