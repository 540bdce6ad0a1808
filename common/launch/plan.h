/*
 * The programs of a pipeline, in order, with their command lines.  A plan is
 * made once and either started (run.h) or shown as a shell script (script.h).
 */
#ifndef DS_PLAN_H
#define DS_PLAN_H

enum cut {
	CUT_FUSED,      /* one ds-block for all layers */
	CUT_LAYER,      /* a ds-block per layer */
	CUT_STAGE       /* ds-attn, ds-route and ds-expert per layer */
};

#define SAMPLING_OPTIONS "TkpSn"       /* letters of ds-sample that take a value */
#define WORDS_MAX 511                   /* of a program and its end: a line of a plan has two more */

struct plan_options {                   /* all strings are borrowed, also by the plan */
	const char *model;
	int layers;                     /* of the model */
	enum cut cut;
	int chat;                       /* questions and answers; 0: text is completed */
	const char *template;           /* file of a chat template, or NULL: the model's */
	const char *thinking;           /* "on", "off", or NULL: as the template does */
	int quiet;                      /* the answer without the thought */
	int threads;                    /* of each stage; 0: as many as it chooses */
	const char *precision;          /* value of --precision of all that multiply, or NULL: of their environment */
	const char *device;             /* value of -d of all that can compute on a GPU, or NULL: of their environment */
	const char *batches;            /* value of ds-embed's --batches, or NULL */
	int verbose;                    /* each program says what it did */
	int greedy;
	const char *sampling[sizeof(SAMPLING_OPTIONS) - 1];     /* values of the options, NULL: not given */
	const char *loop_in;            /* where ds-embed finds the loop */
	const char *loop_out;           /* where ds-sample sends it; NULL: a tee behind it does */
	const char *tally;              /* where ds-sample sends a copy, or NULL */
	int texts;                      /* standard input is NUL-terminated texts, not one text */
	int lines;                      /* or it is lines, each a text */
	int messages;                   /* or it is conversations in JSON */
	int asks;                       /* answers end in NUL, not newline */
	const char *keep;               /* folder where every stream is kept as well, or NULL */
	int dim;                        /* the thought is dimmed, although text goes to a pipe */
};

struct command {
	const char *words[WORDS_MAX];   /* its command line, NULL behind the last */
	int nwords;
	int layer;                      /* -1: none */
	char number[16];                /* memory of a word */
	char label[48];                 /* how messages call it: "ds-attn -l 3" */
	char *keep;                     /* memory of a word: where its frames are kept, or NULL */
};

struct plan {
	struct command *commands;             /* [n] */
	int n;
	char threads[16];
};

/* 0, or -1 and a message. */
int plan_make(struct plan *p, const struct plan_options *o);
void plan_free(struct plan *p);

/* Two words more. */
void command_option(struct command *p, const char *letter, const char *value);

#endif
