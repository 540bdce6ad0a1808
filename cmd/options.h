/*
 * What all programs share on their command line, parsed in one place.
 */
#ifndef DS_OPTIONS_H
#define DS_OPTIONS_H

#include <getopt.h>

#include "base/ranges.h"
#include "stage/stage.h"

struct options {
	const char *help;               /* in: the text of -h, its first line the usage */
	const char *letters;            /* in: letters of its own, getopt's way, e.g. "B:" */
	const struct option *longs;     /* in: long options of its own, words for its letters included, or NULL */
	int (*own)(int c, const char *arg, void *to);   /* in: takes them; -1 and a message (fail): usage error */
	void *to;
	int operands;                   /* in: 1 if it takes operands */
	int streams;                    /* in: 1 if operands are inputs, too, read one after another: `from` */
	int gpu;                        /* in: 1 if it can compute on a GPU; 2: if it only takes -d (DS_DEVICE is for others) */
	int products;                   /* in: 1 if it multiplies with weights, or starts those that do: it has --precision */
	int weights;                    /* in: 1 if it maps weights: it has --manifest */
	uint64_t taps;                  /* in: TAP_BIT of what its --tap offers; 0: it has none */
	int min_in, max_in, max_out;    /* in: how many -i and -o; 0: it reads or writes no frames */
	int links;                      /* in: 1 if it has links, although no -i and no -o: it takes their options */

	const char *model;              /* -m, or DS_MODEL; NULL: neither */
	const char *layers;             /* -l, or NULL */
	const char *manifest;           /* --manifest, or NULL */
	const char *in[LINKS_MAX], *out[LINKS_MAX];
	int nin, nout;
	const char **from;              /* [nfrom] with streams: those of -i, then the operands; "-" without any */
	int nfrom;
	int threads;                    /* -t; by default the cores that it may use */
	int device;                     /* 1: -d or DS_DEVICE says where to compute: */
	int ordinal;                    /* which GPU; -1: the CPU */
	int ready;                      /* -r, or -1 */
	int verbose;                    /* -v */
	uint64_t tapped;                /* --tap */
	int precision;                  /* --precision, or DS_PRECISION: an enum precision; -1: neither */
};

/*
 * Parse argv.  Every program takes -m -l -t -d -r -v, also where one has nothing to say
 * to it (and -i and -o if it reads or writes frames), so that a script may give all of them the same (but -i and -o only where frames come
 * in or go out); a letter of the program's own
 * comes first.  -h and -V are answered here (exit 0), a wrong line is one line and exit 2.
 * Returns the index of the first operand.  Sets `program`.
 */
int options_parse(struct options *o, int argc, char **argv);

/* Parse a number in min..max; a wrong one is fail(FAIL_USAGE) with the option's name. */
int options_int(const char *option, const char *text, long min, long max, long *out);
int options_double(const char *option, const char *text, double min, double max, double *out);
int options_switch(const char *option, const char *text, int *out);     /* on: 1, off: 0 */

/* The kernels of DS_KERNELS and of the precision asked for; exits 2 where there are none. */
const struct kernels *options_kernels(const struct options *o);

/* Words for the letters of the sampler. */
#define SAMPLING_LONGS {"greedy", 0, NULL, 'g'}, {"temperature", 1, NULL, 'T'}, {"top-k", 1, NULL, 'k'}, \
    {"top-p", 1, NULL, 'p'}, {"seed", 1, NULL, 'S'}, {"max-tokens", 1, NULL, 'n'}

/* Lines of -h for what they share. */
#define HELP_MODEL  "  -m, --model MODEL      checkpoint folder (or DS_MODEL)\n"
#define HELP_LAYERS "  -l, --layers LAYERS    layers to process: " RANGES_SYNTAX " (all)\n"
#define HELP_TAP    "  --tap NAMES            inner tensors to add: NAME,NAME or all; '?' lists them\n"
#define HELP_PRECISION "  --precision P          products in f32, bf16 or fp8 (f32, or DS_PRECISION)\n"
#define HELP_MANIFEST "  --manifest FILE        verify the weights against this file of ds-info\n"
#define HELP_FROM   "  -i, --input FROM       input: path, - or address (standard input)\n"
#define HELP_TO     "  -o, --output TO        output, repeatable; each gets every frame (stdout)\n"
#define HELP_DEVICE "  -d, --device DEVICE    compute on cpu, cuda or cuda:N (cpu, or DS_DEVICE)\n"
#define HELP_THREADS "  -t, --threads THREADS  compute threads (all cores)\n"
#define HELP_REST   "  -r FD                  when ready, write a newline to file descriptor FD\n" \
                    "  -v                     print a summary at the end\n" \
                    "  -V, -h                 print the version; print this text\n"

#endif
