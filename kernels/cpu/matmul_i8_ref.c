/*
 * The products of i8, in plain C: this is what they mean.
 */
#include "cpu/i8.h"

/* Rows of x and outputs that share the work of conversion, and the columns converted at a time. */
enum { TOKENS = 32, OUTPUTS = 16, PART = 256 };

/* Columns of a row of x. */
struct rounded {
	signed char code[PART];
	float scale[PART / I8_GROUP];
};

/* The sums of four lanes, for the rows of x and the outputs. */
struct lanes {
	float l[TOKENS][OUTPUTS][I8_LANES];
};

static void
round_part(struct rounded *to, const float *x, int n)
{
	for (int k = 0; k < n; k += I8_GROUP)
		to->scale[k / I8_GROUP] = i8_round(to->code + k, x + k,
		    n - k < I8_GROUP ? n - k : I8_GROUP);
}

/* The sum of the products of n codes, and of those of x. */
static inline void
sums_of(const signed char *x, const signed char *w, int n, int *products, int *codes)
{
	*products = 0;
	*codes = 0;
	for (int i = 0; i < n; i++) {
		*products += x[i] * w[i];
		*codes += x[i];
	}
}

/* The groups of n columns from column k on, for output o: row r of w. */
static CLONES void
add_part(struct lanes *s, int o, const struct rounded *x, int T, const struct mat *w, int r, int k,
    int n)
{
	const int width = i8_width(w->dtype);
	signed char code[PART] = {0};
	struct block_coded c;
	int products, codes;

	for (int i = 0; i < n; i++)
		code[i] = (signed char)i8_code(w, r, k + i);
	for (int i = 0; i < n; i += width) {
		int g = (k + i) / width;

		c = i8_coded(w, r, g);
		for (int t = 0; t < T; t++) {
			float *l = &s->l[t][o][g % I8_LANES], scale = x[t].scale[i / I8_GROUP];

			sums_of(x[t].code + i, code + i, width, &products, &codes);
			*l = fmaf(c.scale, scale * (float)products, *l);
			if (i8_has_minimum(w->dtype))
				*l = fmaf(-c.minimum, scale * (float)codes, *l);
		}
	}
}

/* The outputs n0 .. n1-1, at most OUTPUTS, of T rows of x, at most TOKENS. */
static void
dots(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1)
{
	struct rounded row[TOKENS];
	struct lanes s = {0};

	for (int k = 0; k < w->cols; k += PART) {
		int n = w->cols - k < PART ? w->cols - k : PART;

		for (int t = 0; t < T; t++)
			round_part(&row[t], x + t * ldx + k, n);
		for (int r = n0; r < n1; r++)
			add_part(&s, r - n0, row, T, w, r, k, n);
	}
	for (int t = 0; t < T; t++)
		for (int r = n0; r < n1; r++)
			out[t * ldo + r] = i8_sum(s.l[t][r - n0]);
}

static void
matmul(float *out, ptrdiff_t ldo, const float *x, ptrdiff_t ldx, int T, const struct mat *w, int n0,
    int n1)
{
	for (int t = 0; t < T; t += TOKENS)
		for (int n = n0; n < n1; n += OUTPUTS)
			dots(out + t * ldo, ldo, x + t * ldx, ldx, T - t < TOKENS ? T - t : TOKENS,
			    w, n, n1 - n < OUTPUTS ? n1 : n + OUTPUTS);
}

i8_product *
i8_ref(void)
{
	return matmul;
}
