/*
 * checkarithmetic: the plain kernels, which define what the others must give,
 * against double precision; and what goes with the kernels.  Prints TAP.
 */
/* check: yes */
#include "numbers.h"

static const struct kernels *ref;
static struct slot s_x, s_a;

/*
 * The plain kernels against the mathematics.
 */

static double
e4m3(unsigned b)
{
	int e = b >> 3 & 15, m = b & 7;
	double v = (b & 127) == 127 ? NAN : e ? ldexp(8 + m, e - 10) : ldexp(m, -9);

	return b & 0x80 ? -v : v;
}

static double
quant_value(const struct mat *w, int r, int c)
{
	const unsigned char *p = w->data;
	double scale = e4m3(w->groups[r * ((w->cols + 15) / 16) + c / 16]) * w->factor;
	int i = r * ((w->cols + 31) / 32) * 16 + c / 32 * 16 + c % 16;

	return scale * (w->dtype == Q8 ? (p[r * w->cols + c] ^ 128) - 128 :
	    quant_levels[c % 32 < 16 ? p[i] & 15 : p[i] >> 4]);
}

/* What an element means, from the format's definition. */
static double
value(const struct mat *w, int r, int c)
{
	size_t i = (size_t)r * (size_t)w->cols + (size_t)c;
	unsigned b = 0;
	double v;
	int e, m;

	if (w->dtype == Q8 || w->dtype == Q4)
		return quant_value(w, r, c);
	memcpy(&b, (const unsigned char *)w->data + i * dtype_size(w->dtype), dtype_size(w->dtype));
	switch (w->dtype) {
	case F32:
		return of_bits(b);
	case BF16:
		return of_bits(b << 16);
	case F16:
		e = b >> 10 & 31;
		m = b & 1023;
		v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
		return b & 0x8000 ? -v : v;
	default:
		v = e4m3(b);
		return v * (w->scale ? w->scale[(w->row0 + r) / 128 * w->scale_cols + c / 128] : 1);
	}
}

static int
conversions(enum dtype t)
{
	int n = t == F8_E4M3 ? 256 : 65536;
	unsigned char *p = place(&s_w, (size_t)n * dtype_size(t));
	struct mat w = { .data = p, .rows = 1, .cols = n, .dtype = t };
	float *a = place(&s_a, (size_t)n * 4);

	for (int i = 0; i < n; i++)
		memcpy(p + (size_t)i * dtype_size(t), &i, dtype_size(t));
	ref->row(a, &w, 0);
	for (int i = 0; i < n; i++) {
		double v = value(&w, 0, i);

		if (v != v ? to_bits(a[i]) != 0x7fc00000 : a[i] != v || !signbit(a[i]) != !signbit(v))
			return 0;
	}
	return 1;
}

/* Each product meets at most `roundings` roundings on its way into the sum:
 * the error is below roundings u / (1 - roundings u) times the sum of
 * magnitudes (Higham, Accuracy and Stability, section 3.1). */
static int
within_bound(int transposed)
{
	for (int d = 0; d < COUNT(weights); d++)
		for (int i = 0; i < COUNT(sizes); i++) {
			int K = sizes[i], N = 20, blocks = K / 128 + 2;
			struct mat w = transposed ? matrix(K, N, weights[d], PLAIN, 100) : matrix(N, K, weights[d], PLAIN, 100);
			float *x = floats(&s_x, K, PLAIN), out[20];
			double terms = transposed ? K : (K + 15) / 16 + 4;
			double roundings = terms + (w.dtype == F8_E4M3 ? blocks : 0), u = 0x1p-24;

			(transposed ? ref->matmul_t : ref->matmul)(out, N, x, K, 1, &w, 0, N);
			for (int n = 0; n < N; n++) {
				double sum = 0, magnitude = 0;

				for (int k = 0; k < K; k++) {
					double p = x[k] * (transposed ? value(&w, k, n) : value(&w, n, k));

					sum += p;
					magnitude += fabs(p);
				}
				if (!(fabs(out[n] - sum) <= roundings * u / (1 - roundings * u) * magnitude + 0x1p-149 * terms))
					return 0;
			}
		}
	return 1;
}

