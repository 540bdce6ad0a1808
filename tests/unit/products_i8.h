/*
 * Products of i8 against the plain ones, bit for bit: for checkkernels, and for the sources of
 * instructions that this machine may lack.
 */
/* The tables that are checked at once, all against one result of the plain table `ref`. */
static struct candidate {
	const struct kernels *k;
	int good;               /* so far */
} candidates[8];
static int ncandidates;

static void
candidate_add(const struct kernels *k)
{
	candidates[ncandidates++] = (struct candidate){ k, 1 };
}

/* The outputs n0 .. n1-1 of T rows of x, by each candidate: the plain one's bits, into s_a and s_b,
 * or good becomes 0.  No rows, nothing to write. */
static void
product_compared(int transposed, int ldo, const float *x, int ldx, int T, const struct mat *w,
    int n0, int n1, const char *what)
{
	int N = transposed ? w->cols : w->rows, K = transposed ? w->rows : w->cols, good;
	size_t bytes = ((size_t)(T - 1) * (size_t)ldo + (size_t)N) * 4;
	float *a = place(&s_a, bytes), *b;

	(transposed ? ref->matmul_t : ref->matmul)(a, ldo, x, ldx, T, w, n0, n1);
	good = canonical_nans(&s_a);
	for (struct candidate *c = candidates; c < candidates + ncandidates; c++) {
		const struct kernels *k = c->k;

		b = place(&s_b, bytes);
		(transposed ? k->matmul_t : k->matmul)(b, ldo, x, ldx, T, w, n0, n1);
		(transposed ? k->matmul_t : k->matmul)(b, ldo, x, ldx, 0, w, n0, n1);
		if (good && same_bytes(&s_a, &s_b))
			continue;
		if (c->good)
			printf("# %s: %s%s, T %d K %d N %d..%d of %d, row0 %d\n", k->name,
			    dtype_name(w->dtype), what, T, K, n0, n1, N, w->row0);
		c->good = 0;
	}
}

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
static void
product_i8_once(enum dtype t, enum kind kind, int K, int N, int T)
{
	int ldo = N + below(3), ldx = K + below(40), n0 = 0, n1 = N;
	struct mat w = matrix(N, K, t, kind, 0);
	int n = (T - 1) * ldx + K;
	float *x = floats(&s_x, n, below(3) ? kind : PLAIN);

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
	product_compared(0, ldo, x, ldx, T, &w, n0, n1, " in i8");
}

/* More rows of x, or columns, than a kernel keeps codes of at once, so that it takes parts. */
static void
product_i8_parts(enum dtype t)
{
	static const struct { int T, K; } large[] = { { 300, 65 }, { 230, 2049 }, { 8, 33000 } };

	for (int i = 0; i < (SANITIZED ? 1 : COUNT(large)); i++)
		product_i8_once(t, PLAIN, blocks_of(t, large[i].K), 1 + below(20), large[i].T);
}

/* ref and the candidates are tables of i8. */
static void
check_i8_types(void)
{
	static const enum dtype types[] = { Q8, Q4, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS,
	    MXFP4 };
	const int each = SANITIZED ? 1 : 3;

	for (int d = 0; d < COUNT(types); d++) {
		product_i8_parts(types[d]);
		for (int i = 0; i < COUNT(sizes) * KINDS * each; i++) {
			enum dtype t = types[d];
			int T = below(3) ? batches[below(COUNT(batches))] : 1;
			int K = blocks_of(t, sizes[i / KINDS % COUNT(sizes)]);
			int N = 1 + below(below(4) ? 40 : 150);

			product_i8_once(t, (enum kind)(i % KINDS), K, N, T);
		}
	}
}
