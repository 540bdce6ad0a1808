/*
 * What decides how a sequence is sampled, and where it comes from: a checkpoint, a command line, a frame.
 */
#ifndef DS_SAMPLING_H
#define DS_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

#include "arch/config.h"

#define STOPS_MAX 64

/* What decides how a sequence is sampled.  A frame's `seqs` win over the command
 * line, that over generation_config.json, that over config.json. */
struct sampling {
	int greedy;
	double temperature;             /* 0 is greedy */
	int top_k;                      /* 0: off */
	double top_p;                   /* 1: off */
	uint64_t seed;
	uint32_t max_new;               /* most new tokens */
	uint32_t had;                   /* `new`: how many of them are in the prompt already */
	int32_t stop[STOPS_MAX];        /* ids that end a sequence */
	int nstop;
};

/* The defaults of a checkpoint. */
struct sampling sampling_defaults(const struct config *c);

struct sampling_options {               /* of a command line */
	int greedy;
	double temperature, top_p;      /* NAN: not given */
	long top_k, max_new;            /* -1: not given */
	long seed;
};
#define SAMPLING_UNSET {.temperature = NAN, .top_p = NAN, .top_k = -1, .max_new = -1}

/* Lay the options over the defaults in p. */
void sampling_set(struct sampling *p, const struct sampling_options *o);

/*
 * Read a sequence's parameters (a msgpack map) over what p holds: temperature, top_k, top_p, seed, max_new, new,
 * greedy, stop (ids, in the place of those that p has); other keys are left alone.  0, or -1 and a message.
 */
int sampling_read(struct sampling *p, const unsigned char *params, size_t n);

#endif