/*
 * The products of bf16.
 */

/* The nearest number of 8 bits; what is subnormal becomes zero. */
static double
bf16(double v)
{
	double unit, r;

	if (v == 0 || !isfinite(v))
		return v;
	unit = ldexp(1, ilogb(v) - 7);
	r = nearbyint(v / unit) * unit;
	return fabs(v) < 0x1p-126 ? 0 : fabs(r) > 0x1.fep127 ? copysign(INFINITY, r) : r;
}

/* A column of 1: what x becomes.  A column of x: what weights of float32 become. */
static int
bf16_rounds(const struct kernels *k)
{
	for (uint64_t i = 0; i < 1 << 19; i++) {
		uint32_t near = (uint32_t)(i << 13) | (i & 1 ? 0x8000 : random32() & 0xffff);
		float x = of_bits(i & 3 ? near : random32()), one = 1, out[4];
		struct mat of_one = { .data = &one, .rows = 1, .cols = 1, .dtype = F32 }, of_x = of_one;
		double want = bf16(x);

		of_x.data = &x;
		k->matmul(out, 1, &x, 1, 1, &of_one, 0, 1);
		k->matmul(out + 1, 1, &one, 1, 1, &of_x, 0, 1);
		k->matmul_t(out + 2, 1, &x, 1, 1, &of_one, 0, 1);
		k->matmul_t(out + 3, 1, &one, 1, 1, &of_x, 0, 1);
		for (int j = 0; j < 4; j++)
			if (want != want ? to_bits(out[j]) != 0x7fc00000 : out[j] != want) {
				printf("# %a became %a\n", x, out[j]);
				return 0;
			}
	}
	return 1;
}

/* A product meets 16 roundings in its chain, one where even and odd meet and one for each step. */
static int
bf16_within_bound(const struct kernels *k, int transposed)
{
	for (int d = 0; d < COUNT(weights); d++)
		for (int i = 0; i < COUNT(sizes); i++) {
			int K = sizes[i], N = 20, blocks = K / 128 + 2;
			struct mat w = transposed ? matrix(K, N, weights[d], PLAIN, 100) : matrix(N, K, weights[d], PLAIN, 100), bare = w;
			float *x = floats(&s_x, K, PLAIN), out[20];
			double roundings = 17 + (K + 31) / 32. + (w.dtype == F8_E4M3 ? 2 * blocks : 0), u = 0x1p-24;

			bare.scale = NULL;
			(transposed ? k->matmul_t : k->matmul)(out, N, x, K, 1, &w, 0, N);
			for (int n = 0; n < N; n++) {
				double sum = 0, magnitude = 0;

				for (int j = 0; j < K; j++) {
					int r = transposed ? j : n, c = transposed ? n : j;
					double scale = w.scale ? w.scale[(w.row0 + r) / 128 * w.scale_cols + c / 128] : 1;
					double p = bf16(x[j]) * bf16(value(&bare, r, c)) * scale;

					sum += p;
					magnitude += fabs(p);
				}
				if (!(fabs(out[n] - sum) <= roundings * u / (1 - roundings * u) * magnitude))
					return 0;
			}
		}
	return 1;
}

/* x [n] by w [n]. */
static float
bf16_dot(const struct kernels *k, const float *x, const float *w, int n)
{
	struct mat m = { .data = w, .rows = 1, .cols = n, .dtype = F32 };
	float out;

	k->matmul(&out, 1, x, n, 1, &m, 0, 1);
	return out;
}

