/*
 * One line of a file of records.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "learning/records_file.h"

#define WEIGHT_MAX 1e6
#define REWARD_MAX 1e9

static int
has(const cJSON *line, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(line, key);

	return v && !cJSON_IsNull(v);
}

/* The array under a key, and its length.  1, 0 without one, or -1 and a message. */
static int
get_list(const cJSON *line, const char *key, enum json_presence presence, const cJSON **list,
    uint32_t *n)
{
	int r = json_array(line, key, presence, list), size;

	*n = 0;
	if (r <= 0)
		return r;
	size = cJSON_GetArraySize(*list);
	if (size <= 0)
		return fail(FAIL_DATA, "%s is empty", key);
	*n = (uint32_t)size;
	return 1;
}

/* "KEY[i] is VALUE, WHY" */
static int
refuse(const char *key, uint32_t i, const cJSON *v, const char *why)
{
	if (cJSON_IsNumber(v))
		return fail(FAIL_DATA, "%s[%u] is %.17g, %s", key, i, v->valuedouble, why);
	return fail(FAIL_DATA, "%s[%u] is %s, %s", key, i,
	    cJSON_IsNull(v) ? "null" : "not a number", why);
}

static int
copy_ids(const struct records_file *f, const cJSON *list, const char *key, int32_t *to)
{
	int vocab = f->model->config.vocab_size;
	const cJSON *v;
	uint32_t i = 0;
	char why[80];

	cJSON_ArrayForEach(v, list) {
		uint64_t id;

		if (json_whole(v, (uint64_t)vocab - 1, &id) < 0) {
			snprintf(why, sizeof(why), "must be a token of the model, 0 to %d",
			    vocab - 1);
			return refuse(key, i, v, why);
		}
		to[i++] = (int32_t)id;
	}
	return 0;
}

static int
copy_numbers(const cJSON *list, const char *key, double min, double max, float *to)
{
	const cJSON *v;
	uint32_t i = 0;
	char why[80];

	cJSON_ArrayForEach(v, list) {
		if (!cJSON_IsNumber(v) || !(v->valuedouble >= min && v->valuedouble <= max)) {
			snprintf(why, sizeof(why), "must be a number from %g to %g", min, max);
			return refuse(key, i, v, why);
		}
		to[i++] = (float)v->valuedouble;
	}
	return 0;
}

/* Make the record of an answer's tokens, with weight 1 on those after the prompt. */
static int
new_answer(struct learn_record *r, uint32_t prompt, uint32_t answer, int policy)
{
	if (learn_record_new(r, prompt + answer, policy) < 0)
		return -1;
	r->prompt = prompt;
	for (uint32_t i = 0; i < answer; i++)
		r->weight[prompt + i] = 1;
	return 0;
}

/* --- supervised --- */

static int
read_weighted(struct records_file *f, const cJSON *ids, uint32_t n, const cJSON *weights,
    uint32_t nweights, struct learn_record *r)
{
	if (n != nweights)
		return fail(FAIL_DATA, "weights has %u entries, ids has %u", nweights, n);
	if (learn_record_new(r, n, 0) < 0 || copy_ids(f, ids, "ids", r->ids) < 0 ||
	    copy_numbers(weights, "weights", 0, WEIGHT_MAX, r->weight) < 0)
		return -1;
	if (r->weight[0] != 0)
		return fail(FAIL_DATA, "weights[0] is %g, must be 0: nothing precedes ids[0]",
		    (double)r->weight[0]);
	return 0;
}

/* Prompt and answer by their ids. */
static int
read_answer(struct records_file *f, const cJSON *line, const cJSON *ids, uint32_t n,
    struct learn_record *r, int policy)
{
	const cJSON *prompt = NULL;
	uint32_t np;

	if (get_list(line, "prompt_ids", JSON_REQUIRED, &prompt, &np) < 0)
		return -1;
	return new_answer(r, np, n, policy) < 0 || copy_ids(f, prompt, "prompt_ids", r->ids) < 0 ||
	    copy_ids(f, ids, "ids", r->ids + np) < 0 ? -1 : 0;
}

/* The token that ends an answer, or -1 and a message. */
static int64_t
end_token(const struct records_file *f)
{
	const struct generation *g = &f->model->config.generation;
	int64_t id = f->prompt.template.eos ?
	    tokenizer_id(f->prompt.t, f->prompt.template.eos) : -1;

	if (id < 0 && g->neos > 0)
		id = g->eos[0];
	if (id >= 0)
		return id;
	return fail(FAIL_DATA, "the model has no end of sequence: give ids and weights");
}

