/*
 * Requests: one line of JSON each, which becomes prompts of one or several sequences.  Their
 * entries of `seqs` carry the request to ds-sample and ds-detokenize.
 */
#ifndef DS_REQUEST_H
#define DS_REQUEST_H

#include "base/json.h"
#include "stage/sampling.h"
#include "token/token.h"

#define REQUEST_LINE_MAX (16u << 20)    /* bytes of a line */
#define REQUEST_PATHS_MAX 65536         /* n */
#define REQUEST_ID_MAX 1024             /* bytes of an id's JSON text */
#define REQUEST_STOPS_MAX 32            /* ids of `stop`, and strings */

/* For lines that leave them open.  */
struct request_defaults {
	uint64_t seed;
	int n;
	int logprobs;
	const struct sampling_options *sampling;        /* numbers; NULL: the sampler has them */
};

struct request {
	char *id;                       /* JSON text of a string or a number */
	uint64_t seed;
	int n;                          /* number of paths */
	const char *prompt;             /* a text, or NULL */
	char *conversation;             /* JSON, or NULL; with tools an object */
	int32_t *ids;                   /* [nids] if there is neither */
	size_t nids, cap;
	struct buf params;              /* msgpack: nparams pairs of sampling parameters */
	unsigned nparams;
	cJSON *json;
};

/*
 * Parse a line of n bytes; line[n] must be 0.  Without an id of its own, its id is `number`.  Ids
 * of tokens are looked up in t.  Returns 0, or -1 and a message (FAIL_DATA if the line is wrong);
 * q->id and q->seed are set in any case but FAIL_SYSTEM.  Free with request_free.
 */
int request_parse(struct request *q, const char *line, size_t n, uint64_t number,
    const struct request_defaults *d, const struct tokenizer *t);

/* The same for a line that could not be read: an id and a seed.  */
int request_name(struct request *q, uint64_t number, const struct request_defaults *d);
void request_free(struct request *q);

/* Append to `to` the entry of `seqs` of path `index`: a msgpack map.  0, or -1 and a message.  */
int request_entry(const struct request *q, int index, struct buf *to);

/* Only the value of its key `request`: id, index, n, seed.  */
int request_map(const struct request *q, int index, struct buf *to);

#endif