/* Sums that are subnormal, rounded as if exponents went on, are zero; evens and odds meet after each 32. */
static int
bf16_steps(const struct kernels *k)
{
	static const float half = 0x1p-63f;
	float x[40] = { half, 0, half, 0, half }, w[40] = { half, 0, -0x1.02p-88f, 0, half };

	if (bf16_dot(k, x, w, 1) != 0x1p-126f || bf16_dot(k, x, w, 3) != 0 || bf16_dot(k, x, w, 5) != 0x1p-126f)
		return 0;
	w[2] = -0x1p-88f;       /* half a unit below 2^-126: rounded up to it */
	if (bf16_dot(k, x, w, 3) != 0x1p-126f)
		return 0;
	x[1] = half;            /* the odd one: 2^-126 + 1.5 2^-126 - 2^-126 is 1.5 2^-126 in either order, but not by parts */
	w[1] = half * 1.5f;
	w[2] = -half;
	w[4] = 0;
	if (bf16_dot(k, x, w, 3) != 0x1.8p-126f)
		return 0;
	w[1] = -half * 1.5f;
	w[2] = 0;
	if (to_bits(bf16_dot(k, x, w, 2)) != 0)         /* -2^-127 is -0; the sum that it is added to, +0 */
		return 0;
	memset(x, 0, sizeof(x));
	x[0] = x[2] = x[32] = 1;
	w[0] = 1;
	w[2] = w[32] = 0x1p-24f;                        /* half a unit of 1: ties to even, once in a chain, once between steps */
	if (bf16_dot(k, x, w, 40) != 1)
		return 0;
	x[3] = 1;
	w[3] = 0x1p-24f;
	w[2] = 0;
	x[1] = 1;
	w[1] = 0x1p-24f;                                /* two halves that meet first */
	return bf16_dot(k, x, w, 32) == 1 + 0x1p-23f;
}

static double
ulps(float x, double exact)
{
	int e;

	frexp(exact, &e);
	return fabs(x - exact) / ldexp(1, (e < -125 ? -125 : e) - 24);
}

static int
exp_accurate(void)
{
	enum { N = 4096 };
	double most = 0;
	float x[N], y[N];

	for (uint64_t bits = 0; bits < 1ull << 32; ) {
		for (int i = 0; i < N; i++, bits += 4001)
			x[i] = of_bits((uint32_t)bits);
		memcpy(y, x, sizeof(y));
		ref->exp(y, N);
		for (int i = 0; i < N; i++) {
			double e = exp((double)x[i]);

			if (x[i] != x[i] ? to_bits(y[i]) != 0x7fc00000 : e > 0x1.fffffep127 ? y[i] != INFINITY :
			    e < 0x1p-126 ? y[i] != 0 : ulps(y[i], e) > 2)
				return 0;
			if (e < 0x1.fffffep127 && e > 0x1p-126 && ulps(y[i], e) > most)
				most = ulps(y[i], e);
		}
	}
	printf("# exp: at most %.3f ulp\n", most);
	return 1;
}

/* Against double precision, in ulp of the result: exp 2, and 1/2 for each further operation. */
static int
elements_accurate(void)
{
	enum { N = 257 };
	float x[N], y[N], z[N];

	for (int i = 0; i < N; i++) {
		x[i] = scaled(PLAIN);
		y[i] = number(PLAIN);
	}
	memcpy(z, x, sizeof(z));
	ref->sigmoid(z, N);
	for (int i = 0; i < N; i++)
		if (ulps(z[i], 1 / (1 + exp(-(double)x[i]))) > 4)
			return 0;
	memcpy(z, x, sizeof(z));
	ref->silu_mul(z, y, N);
	for (int i = 0; i < N; i++)
		if (ulps(z[i], x[i] / (1 + exp(-(double)x[i])) * y[i]) > 6)
			return 0;
	memcpy(z, x, sizeof(z));
	ref->rope(z, y, y + 1, N / 2);
	for (int i = 0; i < N / 2; i++) {
		double a = x[2 * i], b = x[2 * i + 1], c = y[i], s = y[i + 1];

		if (fabs(z[2 * i] - (a * c - b * s)) > 0x1p-23 * (fabs(a * c) + fabs(b * s)) ||
		    fabs(z[2 * i + 1] - (a * s + b * c)) > 0x1p-23 * (fabs(a * s) + fabs(b * c)))
			return 0;
	}
	return 1;
}