/* Prompt and answer as text. */
static int
read_text(struct records_file *f, const cJSON *line, struct learn_record *r)
{
	struct prompt *p = &f->prompt;
	const char *prompt = NULL, *answer = NULL;
	int32_t *ids = NULL;
	size_t n = 0, cap = 0;
	int64_t end = 0;
	int s;

	if (json_string(line, "prompt", JSON_REQUIRED, &prompt) < 0 ||
	    json_string(line, "answer", JSON_REQUIRED, &answer) < 0)
		return -1;
	if (!p->t && !(p->t = tokenizer_open(p->model)))
		return -1;
	if (prompt_text(p, prompt, strlen(prompt)) < 0 || (end = end_token(f)) < 0)
		return -1;
	s = tokenizer_encode(p->t, answer, strlen(answer), &ids, &n, &cap);
	if (s == 0)
		s = new_answer(r, (uint32_t)p->n, (uint32_t)n + 1, 0);
	if (s == 0) {
		memcpy(r->ids, p->ids, p->n * sizeof(*ids));
		if (n > 0)
			memcpy(r->ids + p->n, ids, n * sizeof(*ids));
		r->ids[p->n + n] = (int32_t)end;
	}
	free(ids);
	return s;
}

int
records_sft(struct records_file *f, const cJSON *line, struct learn_record *r)
{
	const cJSON *ids = NULL, *weights = NULL;
	uint32_t n, nweights;
	int listed = get_list(line, "ids", JSON_OPTIONAL, &ids, &n);
	int weighted = get_list(line, "weights", JSON_OPTIONAL, &weights, &nweights);

	if (listed < 0 || weighted < 0)
		return -1;
	if (listed && weighted)
		return read_weighted(f, ids, n, weights, nweights, r);
	if (listed && has(line, "prompt_ids"))
		return read_answer(f, line, ids, n, r, 0);
	if (has(line, "prompt"))
		return read_text(f, line, r);
	return fail(FAIL_DATA, "give ids and weights, prompt_ids and ids, or prompt and answer");
}

/* --- policy gradients --- */

/* The number of tokens before the answer, as the line has it.  1, 0 without one, or -1. */
static int
prompt_length(const cJSON *line, uint32_t n, uint32_t *prompt)
{
	const cJSON *usage = NULL;
	int k = 0, r = json_int(line, "prompt_tokens", JSON_OPTIONAL, 1, INT32_MAX, &k);

	if (r == 0 && (r = json_object(line, "usage", JSON_OPTIONAL, &usage)) > 0)
		r = json_int(usage, "prompt_tokens", JSON_OPTIONAL, 1, INT32_MAX, &k);
	*prompt = (uint32_t)k;
	if (r > 0 && *prompt >= n)
		return fail(FAIL_DATA, "prompt_tokens is %u, ids has %u: no answer", *prompt, n);
	return r;
}

/* All tokens in `ids`, nlogprobs of them the answer's. */
static int
read_whole(struct records_file *f, const cJSON *line, const cJSON *ids, uint32_t n,
    uint32_t nlogprobs, struct learn_record *r)
{
	uint32_t prompt;
	int known;

	if (n == nlogprobs)
		return fail(FAIL_DATA, "prompt_ids is missing (ds-run --prompt-ids writes it)");
	if ((known = prompt_length(line, n, &prompt)) < 0)
		return -1;
	if (known == 0)
		return fail(FAIL_DATA, "prompt_ids or prompt_tokens is missing");
	return new_answer(r, prompt, n - prompt, 1) < 0 || copy_ids(f, ids, "ids", r->ids) < 0 ?
	    -1 : 0;
}

static int
check_model(const struct records_file *f, const cJSON *line)
{
	const char *id = NULL;

	if (json_string(line, "model", JSON_OPTIONAL, &id) < 0)
		return -1;
	return !id || strcmp(id, f->model->weights.id) == 0 ? 0 :
	    fail(FAIL_DATA, "model is '%.40s', this one is %s", id, f->model->weights.id);
}

int
records_policy(struct records_file *f, const cJSON *line, struct learn_record *r)
{
	const cJSON *ids = NULL, *logprobs = NULL;
	uint32_t n, nlogprobs;

	if (check_model(f, line) < 0 || get_list(line, "ids", JSON_REQUIRED, &ids, &n) < 0 ||
	    get_list(line, "logprobs", JSON_REQUIRED, &logprobs, &nlogprobs) < 0)
		return -1;
	if ((has(line, "prompt_ids") ? read_answer(f, line, ids, n, r, 1) :
	    read_whole(f, line, ids, n, nlogprobs, r)) < 0)
		return -1;
	if (nlogprobs != r->n - r->prompt)
		return fail(FAIL_DATA, "logprobs has %u entries, the answer has %u tokens",
		    nlogprobs, r->n - r->prompt);
	if (copy_numbers(logprobs, "logprobs", -1e30, 0, r->old + r->prompt) < 0 ||
	    json_number(line, "reward", JSON_REQUIRED, -REWARD_MAX, REWARD_MAX, &r->reward) < 0)
		return -1;
	return 0;
}
