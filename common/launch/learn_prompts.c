#include "launch/learn_prompts.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/lines.h"

/* Set the ids of the request's prompt. */
static int
encode(struct learn_prompts *a, const struct request *q)
{
	struct prompt *p = &a->tokens;

	if (q->prompt)
		return prompt_text(p, q->prompt, strlen(q->prompt));
	if (q->conversation)
		return prompt_conversation(p, q->conversation, strlen(q->conversation));
	if (mem_grow(&p->ids, &p->cap, q->nids, sizeof(*p->ids)) < 0)
		return -1;
	p->n = q->nids;
	if (q->nids > 0)
		memcpy(p->ids, q->ids, q->nids * sizeof(*p->ids));
	return 0;
}

static int
check(const struct learn_prompts *a, const struct request *q)
{
	if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(q->json, "logprobs")))
		return fail(FAIL_DATA, "logprobs is false, and learning needs them");
	if (a->tokens.n == 0)
		return fail(FAIL_DATA, "the prompt is empty");
	return a->tokens.n < a->most ? 0 :
	    fail(FAIL_DATA, "the prompt has %zu tokens, the model has %u positions", a->tokens.n,
	    a->most);
}

int
learn_prompts_get(struct learn_prompts *a, size_t i, struct request *q)
{
	const struct learn_prompt *p = &a->p[i];

	*q = (struct request){0};
	if (request_parse(q, p->text, p->n, p->number - 1, &a->given, a->tokens.t) == 0 &&
	    encode(a, q) == 0 && check(a, q) == 0)
		return 0;
	request_free(q);
	return fail_in("%s: line %llu", a->path, (unsigned long long)p->number);
}

/* Answers and rewards are matched by the id. */
static int
add_id(struct learn_prompts *a, struct learn_prompt *p, struct request *q)
{
	uintptr_t other = (uintptr_t)table_get(&a->ids, q->id, strlen(q->id));

	if (other)
		return fail(FAIL_DATA, "%s: line %llu: id %s is that of line %llu", a->path,
		    (unsigned long long)p->number, q->id, (unsigned long long)other);
	p->id = q->id;
	q->id = NULL;
	return table_put(&a->ids, p->id, strlen(p->id), (void *)(uintptr_t)p->number);
}

static int
add_line(struct learn_prompts *a, const char *text, size_t n, uint64_t number)
{
	struct learn_prompt *p;
	struct request q;
	int r;

	if (mem_grow(&a->p, &a->cap, a->n + 1, sizeof(*a->p)) < 0)
		return -1;
	p = &a->p[a->n];
	*p = (struct learn_prompt){.text = mem_new(n + 1, 1), .n = n, .number = number};
	if (!p->text)
		return -1;
	memcpy(p->text, text, n);
	a->n++;
	if (learn_prompts_get(a, a->n - 1, &q) < 0)
		return -1;
	r = add_id(a, p, &q);
	request_free(&q);
	return r;
}

static int
read_lines(struct learn_prompts *a)
{
	struct lines l;
	char *line;
	size_t n;
	int r;

	if (lines_open(&l, a->path, REQUEST_LINE_MAX) < 0)
		return -1;
	while ((r = lines_next(&l, 1, &line, &n)) == LINES_LINE) {
		a->hash = hash_bytes(line, n + 1, a->hash);
		if (strspn(line, " \t\r") < n && add_line(a, line, n, l.number) < 0) {
			lines_close(&l);
			return -1;
		}
	}
	if (r == LINES_LONG)
		fail_in("%s: line %llu", a->path, (unsigned long long)l.number);
	lines_close(&l);
	if (r == LINES_END && a->n == 0)
		return fail(FAIL_DATA, "%s: no prompts", a->path);
	return r == LINES_END ? 0 : -1;
}

int
learn_prompts_open(struct learn_prompts *a, const char *path, const char *model, uint32_t most,
    const struct request_defaults *given)
{
	*a = (struct learn_prompts){.path = path, .given = *given, .most = most,
	    .tokens = {.model = model, .thinking = -1, .chat = 1}};
	if (!(a->tokens.t = tokenizer_open(model)))
		return -1;
	return read_lines(a);
}

void
learn_prompts_close(struct learn_prompts *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free(a->p[i].text);
		free(a->p[i].id);
	}
	free(a->p);
	table_free(&a->ids);
	if (a->tokens.t)
		tokenizer_close(a->tokens.t);
	prompt_close(&a->tokens);
	*a = (struct learn_prompts){0};
}