/* Sums of positive terms: 17 + 4 additions of a chain at 257, and exp of a
 * difference that was rounded at magnitude 40: 40 u besides its 2 ulp. */
static int
softmax_accurate(void)
{
	enum { N = 257, D = 5 };
	float x[N], p[N], v[N][D], o[D] = {0}, bo[D], max = -INFINITY, sum = 0, bmax, bsum;
	double w[N], total = 0, bound = 100 * 0x1p-24;

	for (int i = 0; i < N; i++) {
		x[i] = scaled(PLAIN);
		numbers(v[i], D, PLAIN);
	}
	for (int i = 0; i < N; i++)
		total += w[i] = exp((double)x[i]);
	memcpy(p, x, sizeof(p));
	ref->softmax(p, N);
	for (int i = 0; i < N; i++)
		if (fabs(p[i] - w[i] / total) > bound * w[i] / total)
			return 0;
	for (int i = 0; i < N; i += 100) {      /* attention, block by block */
		int n = N - i < 100 ? N - i : 100;
		struct mat m = { .data = v[i], .rows = n, .cols = D, .dtype = F32 };

		for (int j = 0; j < n; j++)
			p[j] = x[i + j] * 2;
		ref->softmax_block(p, n, 0.5f, &bmax, &bsum);
		ref->matmul_t(bo, D, p, n, 1, &m, 0, D);
		ref->softmax_join(o, &max, &sum, bo, bmax, bsum, D);
	}
	for (int d = 0; d < D; d++) {
		double exact = 0, magnitude = 0;

		for (int i = 0; i < N; i++) {
			exact += w[i] / total * v[i][d];
			magnitude += w[i] / total * fabsf(v[i][d]);
		}
		if (fabs(o[d] / (double)sum - exact) > 2 * bound * magnitude)
			return 0;
	}
	return 1;
}

static int
rmsnorm_accurate(void)
{
	enum { N = 257 };
	float x[N], w[N], out[N];
	double sum = 0;

	numbers(x, N, PLAIN);
	numbers(w, N, PLAIN);
	for (int i = 0; i < N; i++)
		sum += (double)x[i] * x[i];
	ref->rmsnorm(out, x, w, N, 1e-3f);
	for (int i = 0; i < N; i++)             /* 21 roundings of the sum, halved by the root, and 6 */
		if (ulps(out[i], x[i] / sqrt(sum / N + (double)1e-3f) * w[i]) > 2 * (21 / 2. + 6))
			return 0;
	return 1;
}

/* Against double: a lane's sum meets n/16 + 4 roundings, on numbers below `most`. */
static int
layernorm_accurate(void)
{
	enum { N = 130 };
	float x[N], w[N], b[N], out[N];
	double mean = 0, square = 0, most = 0;

	numbers(x, N, PLAIN);
	numbers(w, N, PLAIN);
	numbers(b, N, PLAIN);
	for (int i = 0; i < N; i++) {
		x[i] += 3;
		mean += (double)x[i] / N;
		most = fmax(most, fabs((double)x[i]));
	}
	for (int i = 0; i < N; i++)
		square += (x[i] - mean) * (x[i] - mean);
	ref->layernorm(out, x, w, b, N, 1e-6f);
	for (int i = 0; i < N; i++) {
		double r = 1 / sqrt(square / N + (double)1e-6f), scaled = (x[i] - mean) * r * w[i];

		if (fabs(out[i] - (scaled + b[i])) > 0x1p-24 * (40 * most * r * fabsf(w[i]) +
		    40 * fabs(scaled) + 2 * fabs(scaled + b[i])))
			return 0;
	}
	return 1;
}

