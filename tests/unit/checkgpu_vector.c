/*
 * What goes over a vector once, on the GPU, against kernels/cpu: bit for bit.
 */
/* only: asan */
#include "twin.h"

#include "cpu/cpu.h"

static struct kernels ref;

static const int lengths[] = {1, 2, 3, 4, 15, 16, 17, 36, 64, 100, 512, 1024, 1536, 2047, 2048, 2052, 7168, 8192, 8193, 8196, 20000};

/* Rows of stride ld, of which n numbers count; the array begins `off` floats behind an aligned place. */
static int
normed(int T, int n, int ldx, int ldo, int off, int in_place, enum kind k)
{
	struct twin x = twin_new((size_t)(off + (T - 1) * ldx + n) * 4), w = twin_new((size_t)(off + n) * 4);
	struct twin out = twin_new((size_t)(off + (T - 1) * ldo + n) * 4);
	const struct twin *to = in_place ? &x : &out;
	float *from = x.want, *by = w.want, eps = below(2) ? 1e-6f : 0;
	int ld = in_place ? ldx : ldo, good;

	numbers(from, (size_t)(off + (T - 1) * ldx + n), k);
	numbers(by, (size_t)(off + n), k == WORST && below(2) ? PLAIN : k);
	twin_put(&x);
	twin_put(&w);
	good = lib->rmsnorm(gpu, (float *)to->dev + off, ld, (float *)x.dev + off, ldx, T, n, (float *)w.dev + off, eps) == 0;
	for (int t = 0; t < T; t++)
		ref.rmsnorm((float *)to->want + off + t * ld, from + off + t * ldx, by + off, n, eps);
	good &= twin_same(&x) & twin_same(&w) & twin_same(&out);
	return good & gpu_clear();
}

static void
norms(enum kind k, const char *name)
{
	int good = 1;

	for (int i = 0; i < COUNT(lengths); i++) {
		int n = lengths[i], T = n > 3000 ? 2 : 1 + below(4), even = (n + 3) / 4 * 4;

		good &= normed(T, n, even, even + 4 * below(2), 0, 0, k);
		good &= normed(T, n, n + below(3), n + below(3), below(4), 0, k);
		good &= normed(T, n, even + 4 * below(2), 0, 0, 1, k);
	}
	ok(good, "rmsnorm of numbers %s", name);
}

static int
added(size_t n, int off, enum kind k)
{
	struct twin x = twin_new((n + (size_t)off) * 4), y = twin_new((n + (size_t)off) * 4);
	int good;

	numbers(x.want, n + (size_t)off, k);
	numbers(y.want, n + (size_t)off, k);
	twin_put(&x);
	twin_put(&y);
	good = lib->add(gpu, (float *)x.dev + off, (float *)y.dev + off, n) == 0;
	ref.add((float *)x.want + off, (float *)y.want + off, (int)n);
	good &= twin_same(&x) & twin_same(&y);
	return good & gpu_clear();
}

static int
biased(int T, int n, enum kind k)
{
	struct twin x = twin_new((size_t)(T * n) * 4), b = twin_new((size_t)n * 4);
	int good;

	numbers(x.want, (size_t)(T * n), k);
	numbers(b.want, (size_t)n, k);
	twin_put(&x);
	twin_put(&b);
	good = lib->bias(gpu, x.dev, b.dev, T, n) == 0;
	for (int t = 0; t < T; t++)
		ref.add((float *)x.want + t * n, b.want, n);
	good &= twin_same(&x) & twin_same(&b);
	return good & gpu_clear();
}

static int
gathered(int T, int of, int n, int off)
{
	size_t outs = (size_t)T * (size_t)n + (size_t)off, ins = (size_t)of * (size_t)n + (size_t)off;
	struct twin out = twin_new(outs * 4), x = twin_new(ins * 4), row = twin_new((size_t)T * 4);
	int32_t *r = row.want;
	int good;

	numbers(x.want, ins, BITS);
	for (int t = 0; t < T; t++)
		r[t] = below(of);
	twin_put(&x);
	twin_put(&row);
	good = lib->gather(gpu, (float *)out.dev + off, (float *)x.dev + off, row.dev, T, n) == 0;
	for (int t = 0; t < T; t++)
		memcpy((float *)out.want + off + t * n, (float *)x.want + off + r[t] * n, (size_t)n * 4);
	good &= twin_same(&out) & twin_same(&x) & twin_same(&row);
	return good & gpu_clear();
}

/* Sums as they are, and such as only a wrong stage leaves. */
static int64_t
sum_of(enum kind k)
{
	int64_t a = (int64_t)((uint64_t)random32() << 32 | random32());

	return k == BITS ? a : a >> (8 + below(50));
}

static int
finished(size_t n, int off, enum kind k)
{
	struct twin h = twin_new((n + (size_t)off) * 4), acc = twin_new((n + (size_t)off) * 8);
	int good;

	numbers(h.want, n + (size_t)off, k);
	for (size_t i = 0; i < n + (size_t)off; i++)
		((int64_t *)acc.want)[i] = sum_of(k);
	twin_put(&h);
	twin_put(&acc);
	good = lib->fixed_finish(gpu, (float *)h.dev + off, (int64_t *)acc.dev + off, n) == 0;
	ref.fixed_finish((float *)h.want + off, (int64_t *)acc.want + off, (int)n);
	good &= twin_same(&h) & twin_same(&acc);
	return good & gpu_clear();
}

static void
vectors(enum kind k, const char *name)
{
	int sum = 1, fixed = 1;

	for (int i = 0; i < COUNT(lengths); i++)
		for (int off = 0; off < 4; off += 1 + below(3)) {
			sum &= added((size_t)lengths[i], off, k);
			fixed &= finished((size_t)lengths[i], off, k);
		}
	ok(sum, "add of numbers %s", name);
	ok(fixed, "fixed_finish of numbers %s", name);
}

int
main(void)
{
	static const char *const names[KINDS] = {"near 1", "of all sizes", "near 0", "that overflow", "at the edge of the subnormal ones",
	    "that hurt", "of random bits"};
	int good = 1;

	gpu_start();
	vector_ref(&ref);
	for (int k = 0; k < KINDS; k++) {
		norms((enum kind)k, names[k]);
		vectors((enum kind)k, names[k]);
	}
	for (int i = 0; i < COUNT(lengths); i++)
		good &= gathered(1 + below(5), 1 + below(4), lengths[i], below(2) ? below(4) : 0);
	ok(good, "gather copies rows as they are");
	good = 1;
	for (int i = 0; i < COUNT(lengths); i++)
		good &= biased(1 + below(5), lengths[i], (enum kind)(i % KINDS));
	ok(good, "bias adds a vector to each row");
	lib->close(gpu);
	printf("1..%d\n", points);
	return failures != 0;
}
