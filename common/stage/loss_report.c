/*
 * Sums of the loss over the frames between two `norm` frames.
 */
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "stage/loss.h"

#define FIXED_ONE 0x1p60

static loss_fixed
fixed(double x)
{
	return (loss_fixed)rint(x * FIXED_ONE);
}

static double
real(loss_fixed x)
{
	return (double)x / FIXED_ONE;
}

void
loss_sums_add(struct loss_sums *s, float weight, const struct loss_term *t)
{
	double w = (double)weight;

	s->loss += fixed(w * t->loss);
	s->kl += fixed(w * t->kl);
	s->entropy += fixed(w * t->entropy);
	s->weight += fixed(w);
	s->tokens++;
	s->clipped += (uint64_t)t->clipped;
	s->exact += t->ratio == 1;
	s->ratio = fmax(s->ratio, fabs(t->ratio - 1));
}

/* A number that is reported. */
struct metric {
	const char *name;
	int whole;                      /* 1: n, else x */
	uint64_t n;
	double x;
};

#define METRICS 9

static void
metrics_of(const struct loss_sums *s, struct metric to[METRICS])
{
	double weight = real(s->weight), by = weight != 0 ? weight : 1;
	const struct metric all[METRICS] = {
		{"loss", 0, 0, real(s->loss) / by}, {"sum", 0, 0, real(s->loss)},
		{"weight", 0, 0, weight}, {"tokens", 1, s->tokens, 0},
		{"clipped", 1, s->clipped, 0}, {"ratio", 0, 0, s->ratio},
		{"exact", 1, s->exact, 0}, {"kl", 0, 0, real(s->kl) / by},
		{"entropy", 0, 0, real(s->entropy) / by}};

	memcpy(to, all, sizeof(all));
}

static void
print(const struct metric m[METRICS])
{
	char line[512];
	size_t n = 0;

	for (int i = 0; i < METRICS; i++) {
		size_t left = sizeof(line) - n;
		const char *before = i ? ", " : "{";

		if (m[i].whole)
			n += (size_t)snprintf(line + n, left, "%s\"%s\": %llu", before, m[i].name,
			    (unsigned long long)m[i].n);
		else
			n += (size_t)snprintf(line + n, left, "%s\"%s\": %.9g", before, m[i].name,
			    m[i].x);
	}
	fprintf(stderr, "%s}\n", line);
}

int
loss_report(struct loss *l, struct frame *f)
{
	struct metric m[METRICS];
	msgpack_sbuffer b;
	msgpack_packer p;
	int r;

	metrics_of(&l->sums, m);
	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&p, &b, msgpack_sbuffer_write);
	msgpack_pack_map(&p, METRICS);
	for (int i = 0; i < METRICS; i++) {
		msgpack_pack_str_with_body(&p, m[i].name, strlen(m[i].name));
		if (m[i].whole)
			msgpack_pack_uint64(&p, m[i].n);
		else
			msgpack_pack_double(&p, m[i].x);
	}
	r = frame_set_other(f, "loss", b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	if (!l->quiet)
		print(m);
	l->tokens += l->sums.tokens;
	l->sums = (struct loss_sums){0};
	return r;
}