/* Heads ascending; what is negative or no number counts as 0. */
static int
index_scores_accurate(void)
{
	enum { H = 5, N = 37, LD = 40 };
	float p[H * LD], w[H], out[N];

	numbers(p, H * LD, PLAIN);
	numbers(w, H, PLAIN);
	p[3] = NAN;
	ref->index_scores(out, p, LD, w, H, N);
	for (int i = 0; i < N; i++) {
		double sum = 0, most = 0;

		for (int h = 0; h < H; h++) {
			sum += p[h * LD + i] > 0 ? (double)w[h] * p[h * LD + i] : 0;
			most += p[h * LD + i] > 0 ? fabs((double)w[h] * p[h * LD + i]) : 0;
		}
		if (!(fabs(out[i] - sum) <= H * 0x1p-24 * most))
			return 0;
	}
	return 1;
}

static double
ulps_double(double x, long double exact)
{
	int e;

	frexpl(exact, &e);
	return (double)(fabsl(x - exact) / ldexpl(1, e - 53));
}

/* x of all magnitudes, and near multiples of pi/2, where sin and cos vanish. */
static int
fixed_accurate(void)
{
	double most[4] = {0};

	for (int i = 0; i < 200000; i++) {
		double x = ldexp((double)(int32_t)random32(), below(50) - 51), p = fabs(x) + 0x1p-1070, v[4];
		double q = nearbyint(x) * 0x1.921fb54442d18p+0, y = i & 1 && fabs(q) < 0x1p30 ? q : x, e = fmod(x, 700);
		long double exact[4] = { sinl(y), cosl(y), logl(p), expl(e) };

		v[0] = fixed_sin(y);
		v[1] = fixed_cos(y);
		v[2] = fixed_log(p);
		v[3] = fixed_exp(e);
		for (int j = 0; j < 4; j++)
			if (v[j] != 0 || exact[j] != 0)
				most[j] = fmax(most[j], ulps_double(v[j], exact[j]));
	}
	printf("# ulp at most: sin %.3f, cos %.3f, log %.3f, exp %.3f\n", most[0], most[1], most[2], most[3]);
	return most[0] <= 2 && most[1] <= 2 && most[2] <= 2 && most[3] <= 2 && fixed_sin(0) == 0 && fixed_cos(0) == 1 &&
	    fixed_log(1) == 0 && fixed_exp(0) == 1 && isnan(fixed_sin(INFINITY)) && isnan(fixed_log(-1)) &&
	    fixed_log(0) == -INFINITY && fixed_log(0x1p-1074) < -744;
}

/* A contribution is rounded once, to the even neighbour, and refused at the bound. */
static int
fixed_exact(void)
{
	static const float y[] = { 0x1p-41f, 0x1.8p-40f, -0x1.8p-40f, 0x1.fffffep17f, 1, -0.75f };
	static const int64_t sum[] = { 0, 2, -2, (int64_t)0xffffff << 34, (int64_t)1 << 40, -((int64_t)3 << 38) };
	static const float refused[] = { 0x1p18f, -0x1p18f, INFINITY, NAN };
	int64_t acc[COUNT(y)] = {0}, one = 0;
	float h[2] = { 1, 0x1p-30f };

	if (ref->fixed_add(acc, y, 1, COUNT(y)) != 0 || memcmp(acc, sum, sizeof(acc)) != 0)
		return 0;
	for (int i = 0; i < COUNT(refused); i++)
		if (ref->fixed_add(&one, &refused[i], 1, 1) != -1)
			return 0;
	for (int i = 0; i < FIXED_TERMS_MAX; i++)
		if (ref->fixed_add(&one, &y[3], 1, 1) != 0 || one != (i + 1) * sum[3])
			return 0;
	acc[0] = (int64_t)1 << 40;
	acc[1] = 1 << 10;
	ref->fixed_finish(h, acc, 2);
	return h[0] == 2 && h[1] == 0x1p-29f;
}

/*
 * What goes with the kernels.
 */

