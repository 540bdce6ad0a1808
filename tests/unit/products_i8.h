/*
 * Products of i8 against the plain ones, bit for bit: for checkkernels, and for the sources of
 * instructions that this machine may lack.
 */
/* n columns or a few more, so that they are blocks. */
static int
blocks_of(enum dtype t, int n)
{
	return (n + dtype_cols(t) - 1) / dtype_cols(t) * dtype_cols(t);
}

/* Codes of the largest magnitude on both sides: what saturates would show. */
static void
extreme_codes(const struct mat *w, float *x, int n)
{
	unsigned char *p = s_w.map + SLOT - s_w.n + BEFORE;
	size_t row = dtype_row(w->dtype, w->cols);
	int most = below(2), code = w->dtype == Q4 ? most * 0xff : most ? 0x7f : 0x80;
	int sign = below(3);

	for (int i = 0; i < n; i++)
		x[i] = (sign == 2 ? below(2) : sign) ? -1 : 1;
	for (size_t r = 0; r < (size_t)w->rows; r++, p += row)
		if (w->dtype == Q8_0)
			for (size_t b = 0; b < row; b += 34)
				memset(p + b + 2, code, 32);
		else if (w->dtype == Q8 || w->dtype == Q4)
			memset(p, code, row);
}

/* A product of i8: numbers like those of others, groups of x that become zeros or NaN, extremes. */
static int
product_i8_once(const struct kernels *k, enum dtype t, enum kind kind, int K, int N, int T)
{
	int ldo = N + below(3), ldx = K + below(40), n0 = 0, n1 = N;
	struct mat w = matrix(N, K, t, kind, 0);
	int n = (T - 1) * ldx + K;
	float *x = floats(&s_x, n, below(3) ? kind : PLAIN);
	size_t size = ((size_t)(T - 1) * (size_t)ldo + (size_t)N) * 4;
	float *a = place(&s_a, size), *b = place(&s_b, size);

	if (below(4) == 0)
		extreme_codes(&w, x, n);
	for (int i = below(4); i < n; i += 1 + below(400))
		x[i] = number(below(2) ? WORST : BITS);
	for (int i = below(300); i < n; i += 1 + below(3) * 100)
		x[i] *= 0x1p-100f;
	if (below(2)) {
		n0 = below(N);
		n1 = n0 + below(N - n0 + 1);
	}
	ref->matmul(a, ldo, x, ldx, T, &w, n0, n1);
	k->matmul(b, ldo, x, ldx, T, &w, n0, n1);
	k->matmul(b, ldo, x, ldx, 0, &w, n0, n1);
	if (same(&s_a, &s_b))
		return 1;
	printf("# %s in i8, T %d K %d N %d..%d of %d, kind %d\n", dtype_name(t), T, K, n0, n1, N,
	    kind);
	return 0;
}

/* More rows of x, or columns, than a kernel keeps codes of at once, so that it takes parts. */
static int
product_i8_parts(const struct kernels *k, enum dtype t)
{
	static const struct { int T, K; } large[] = { { 300, 65 }, { 230, 2049 }, { 8, 33000 } };

	for (int i = 0; i < (SANITIZED ? 1 : COUNT(large)); i++)
		if (!product_i8_once(k, t, PLAIN, blocks_of(t, large[i].K), 1 + below(20),
		    large[i].T))
			return 0;
	return 1;
}

/* ref and k are tables of i8. */
static int
check_i8_types(const struct kernels *k)
{
	static const enum dtype types[] = { Q8, Q4, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS,
	    MXFP4 };
	const int each = SANITIZED ? 1 : 3;

	for (int d = 0; d < COUNT(types); d++) {
		if (!product_i8_parts(k, types[d]))
			return 0;
		for (int i = 0; i < COUNT(sizes) * KINDS * each; i++) {
			enum dtype t = types[d];
			int T = below(3) ? batches[below(COUNT(batches))] : 1;
			int K = blocks_of(t, sizes[i / KINDS % COUNT(sizes)]);
			int N = 1 + below(below(4) ? 40 : 150);

			if (!product_i8_once(k, t, (enum kind)(i % KINDS), K, N, T))
				return 0;
		}
	}
	return 1;
}
