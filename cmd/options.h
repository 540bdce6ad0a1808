/*
 * The command line of all programs.
 */
#ifndef DS_OPTIONS_H
#define DS_OPTIONS_H

#include <getopt.h>

#include "base/ranges.h"
#include "stage/stage.h"

struct options {
	const char *help;               /* in: the text of -h, its first line the usage */
	const char *letters;            /* in: letters of its own, getopt's way, e.g. "B:" */
	const struct option *longs;     /* in: long options of its own, words for its letters
					 * included, or NULL */
	int (*own)(int c, const char *arg, void *to);   /* in: called with each of them; -1 and a
							 * message: usage error */
	void *to;
	int operands;                   /* in: 1 if it has operands */
	int streams;                    /* in: 1 if operands are further inputs, read in order:
					 * `from` */
	int gpu;                        /* in: GPU_NONE, GPU_COMPUTES, GPU_OPTION (stage/stages.h) */
	int products;                   /* in: 1 if it multiplies with weights, or starts programs
					 * that do: --precision */
	int caches;                     /* in: 1 if it has KV caches, or starts programs that do:
					 * --cache-type */
	int weights;                    /* in: 1 if it maps weights: --manifest; with gpu also
					 * --huge-pages */
	uint64_t taps;                  /* in: TAP_BIT of what its --tap offers; 0: no --tap */
	int min_in, max_in, max_out;    /* in: numbers of -i and -o; 0: it reads or writes no frames */
	int links;                      /* in: 1 if it has the options of links without -i and -o */

	const char *model;              /* -m, or DS_MODEL; NULL: neither */
	const char *layers;             /* -l, or NULL */
	const char *manifest;           /* --manifest, or NULL */
	int huge_pages;                 /* --huge-pages */
	const char *in[LINKS_MAX], *out[LINKS_MAX];
	int nin, nout;
	const char **from;              /* [nfrom] if streams: inputs of -i, then operands; "-" without any */
	int nfrom;
	int threads;                    /* -t; by default the cores that it may use */
	int device;                     /* 1: -d or DS_DEVICE is given: */
	int ordinal;                    /* the GPU; -1: the CPU */
	int ready;                      /* -r, or -1 */
	int verbose;                    /* -v */
	uint64_t tapped;                /* --tap */
	int precision;                  /* --precision, or DS_PRECISION: an enum precision; -1:
					 * neither */
	int cache_type;                 /* --cache-type, or DS_CACHE_TYPE: F32 or BF16; -1: neither */
};

/*
 * Parse argv.  Every program accepts -m -l -t -d -r -v, also if it has no use for them, so that a
 * script can pass the same options to all; -i and -o only if it reads or writes frames.  A letter
 * of the program's own has precedence.  -h and -V are answered here (exit 0); a wrong command line
 * is one line and exit 2.  Sets `program`.  Returns the index of the first operand.
 */
int options_parse(struct options *o, int argc, char **argv);

/* Exits with 2 if there is neither -m nor DS_MODEL. */
void options_require_model(const struct options *o);

/* Close standard output, or write and free all of it; both exit with 3 if it cannot be written. */
void output_close(void);
void output_print(struct buf *text);

/* End by a signal, so that the parent sees it.  */
_Noreturn void end_by(int sig);

/* Parse a number in min..max.  0, or -1 and a message with the option's name (FAIL_USAGE).  */
int options_int(const char *option, const char *text, long min, long max, long *out);
int options_double(const char *option, const char *text, double min, double max, double *out);
int options_size(const char *option, const char *text, uint64_t *out);  /* bytes, not 0; K M G T */
int options_switch(const char *option, const char *text, int *out);     /* on: 1, off: 0 */
/* The index of the text in names, whose last entry is NULL. */
int options_word(const char *option, const char *text, const char *const names[], int *out);

/* The kernels of DS_KERNELS and --precision; exits with 2 if there are none.  */
const struct kernels *options_kernels(const struct options *o);

/* Set the device's type of cache, if one is given; exits with 2 if the device lacks it. */
void options_cache_type(const struct options *o, struct device *d);

/* Long options of the sampler's letters.  */
#define SAMPLING_LONGS {"greedy", 0, NULL, 'g'}, {"temperature", 1, NULL, 'T'}, {"top-k", 1, NULL, 'k'}, \
    {"top-p", 1, NULL, 'p'}, {"seed", 1, NULL, 'S'}, {"max-tokens", 1, NULL, 'n'}

/* Lines of -h that programs share.  */
#define HELP_MODEL  "  -m, --model MODEL      checkpoint folder or GGUF file (or DS_MODEL)\n"
#define HELP_LAYERS "  -l, --layers LAYERS    layers to process: " RANGES_SYNTAX " (all)\n"
#define HELP_TAP    "  --tap NAMES            inner tensors to add: NAME,NAME or all; '?' lists them\n"
#define HELP_PRECISION "  --precision P          products in " PRECISION_WORDS " (f32, or DS_PRECISION)\n"
#define HELP_CACHE_TYPE \
    "  --cache-type TYPE      KV caches in f32 or bf16 (as P, or DS_CACHE_TYPE)\n"
#define HELP_MANIFEST "  --manifest FILE        verify the weights against this file of ds-info\n"
#define HELP_HUGE "  --huge-pages           copy the weights to huge pages of memory\n"
#define HELP_CACHE_DIR "  --cache-dir DIR        folder of saved prefixes of the KV cache (none)\n"
#define HELP_CACHE  "  --cache-size SIZE      bytes of KV caches in this process, such as 4G\n"
#define HELP_FROM   "  -i, --input FROM       input: path, - or address (standard input)\n"
#define HELP_TO     "  -o, --output TO        output, repeatable; each gets every frame (stdout)\n"
#define HELP_DEVICE "  -d, --device DEVICE    compute on cpu, cuda or cuda:N (cpu, or DS_DEVICE)\n"
#define HELP_THREADS "  -t, --threads THREADS  compute threads (all cores)\n"
#define HELP_REST   "  -r FD                  when ready, write a newline to file descriptor FD\n" \
                    "  -v                     print a summary at the end\n" \
                    "  -V, -h                 print the version; print this text\n"

#endif