static int
slices(enum dtype t)
{
	struct mat w = matrix(400, 70, t, PLAIN, 50), s = mat_rows(&w, 90, 200);
	float whole[400], part[400], *x = floats(&s_x, 70, PLAIN), r[2][70];

	ref->matmul(whole, 400, x, 70, 1, &w, 0, 400);
	ref->matmul(part, 400, x, 70, 1, &s, 0, 200);
	ref->row(r[0], &w, 120);
	ref->row(r[1], &s, 30);
	return memcmp(whole + 90, part, 200 * sizeof(*part)) == 0 && memcmp(r[0], r[1], sizeof(r[0])) == 0 &&
	    s.rows == 200 && s.row0 == 140;
}

/* The squared error of 16 numbers under a scale, each with its nearest code. */
static double
group_error(const float *w, double scale, enum dtype t)
{
	double sum = 0;

	for (int k = 0; k < 16; k++) {
		double best = INFINITY;

		for (int c = t == Q8 ? -127 : 0; c <= (t == Q8 ? 127 : 15); c++)
			best = fmin(best, fabs(w[k] - scale * (t == Q8 ? c : quant_levels[c])));
		sum += best * best;
	}
	return sum;
}

/* Against all scales that there are. */
static int
quantizes(enum dtype t)
{
	enum { N = 50 };
	double sum = 0, least = 0;

	for (int i = 0; i < (t == Q8 ? 20 : 200); i++) {
		float *w = floats(&s_x, N, PLAIN), most = 0, size = ldexpf(1, below(40) - 20);
		unsigned char codes[64] = {0}, groups[4];
		struct mat m = { .data = codes, .groups = groups, .rows = 1, .cols = N, .dtype = t };

		for (int k = 0; k < N; k++) {
			w[k] *= size * (below(4) ? 0.3f : 1);
			most = fmaxf(most, fabsf(w[k]));
		}
		m.factor = quant_factor(most);
		ref->quantize(codes, groups, w, N, m.factor, t);
		for (int g = 0; g < 3; g++) {           /* whole groups */
			double is = 0, best = INFINITY;

			for (int k = g * 16; k < g * 16 + 16; k++)
				is += pow(w[k] - quant_value(&m, 0, k), 2);
			for (unsigned b = 1; b < 256; b++)
				if ((b & 127) < 127 && (b & 127) && (t == Q4 || b < 127))
					best = fmin(best, group_error(w + g * 16, e4m3(b) * m.factor, t));
			sum += is;
			least += best;
		}
	}
	printf("# %s: %.4f of the least squared error\n", dtype_name(t), sum / least);
	return sum < 1.03 * least;
}

static int
quantizes_ends(enum dtype t)
{
	static const float sizes_of[] = { 0, 0x1p-149f, 0x1p-126f, 0x1p-60f, 1, 0x1p100f, 0x1p126f };
	float w[40], out[40];
	unsigned char codes[40], groups[3];

	for (int i = 0; i < COUNT(sizes_of); i++) {
		struct mat m = { .data = codes, .groups = groups, .rows = 1, .cols = 40, .dtype = t,
		    .factor = quant_factor(sizes_of[i]) };

		for (int k = 0; k < 40; k++)
			w[k] = k < 16 ? 0 : k % 3 == 0 ? -sizes_of[i] : sizes_of[i];
		ref->quantize(codes, groups, w, 40, m.factor, t);
		ref->row(out, &m, 0);
		for (int k = 0; k < 40; k++)
			if (!(fabs((double)out[k] - w[k]) <= 0.1 * sizes_of[i] + 0x1p-101)) {
				printf("# %s: %a became %a\n", dtype_name(t), w[k], out[k]);
				return 0;
			}
	}
	return 1;
}

