/*
 * Sampling parameters: from a checkpoint, a command line, or a frame.
 */
#ifndef DS_SAMPLING_H
#define DS_SAMPLING_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/config.h"
#include "stage/stop.h"

#define THINK_MAX UINT32_MAX    /* no limit: more than any position */

/* A frame's `seqs` override the command line, that overrides generation_config.json, and that
 * config.json.  */
struct sampling {
	int greedy;
	double temperature;             /* 0 is greedy */
	int top_k;                      /* 0: off */
	double top_p;                   /* 1: off */
	uint64_t seed;
	uint32_t max_new;               /* most new tokens */
	uint32_t had;                   /* `new`: new tokens that are in the prompt already */
	int32_t stop[STOPS_MAX];        /* ids that end a sequence */
	int nstop;
	uint64_t stream;                /* replaces the sequence's id in its random numbers */
	int has_stream;
	int logprobs;                   /* 1: tokens have log-probabilities */
	int request;                    /* 1: the sequence answers a request, whose answer names the
					 * reason of its end */
	struct stops stop_text;         /* strings that end a sequence */
	/* `</think>` is not among the first think_min new tokens, and is number think_max of them,
	 * counted from 0, unless it came before */
	uint32_t think_min, think_max;
};

/* The defaults of a checkpoint.  */
struct sampling sampling_defaults(const struct config *c);

struct sampling_options {               /* of a command line */
	int greedy, logprobs;
	double temperature, top_p;      /* NAN: not given */
	long top_k, max_new;            /* -1: not given */
	long seed;
	long think_min, think_max;      /* -1: not given */
	struct stops stop_text;
};
#define SAMPLING_UNSET {.temperature = NAN, .top_p = NAN, .top_k = -1, .max_new = -1, \
    .think_min = -1, .think_max = -1}

/* Set in p what the options give.  It owns their stop strings from then on.  0, or -1 and a message
 * (FAIL_USAGE).  */
int sampling_set(struct sampling *p, const struct sampling_options *o);

/*
 * Read a sequence's parameters, a msgpack map of n bytes, into p: temperature, top_k, top_p, seed,
 * max_new, new, greedy, think_min, think_max, stream, logprobs, request, stop and stop_text, which
 * replace those in p, and stop_ids, whose ids are added.  Other keys are ignored.  0, or -1 and a
 * message.
 */
int sampling_read(struct sampling *p, const unsigned char *params, size_t n);

/* The value of `new` in such a map; 0: none, or the map is wrong.  */
uint32_t sampling_new(const unsigned char *params, size_t n);

/* 1 if such a map has the key `request`; 0: not, or the map is wrong.  */
int sampling_request(const unsigned char *params, size_t n);

/* Make *to a copy; its stop strings are freed with stops_free.  0, or -1 and a message.  */
int sampling_copy(struct sampling *to, const struct sampling *from);

#endif
