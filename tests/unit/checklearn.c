/* Tensors that learn: steps against double precision, rounding, norms. */
/* check: yes */
#include "learnline.h"
#include "point.h"

/* --- the optimizer --- */

/* The largest difference to the formula in double precision, in units of what a step can change. */
static double
against_double(void)
{
	enum { N = 1000 };
	static float p[N], m[N], v[N];
	static double dp[N], dm[N], dv[N];
	static int64_t acc[N];
	double worst = 0;

	for (int i = 0; i < N; i++)
		dp[i] = p[i] = (float)random_number();
	for (uint64_t step = 1; step <= 20; step++) {
		struct frame_step s = step_of(step);
		struct adamw a = adamw_constants(&s, 1);

		for (int i = 0; i < N; i++)
			acc[i] = (int64_t)(random_number() * 0x1p40 * (i % 10 ? 1 : 1e-6));
		if (adamw_update(&a, p, m, v, acc, N) < 0)
			return INFINITY;
		for (int i = 0; i < N; i++) {
			double g = (double)acc[i] * 0x1p-40 / s.weight * s.factor, error;

			dm[i] = s.beta1 * dm[i] + (1 - s.beta1) * g;
			dv[i] = s.beta2 * dv[i] + (1 - s.beta2) * g * g;
			dp[i] -= s.rate * (dm[i] / s.bias1 / (sqrt(dv[i] / s.bias2) + s.eps) +
			    s.decay * dp[i]);
			/* (fmax here makes GCC 12 fail for aarch64) */
			error = fabs(dp[i] - p[i]) / s.rate;
			worst = error > worst ? error : worst;
		}
	}
	return worst;
}

static void
check_adamw(void)
{
	struct frame_step s = step_of(1);
	struct adamw a = adamw_constants(&s, 0);
	float p[3] = {1, -0.f, 2}, m[3] = {0}, v[3] = {0};
	int64_t acc[3] = {0};

	point(against_double() < 2e-3, "20 steps are those of double precision within float32");
	point(adamw_update(&a, p, m, v, acc, 3) == 0 && p[0] == 1 && p[1] == 0 && signbit(p[1]) &&
	    p[2] == 2, "a vector without a gradient keeps its bits");
	v[1] = INFINITY;
	point(adamw_update(&a, p, m, v, acc, 3) < 0, "a moment that is not finite is found");
}

/* --- the weights --- */

/* The number of tensors whose bytes are not those of the files. */
static int
changed(const struct line *s)
{
	int n = 0;

	for (size_t i = 0; i < s->learn.nparams; i++) {
		const struct mat *a = &s->learn.params[i]->mat, *b = &s->learn.params[i]->origin;

		size_t bytes = (size_t)a->rows * dtype_row(a->dtype, a->cols);

		n += memcmp(a->data, b->data, bytes) != 0 || (a->scale &&
		    memcmp(a->scale, b->scale, fp8_blocks((size_t)a->rows) *
		    (size_t)a->scale_cols * sizeof(float)) != 0);
	}
	return n;
}

/* The largest |weight - master| by the step of the dtype at the tensor's (or block's) largest. */
static double
rounding_error(const struct line *s)
{
	static const double steps[] = {[F32] = 0, [BF16] = 0x1p-8, [F16] = 0x1p-11,
	    [F8_E4M3] = 0x1p-4 * 1.01};
	double worst = 0;

	for (size_t i = 0; i < s->learn.nparams; i++) {
		const struct param *p = s->learn.params[i];
		float *row = mem_raw((size_t)p->mat.cols, sizeof(*row));

		for (int r = 0; r < p->mat.rows; r++) {
			s->learn.k->row(row, &p->mat, r);
			for (int c = 0; c < p->mat.cols; c++) {
				double x = p->master[(size_t)r * (size_t)p->mat.cols + (size_t)c];
				double most = fabs(x) * steps[p->dtype] + 1e-5;

				worst = fmax(worst, fabs(x - row[c]) / most);
			}
		}
		free(row);
	}
	return worst;
}

static int
same_copies(const struct line *s)
{
	for (size_t i = 0; i < s->learn.nparams; i++) {
		const struct param *p = s->learn.params[i];
		float row[4096];

		if (p->cols > 0)
			continue;
		s->learn.k->row(row, &p->mat, 0);
		if (memcmp(row, p->copies[0], p->n * sizeof(*row)) != 0)
			return 0;
	}
	return 1;
}

static void
check_weights(const char *dir)
{
	struct line a, b;
	struct frame_step step = step_of(1), still = step;
	int opened = line_open(&a, dir, 1) == 0 && line_open(&b, dir, 2) == 0;

	printf("# %s: %zu tensors\n", dir, a.learn.nparams);
	still.decay = still.balance = 0;
	point(opened, "all tensors are registered");
	point(opened && line_step(&a, &still) == 0 && changed(&a) == 0,
	    "a step without gradients changes no byte");
	step.t = 2;
	if (!opened || line_step(&b, &still) < 0)
		return;
	add_gradients(&a);
	copy_gradients(&b, &a);
	point(line_step(&a, &step) == 0 && changed(&a) > 0 && rounding_error(&a) <= 1,
	    "weights are the masters, rounded");
	point(same_copies(&a), "the stages' vectors are those of the checkpoint");
	point(line_step(&b, &step) == 0 && same_lines(&a, &b), "two threads make the same step");
	line_close(&a);
	line_close(&b);
}

/* --- norms --- */

static void
check_norm(void)
{
	struct line s;
	learn_square sum = 0, one = 0;
	struct param *p;
	double square = 0;

	if (line_open(&s, "tests/golden/llama", 2) < 0) {
		point(0, "a model is opened");
		return;
	}
	p = s.learn.params[0];
	for (size_t i = 0; i < p->n; i++) {
		p->acc[i] = (int64_t)(random_number() * 0x1p40);
		square += pow((double)p->acc[i] * 0x1p-40 / 5, 2);
	}
	point(learn_norm(&s.learn, 5, &sum) == 0 && fabs(norm_root(sum) / sqrt(square) - 1) < 1e-6,
	    "the norm is that of the gradients");
	point(norm_add(&one, p->name, p->acc, p->n, 5, s.pool) == 0 && one == sum,
	    "a tensor alone has the same sum");
	point(learn_norm(&s.learn, 0, &sum) < 0, "a weight of 0 is refused");
	point(norm_add(&one, p->name, p->acc, p->n, 1e-30, s.pool) < 0 &&
	    strstr(fail_text(), p->name) && fail_status() == FAIL_DATA,
	    "a sum that overflows names the tensor");
	line_close(&s);
}

int
main(void)
{
	static const char *const models[] = {"v3", "v2", "v3-plain", "v3-fp8-odd", "qwen2", "qwen3",
	    "llama", "qwen3-moe"};

	check_adamw();
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		char dir[200];

		snprintf(dir, sizeof(dir), "tests/golden/%s", models[i]);
		check_weights(dir);
	}
	check_norm();
	printf("1..%d\n", points);
	return failures > 0;
}
