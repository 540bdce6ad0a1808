/*
 * Sampling parameters: from a checkpoint, a command line, or a frame.
 */
#ifndef DS_SAMPLING_H
#define DS_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

#include "arch/config.h"

#define STOPS_MAX 64

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
};

/* The defaults of a checkpoint.  */
struct sampling sampling_defaults(const struct config *c);

struct sampling_options {               /* of a command line */
	int greedy, logprobs;
	double temperature, top_p;      /* NAN: not given */
	long top_k, max_new;            /* -1: not given */
	long seed;
};
#define SAMPLING_UNSET {.temperature = NAN, .top_p = NAN, .top_k = -1, .max_new = -1}

/* Set in p what the options give.  */
void sampling_set(struct sampling *p, const struct sampling_options *o);

/*
 * Read a sequence's parameters, a msgpack map of n bytes, into p: temperature, top_k, top_p, seed,
 * max_new, new, greedy, stream, logprobs, request, stop, whose ids replace those in p, and
 * stop_ids, whose ids are added.  Other keys are ignored.  0, or -1 and a message.
 */
int sampling_read(struct sampling *p, const unsigned char *params, size_t n);

#endif