static int
names(void)
{
	if (dtype_parse("Q8", 2) != -1 || dtype_row(Q8, 33) != 33 || dtype_row(Q4, 33) != 32 || dtype_row(BF16, 3) != 6)
		return 0;
	for (int t = 0; t < DTYPES; t++)
		if (dtype_parse(dtype_name((enum dtype)t), strlen(dtype_name((enum dtype)t))) != t)
			return 0;
	return dtype_parse("F8_E4M3", 6) == -1 && dtype_parse("", 0) == -1 && dtype_parse("F64", 3) == -1 &&
	    dtype_size(I64) == 8 && dtype_size(F8_E4M3) == 1;
}

static int
precisions(void)
{
	static const enum precision all[] = { PRECISION_F32, PRECISION_BF16, PRECISION_I8 };

	for (int i = 0; i < COUNT(all); i++) {
		enum precision p = all[i];
		const struct kernels *other = kernels_precision(ref, PRECISION_BF16);
		const struct kernels *k = kernels_precision(other, p);

		if (precision_parse(precision_name(p)) != (int)p || k->precision != p ||
		    !precision_on(p, 0) ||
		    strcmp(k->name, "ref") != 0 || k->row != ref->row || (k->matmul == ref->matmul) != (p == PRECISION_F32))
			return 0;
	}
	return !precision_on(PRECISION_FP8, 0) && !precision_on(PRECISION_I8, 1) &&
	    precision_on(PRECISION_FP8, 1) && precision_parse("f16") == -1 && precision_parse("") == -1;
}

static int
choices(void)
{
	const struct kernels *most = kernels_named("ref"), *k;
	const char *set;

	for (int i = 0; (set = kernels_set(i)); i++) {
		k = kernels_named(set);
		most = k ? k : most;
		setenv("DS_KERNELS", set, 1);
		if (kernels_choose() != most)
			return 0;
	}
	setenv("DS_KERNELS", "sse", 1);
	k = kernels_choose();
	unsetenv("DS_KERNELS");
	return k == NULL && kernels_choose() == most && kernels_named("sse") == NULL && most->precision == PRECISION_F32;
}

int
main(void)
{
	const struct kernels *bf16_ref;

	ref = kernels_named("ref");
	bf16_ref = kernels_precision(ref, PRECISION_BF16);
	ok(conversions(BF16) && conversions(F16) && conversions(F8_E4M3), "every weight of 8 and 16 bits is converted exactly");
	ok(within_bound(0), "matmul is within its error bound");
	ok(within_bound(1), "matmul_t is within its error bound");
	ok(bf16_rounds(bf16_ref), "bf16 rounds both factors to the nearest, and subnormal ones to zero");
	ok(bf16_within_bound(bf16_ref, 0) && bf16_within_bound(bf16_ref, 1), "the products of bf16 are within their error bound");
	ok(bf16_steps(bf16_ref), "bf16 adds in steps of 32 and flushes what is subnormal once it is rounded");
	ok(exp_accurate(), "exp is within 2 ulp, infinite above and 0 below");
	ok(elements_accurate(), "sigmoid, silu_mul and rope compute what they are named after");
	ok(softmax_accurate(), "softmax, whole or joined from blocks, is right");
	ok(rmsnorm_accurate(), "rmsnorm is right");
	ok(layernorm_accurate(), "layernorm is right");
	ok(index_scores_accurate(), "the indexer's scores are right");
	ok(fixed_exact(), "fixed point rounds to even, holds its terms and refuses what is too large");
	ok(fixed_accurate(), "sin, cos, log and exp in double are within 2 ulp");
	ok(slices(F8_E4M3) && slices(Q8) && slices(Q4), "a slice of rows keeps its scales");
	ok(quantizes(Q8) && quantizes(Q4), "quantize finds scales close to the best there are, and the nearest codes");
	ok(quantizes_ends(Q8) && quantizes_ends(Q4), "quantize takes zeros and the largest and smallest of numbers");
	ok(names(), "dtypes are named as in safetensors");
	ok(precisions(), "a table has its like in each precision");
	ok(choices(), "DS_KERNELS caps the choice");
	printf("1..%d\n", points);
	return failures != 0;
}
