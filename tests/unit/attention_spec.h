/*
 * The specification of attention in double, from the papers: MLA's latents are expanded to keys and
 * values.  And random numbers.
 */
#ifndef DS_ATTENTION_SPEC_H
#define DS_ATTENTION_SPEC_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "attention/rope.h"
#include "base/mem.h"
#include "point.h"

static void *
memory(size_t n, size_t size)
{
	void *p = mem_new(n, size);

	if (!p) {
		printf("Bail out! %s\n", fail_text());
		exit(1);
	}
	return p;
}

static double
number(void)
{
	static uint64_t x = 1;

	x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (double)(int64_t)x * 0x1p-63;
}

struct spec {
	const struct config *c;
	int window;
	double *w[ROLES];       /* NULL: the model lacks it */
	size_t n[ROLES];
	struct rope rope;
	double scale;
};

/* y [rows] = w [rows][cols] x + bias; bias NULL: none */
static void
product(double *y, const double *w, const double *x, int rows, int cols, const double *bias)
{
	for (int r = 0; r < rows; r++) {
		y[r] = bias ? bias[r] : 0;
		for (int k = 0; k < cols; k++)
			y[r] += w[(ptrdiff_t)r * cols + k] * x[k];
	}
}

/* NULL: no norm */
static void
norm(double *x, const double *w, int n, double eps)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += x[i] * x[i];
	for (int i = 0; w && i < n; i++)
		x[i] *= w[i] / sqrt(sum / n + eps);
}

static void
turn(const struct spec *s, double *x, int pos)
{
	int half = s->rope.half, near = !s->c->rope_half;

	for (int i = 0; i < half; i++) {
		double *a = x + (near ? 2 * i : i), *b = near ? a + 1 : a + half, was = *a;
		double f = s->rope.factor, c = cos(pos * s->rope.freq[i]) * f,
		    e = sin(pos * s->rope.freq[i]) * f;

		*a = was * c - *b * e;
		*b = *b * c + was * e;
	}
}

/* A position: queries and keys of all heads, turned, and values. */
struct place {
	double *q, *k, *v;      /* [H][qk], [H][qk], [H][v] */
};

static int
width_qk(const struct config *c)
{
	return c->attention == ATTENTION_MLA ? c->qk_nope_head_dim + c->qk_rope_head_dim :
	    c->head_dim;
}

static int
width_v(const struct config *c)
{
	return c->attention == ATTENTION_MLA ? c->v_head_dim : c->head_dim;
}

static void
place_mla(const struct spec *s, struct place *p, const double *x, int pos)
{
	const struct config *c = s->c;
	int H = c->num_heads, D = c->hidden_size, R = c->kv_lora_rank, nope = c->qk_nope_head_dim,
	    rope = c->qk_rope_head_dim, v = c->v_head_dim, qk = nope + rope, lora = c->q_lora_rank;
	double qa[512], kv[512];

	if (lora > 0) {
		product(qa, s->w[ROLE_Q_A], x, lora, D, NULL);
		norm(qa, s->w[ROLE_Q_A_NORM], lora, 1e-6);
	}
	product(p->q, s->w[ROLE_Q], lora > 0 ? qa : x, H * qk, lora > 0 ? lora : D, NULL);
	product(kv, s->w[ROLE_KV_A], x, R + rope, D, NULL);
	norm(kv, s->w[ROLE_KV_A_NORM], R, 1e-6);
	turn(s, kv + R, pos);
	for (int h = 0; h < H; h++) {
		const double *w = s->w[ROLE_KV_B] + (ptrdiff_t)h * (nope + v) * R;

		turn(s, p->q + h * qk + nope, pos);
		product(p->k + h * qk, w, kv, nope, R, NULL);
		memcpy(p->k + h * qk + nope, kv + R, (size_t)rope * sizeof(*kv));
		product(p->v + h * v, w + nope * R, kv, v, R, NULL);
	}
}

static void
place_gqa(const struct spec *s, struct place *p, const double *x, int pos)
{
	const struct config *c = s->c;
	int H = c->num_heads, G = c->num_kv_heads, d = c->head_dim, D = c->hidden_size;
	double k[512], v[512];

	product(p->q, s->w[ROLE_Q], x, H * d, D, s->w[ROLE_Q_BIAS]);
	product(k, s->w[ROLE_K], x, G * d, D, s->w[ROLE_K_BIAS]);
	product(v, s->w[ROLE_V], x, G * d, D, s->w[ROLE_V_BIAS]);
	for (int h = 0; h < H; h++) {
		double *mine = p->k + h * d;

		norm(p->q + h * d, s->w[ROLE_Q_NORM], d, c->rms_norm_eps);
		turn(s, p->q + h * d, pos);
		memcpy(mine, k + h / (H / G) * d, (size_t)d * sizeof(*k));
		norm(mine, s->w[ROLE_K_NORM], d, c->rms_norm_eps);
		turn(s, mine, pos);
		memcpy(p->v + h * d, v + h / (H / G) * d, (size_t)d * sizeof(*v));
	}
}

/* o [H][v], the values of position pos. */
static void
attend(const struct spec *s, const struct place *p, int pos, double *o)
{
	int H = s->c->num_heads, qk = width_qk(s->c), v = width_v(s->c);
	int from = s->window > 0 && pos >= s->window ? pos + 1 - s->window : 0;

	memset(o, 0, (size_t)(H * v) * sizeof(*o));
	for (int h = 0; h < H; h++) {
		double sum = 0;

		for (int i = from; i <= pos; i++) {
			double score = 0, e;

			for (int j = h * qk; j < (h + 1) * qk; j++)
				score += p[pos].q[j] * p[i].k[j];
			sum += e = exp(score * s->scale);
			for (int j = h * v; j < (h + 1) * v; j++)
				o[j] += e * p[i].v[j];
		}
		for (int j = h * v; j < (h + 1) * v; j++)
			o[j] /= sum;
	}
}

/* out [n][D]: a sequence's rows h, with attention added. */
static void
specify(const struct spec *s, const double *h, int n, double *out)
{
	const struct config *c = s->c;
	int D = c->hidden_size;
	size_t q = (size_t)(c->num_heads * width_qk(c)), v = (size_t)(c->num_heads * width_v(c));
	double *numbers = memory((size_t)n * (2 * q + v), sizeof(double)), x[512], o[1024];
	struct place *p = memory((size_t)n, sizeof(*p));

	for (int t = 0; t < n; t++) {
		p[t].q = numbers + (size_t)t * (2 * q + v);
		p[t].k = p[t].q + q;
		p[t].v = p[t].k + q;
		memcpy(x, h + (ptrdiff_t)t * D, (size_t)D * sizeof(*x));
		norm(x, s->w[ROLE_ATTN_NORM], D, c->rms_norm_eps);
		(c->attention == ATTENTION_MLA ? place_mla : place_gqa)(s, &p[t], x, t);
	}
	for (int t = 0; t < n; t++) {
		double *to = out + (ptrdiff_t)t * D;

		attend(s, p, t, o);
		product(to, s->w[ROLE_O], o, D, (int)v, s->w[ROLE_O_BIAS]);
		for (int i = 0; i < D; i++)
			to[i] += h[(ptrdiff_t)t * D + i];
	}
	free(p);
	free(numbers);
}

#endif
