/*
 * The programs of a pipeline in order, with their command lines. A plan is either started (run.h)
 * or written as a shell script (script.h).
 */
#ifndef DS_PLAN_H
#define DS_PLAN_H

enum cut {
	CUT_FUSED,      /* one ds-block for all layers */
	CUT_LAYER,      /* one ds-block per layer */
	CUT_STAGE       /* ds-attn, ds-route and ds-expert per layer */
};

extern const char *const cut_names[];   /* "fused"; the last is NULL */

/*
 * Options of ds-sample with a value. ds-run takes them under the same names, and passes them to
 * ds-sample or, with a plan, in the entry of each sequence in `seqs`.
 */
struct sampling_option {
	int c;                          /* of getopt: its letter, or PLAN_THINK_... */
	const char *word, *key;         /* on a command line; in seqs */
	int real;                       /* 1: a number up to max; 0: an integer */
	long max;
};

enum { PLAN_THINK_MIN = 512, PLAN_THINK_MAX };

#define SAMPLING_OPTIONS 7
#define SAMPLING_SEED 3                 /* answers to --jsonl contain it */
extern const struct sampling_option sampling_options[SAMPLING_OPTIONS];

#define PLAN_EARLY_REGEX "regex="

#define WORDS_MAX 511              /* words of a command line; a line of a plan file has two more */

struct plan_options {                   /* strings are borrowed, also by the plan */
	const char *model;
	int layers;                     /* number of layers */
	enum cut cut;
	int chat;                       /* 1: answer questions; 0: complete text */
	const char *template;           /* chat template file, or NULL: the model's */
	const char *thinking;           /* "on", "off", or NULL: the template's default */
	int quiet;                      /* 1: print answers without the reasoning */
	int threads;                    /* per stage; 0: its default */
	const char *precision; /* --precision of stages that multiply, or NULL: their environment */
	int huge_pages;                 /* 1: --huge-pages of stages that multiply */
	const char *cache_type;         /* --cache-type of stages with caches, or NULL */
	const char *device;        /* -d of stages that can use a GPU, or NULL: their environment */
	const char *batches;            /* --batches of ds-embed, or NULL */
	const char *draft;              /* --by of ds-draft, or NULL: there are no drafts */
	int verbose;                    /* 1: programs report what they did */
	int greedy;
	const char *sampling[SAMPLING_OPTIONS];         /* option values, NULL: not given */
	const char *loop_in;            /* where ds-embed reads the loop */
	/* of ds-sample, or of ds-draft after it: */
	const char *loop_out;           /* where it writes the loop; NULL: a tee after it does */
	const char *tally;              /* where it writes a copy, or NULL */
	int texts;                    /* standard input: NUL-terminated texts instead of one text */
	int lines;                      /* or one text per line */
	int messages;                   /* or conversations in JSON */
	int jsonl;                      /* or requests in JSON lines, answered by JSON lines: */
	const char *copy_out, *copy_in; /* where ds-tokenize writes its prompts a second time, and
					 * where ds-detokenize reads them */
	const char *early;              /* paths of decided questions are stopped: how ds-vote
					 * compares answers: text, number, boxed, or a regular
					 * expression after PLAN_EARLY_REGEX. NULL: they go on */
	const char *votes_out, *votes_in;       /* as copy_out and copy_in, for ds-vote */
	int ordered;                    /* answers in the order of the requests */
	int logprobs;                   /* with the log probabilities of their tokens */
	int prompt_ids;                 /* with the ids of their prompts */
	const char *out;                /* the file of answers, or NULL: standard output */
	int resume;                     /* answers that it has are not computed again */
	const char *samples;            /* answers to each prompt, or NULL: one */
	const char *cache_size, *cache_dir;     /* of ds-embed, or NULL */
	int asks;                       /* 1: answers end in NUL, not newline */
	const char *keep;               /* folder to which all streams are copied, or NULL */
	int dim;                        /* 1: dim the reasoning although the output is a pipe */
};

struct command {
	const char *words[WORDS_MAX];   /* the command line, ended by NULL */
	int nwords;
	int layer;                      /* -1: none */
	char number[16];                /* memory of the layer argument */
	char label[48];                 /* name in messages: "ds-attn -l 3" */
	char *keep;                  /* memory of an -o argument, the file of its frames, or NULL */
};

struct plan {
	struct command *commands;             /* [n] */
	int n;
	char threads[16];
};

/* Make a plan. Returns 0, or -1 and a message; call plan_free in either case. */
int plan_make(struct plan *p, const struct plan_options *o);
void plan_free(struct plan *p);

/* A --cache-size for the caches of a model of n layers, which processes of this host share: half of
 * the memory that is free now.  The text is valid until the next call. */
const char *plan_cache_size(enum cut cut, int n);

/* Append an option and its value, which are borrowed. */
void command_option(struct command *p, const char *letter, const char *value);

#endif
