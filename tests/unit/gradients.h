/* checkkernels: the kernels of backward passes, bit for bit against the plain ones. */

/* Numbers of a kind, scaled so that few contributions are refused. */
static float *
rows_of(struct slot *s, int T, int ld, int n, enum kind kind)
{
	float *p = floats(s, (T - 1) * ld + n, kind);

	for (int i = 0; kind != WORST && kind != BITS && i < (T - 1) * ld + n; i++)
		p[i] = kind == PLAIN ? p[i] : ldexpf(number(PLAIN), below(27) - 22);
	return p;
}

/* Sums that a gradient can have; a few near the bounds. */
static void
sums_twice(int64_t **a, int64_t **b, int n)
{
	*a = place(&s_a, (size_t)n * 8);
	*b = place(&s_b, (size_t)n * 8);
	for (int i = 0; i < n; i++) {
		(*a)[i] = (int64_t)((uint64_t)random32() << 32 | random32()) >> (2 + below(60));
		if (below(5000) == 0)
			(*a)[i] = below(2) ? ((int64_t)1 << 62) - 1 : -((int64_t)1 << 62);
	}
	memcpy(*b, *a, (size_t)n * 8);
}

/* Both refuse, or both have the same sums. */
static int
sums_same(int bad, int good)
{
	if (bad != good)
		return 0;
	return bad ? memcmp(s_b.map + SLOT - s_b.n, s_a.map + SLOT - s_a.n, BEFORE) == 0 :
	    same_bytes(&s_a, &s_b);
}

/* A contribution at the edge of what is refused, or that rounds at a tie. */
static float
edge(void)
{
	static const float edges[] = { 0x1p18f, 0x1.fffffep17f, 0x1p-41f, 0x1.8p-40f, 0x1.4p-39f };
	float e = edges[below(COUNT(edges))];

	return below(2) ? e : -e;
}

/* A sum that the contribution e takes to its bounds, or one further. */
static int64_t
bound(float e)
{
	const int64_t max = (int64_t)1 << 62;

	return (below(2) ? max : -max) - llrint((double)e * 0x1p40) - below(2);
}

static int
check_grad_outer(const struct kernels *k)
{
	for (int i = 0; i < 240; i++) {
		enum kind kind = i % 3 ? PLAIN : (enum kind)(i / 3 % KINDS);
		int T = 1 + below(GRAD_ROWS), N = 1 + below(below(3) ? 30 : 210);
		int K = 1 + below(below(3) ? 70 : 300), lda = K + below(9);
		int ldy = N + below(9), ldx = K + below(9), bad, fast;
		float *dy = rows_of(&s_y, T, ldy, N, kind), *x = rows_of(&s_x, T, ldx, K, kind);
		int64_t *a, *b;

		sums_twice(&a, &b, (N - 1) * lda + K);
		if (i % 3 == 1) {       /* one sum has but one term */
			int n = below(N), j = below(K), row = below(T);

			for (int t = 0; t < T; t++)
				dy[t * ldy + n] = t == row ? edge() : 0;
			x[row * ldx + j] = 1;
			if (below(2))
				a[n * lda + j] = b[n * lda + j] = bound(dy[row * ldy + n]);
		}
		bad = ref->grad_outer(a, lda, dy, ldy, N, x, ldx, K, T);
		fast = k->grad_outer(b, lda, dy, ldy, N, x, ldx, K, T);
		if (!sums_same(bad, fast)) {
			printf("# T %d N %d K %d, kind %d: %d, %d\n", T, N, K, kind, bad, fast);
			return 0;
		}
	}
	return 1;
}

static int
check_grad_columns(const struct kernels *k)
{
	EACH_VECTOR(n, kind) {
		int T = 1 + below(90), ldy = n + below(9), ldz = n + below(9), bad, fast;
		float *dy = rows_of(&s_y, T, ldy, n, kind), *z = rows_of(&s_x, T, ldz, n, kind);
		int64_t *a, *b;

		z = below(2) ? z : NULL;
		sums_twice(&a, &b, n);
		if (kind == PLAIN) {
			int j = below(n), row = below(T);

			for (int t = 0; t < T; t++)
				dy[t * ldy + j] = t == row ? edge() : 0;
			if (z)
				z[row * ldz + j] = 1;
			if (below(2))
				a[j] = b[j] = bound(dy[row * ldy + j]);
		}
		bad = ref->grad_columns(a, dy, ldy, z, ldz, T, n);
		fast = k->grad_columns(b, dy, ldy, z, ldz, T, n);
		if (!sums_same(bad, fast))
			return 0;
	}
	return 1;
}

static int
check_rmsnorm_back(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {          /* a, b: dx, xhat, x, weight, dy */
		float eps = below(2) ? 1e-6f : 0;
		int over = below(4);    /* dx is dy or x, or xhat is x */

		a = floats(&s_a, 5 * n, kind);
		for (int j = 0; kind == TINY && j < 2 * n; j++) /* r may be infinite, xhat not 0 */
			a[3 * n + j] = number(PLAIN);
		for (int j = 0; j < 5 * n; j++)         /* the outputs' NaN, so that inputs pass */
			a[j] = a[j] != a[j] ? of_bits(0x7fc00000) : a[j];
		b = place(&s_b, (size_t)n * 20);
		memcpy(b, a, (size_t)n * 20);
		for (int i = 0; i < 2; i++) {
			const struct kernels *with = i ? k : ref;
			float *v = i ? b : a, *x = v + 2 * n, *dy = v + 4 * n;

			with->rmsnorm_back(over == 0 ? dy : over == 1 ? x : v,
			    over == 2 ? x : v + n, x, v + 3 * n, dy, n, eps);
		}
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
check_softmax_back(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {
		float *p = floats(&s_x, n, kind), f = number(kind);

		twice(&a, &b, n, kind);
		ref->softmax_back(a, p, n, f);
		k->softmax_back(b, p, n, f);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}

static int
check_silu_back(const struct kernels *k)
{
	float *a, *b;

	EACH_VECTOR(n, kind) {          /* a, b: gate, up, a */
		twice(&a, &b, 3 * n, kind);
		if (kind == PLAIN && below(2))
			for (int i = 0; i < n; i++)
				a[i] = b[i] = 100 * number(PLAIN);
		ref->silu_back(a, a + n, a + 2 * n, n);
		k->silu_back(b, b + n, b + 2 * n, n);
		if (!same(&s_a, &s_b))
			return 0;
	}
	return 1;
}
