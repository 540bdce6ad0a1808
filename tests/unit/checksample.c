/* Choosing a token: the random numbers, and each rule that narrows the choice. */
/* check: yes */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/logprob.h"
#include "stage/sample.h"

#define V 8

static int tests, failed;

static void
ok(int good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	failed += !good;
}

static const struct sampling all = {.temperature = 1, .top_p = 1, .max_new = 100,
    .think_max = THINK_MAX};

static int32_t
choose(const struct sampling *p, const float *logits, double u)
{
	struct choice c[V];
	float w[V];

	return sample_choose(kernels_choose(), p, logits, V, u, c, w);
}

/* Whether u from 0 to 1 gives exactly the tokens of the set, a bit each, and how large is the share of token `of`. */
static unsigned
chosen(const struct sampling *p, const float *logits, int of, double *share)
{
	unsigned set = 0;
	int n = 0;

	for (int i = 0; i < 10000; i++) {
		int32_t id = choose(p, logits, i / 10000.0);

		set |= 1u << id;
		n += id == of;
	}
	*share = n / 10000.0;
	return set;
}

static void
check_logprob(void)
{
	static const float flat[V], none[2] = {-INFINITY, -INFINITY};
	static const float steep[3] = {-700, 88, INFINITY};
	const struct kernels *k = kernels_choose();
	double norm = 0;

	ok(logprob_norm(k, flat, V, 0, &norm) == 0 && fabs(norm - log(V)) < 1e-15 &&
	    fabs(logprob_of(flat, 3, norm) + log(V)) < 1e-15,
	    "the log-probability is that of softmax");
	ok(logprob_norm(k, steep, 2, 0, &norm) == 0 && norm == 88, "it does not overflow");
	ok(logprob_norm(k, steep, 3, 5, &norm) < 0 &&
	    strcmp(fail_text(), "position 5: the logit of token 2 is infinite") == 0 &&
	    logprob_norm(k, none, 2, 5, &norm) < 0, "logits without a softmax are refused");
}

int
main(void)
{
	static const float flat[V] = {1, 3, 3, 2, -INFINITY, 0, 1, 2};
	struct sampling p = all;
	double share, sum = 0, e = exp(1);
	double z = 2 * e * e * e + 2 * e * e + 2 * e + 1;
	unsigned set;

	/* the first words of Philox 4x32-10 for a counter and key of zeros: 6627e8d5 e169c58d ... (Random123's test vectors) */
	ok(sample_random(0, 0, 0) == (double)(0xe169c58d6627e8d5u >> 11) * 0x1p-53,
	    "the random numbers are those of Philox 4x32-10");
	ok(sample_random(1, 2, 3) == sample_random(1, 2, 3) && sample_random(1, 2, 3) != sample_random(1, 2, 4) &&
	    sample_random(1, 2, 3) != sample_random(1, 3, 3) && sample_random(1, 2, 3) != sample_random(2, 2, 3),
	    "they depend on the seed, the sequence and the position");
	for (uint64_t i = 0; i < 100000; i++)
		sum += sample_random(9, 1, i);
	ok(fabs(sum / 100000 - 0.5) < 0.005, "they fill 0 to 1 evenly");

	p.greedy = 1;
	ok(choose(&p, flat, 0.9) == 1, "greedy takes the first of the largest");
	p = all;
	p.temperature = 0;
	ok(choose(&p, flat, 0.9) == 1, "temperature 0 is greedy");
	p = all;
	set = chosen(&p, flat, 3, &share);
	ok(set == (0xffu & ~(1u << 4)) && fabs(share - e * e / z) < 1e-3,
	    "everything that is possible is chosen as often as softmax says");
	p.temperature = 0.5;
	chosen(&p, flat, 3, &share);
	ok(fabs(share - pow(e, 4) / (2 * pow(e, 6) + 2 * pow(e, 4) + 2 * e * e + 1)) < 1e-3,
	    "temperature divides the logits");
	p = all;
	p.top_k = 3;
	set = chosen(&p, flat, 3, &share);
	ok(set == (1u << 1 | 1u << 2 | 1u << 3) && fabs(share - e * e / (2 * e * e * e + e * e)) < 1e-3,
	    "top-k keeps k, of equals those with smaller ids");
	p.top_p = 0.5;
	set = chosen(&p, flat, 3, &share);
	ok(set == (1u << 1 | 1u << 2), "top-p then keeps the fewest of these that reach it");
	p = all;
	p.top_p = 0.8;
	set = chosen(&p, flat, 3, &share);
	ok(set == (1u << 1 | 1u << 2 | 1u << 3 | 1u << 7), "top-p alone keeps the fewest that reach it");
	p.top_p = 0;
	set = chosen(&p, flat, 1, &share);
	ok(set == 1u << 1, "top-p 0 keeps one");

	{
		/* {"temperature": 0.5, "stop": [3], "max_new": 9, "other": nil, "new": 4} */
		static const unsigned char m[] = "\x85\xabtemperature\xcb\x3f\xe0\0\0\0\0\0\0\xa4stop\x91\x03\xa7max_new\x09\xa5other\xc0\xa3new\x04";

		p = all;
		p.greedy = 1;
		ok(sampling_read(&p, m, sizeof(m) - 1) == 0 && p.temperature == 0.5 && !p.greedy && p.nstop == 1 &&
		    p.stop[0] == 3 && p.max_new == 9 && p.had == 4, "a sequence's parameters win, unknown ones are left alone");
	}
	{
		/* {"stop_ids": [7], "stop": [3], "stream": 2^64 - 1, "logprobs": true,
		 * "request": nil} */
		static const unsigned char m[] = "\x85\xa8stop_ids\x91\x07\xa4stop\x91\x03"
		    "\xa6stream\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa8logprobs\xc3\xa7request\xc0";

		p = all;
		ok(sampling_read(&p, m, sizeof(m) - 1) == 0 && p.nstop == 2 && p.stop[0] == 3 &&
		    p.stop[1] == 7, "stop_ids are added to stop");
		ok(p.has_stream && p.stream == UINT64_MAX && p.logprobs && p.request,
		    "the keys of requests");
	}
	check_logprob();
	p = all;
	ok(sampling_read(&p, (const unsigned char *)"\x81\xa5top_p\x02", 8) < 0 && fail_status() == FAIL_DATA &&
	    strstr(fail_text(), "top_p"), "a parameter out of range is named");
	ok(sampling_read(&p, (const unsigned char *)"\x81\xa4stop\x91\xff", 8) < 0, "a stop id that is none is refused");
	printf("1..%d\n", tests);
	return failed > 0;
}
