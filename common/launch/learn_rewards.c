#include "launch/learn_rewards.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

int
learn_rewards_start(struct learn_rewards *a)
{
	learn_rewards_drop(a);
	return grader_start(&a->grader, a->command);
}

void
learn_rewards_drop(struct learn_rewards *a)
{
	grader_drop(&a->grader);
	for (size_t i = 0; i < a->n; i++) {
		free(a->p[i]->key);
		free(a->p[i]->line);
		free(a->p[i]);
	}
	free(a->p);
	table_free(&a->keys);
	*a = (struct learn_rewards){.command = a->command, .grader = {.in = -1, .out = -1}};
}

int
learn_rewards_expect(struct learn_rewards *a, const char *id, int index)
{
	struct learn_answer *w = mem_new(1, sizeof(*w));

	if (!w || mem_grow(&a->p, &a->cap, a->n + 1, sizeof(*a->p)) < 0 ||
	    asprintf(&w->key, "id %s, index %d", id, index) < 0) {
		free(w);
		return fail(FAIL_SYSTEM, "no memory for an answer");
	}
	w->reward = NAN;
	a->p[a->n++] = w;
	return table_put(&a->keys, w->key, strlen(w->key), w);
}

/* The answer that a line is about; NULL and a message. */
static struct learn_answer *
find(const struct learn_rewards *a, const cJSON *o, const char *line)
{
	struct learn_answer *w;
	struct buf key = {0};
	int index = 0, r;

	if (!cJSON_IsObject(o)) {
		fail(FAIL_DATA, "not a JSON object");
		return NULL;
	}
	r = buf_addf(&key, "id ") < 0 ? -1 : json_name(o, line, "id", &key);
	if (r == 0)
		fail(FAIL_DATA, "id is missing");
	if (r <= 0 || json_int(o, "index", JSON_REQUIRED, 0, INT32_MAX, &index) < 0 ||
	    buf_addf(&key, ", index %d", index) < 0) {
		buf_free(&key);
		return NULL;
	}
	if (!(w = table_get(&a->keys, key.p, key.n)))
		fail(FAIL_DATA, "no answer of this step is %.*s", (int)key.n, (char *)key.p);
	buf_free(&key);
	return w;
}

/* Call fn with each of the lines in n bytes; a last one need not end in a newline. */
static int
each_line(struct learn_rewards *a, const char *lines, size_t n,
    int (*fn)(struct learn_rewards *, const cJSON *, char *, size_t))
{
	uint64_t number = 0;
	int r = 0;

	while (n > 0 && r == 0) {
		const char *end = memchr(lines, '\n', n);
		size_t len = end ? (size_t)(end - lines) : n;
		char *line = strndup(lines, len);
		cJSON *o = NULL;

		number++;
		if (!line)
			return fail(FAIL_SYSTEM, "no memory for a line");
		if (strspn(line, " \t\r") < len) {
			r = (o = json_parse(line, len)) ? fn(a, o, line, len) : -1;
			if (r < 0)
				fail_in("line %llu", (unsigned long long)number);
		}
		cJSON_Delete(o);
		free(line);
		n -= end ? len + 1 : len;
		lines += end ? len + 1 : len;
	}
	return r;
}

static int
add_answer(struct learn_rewards *a, const cJSON *o, char *line, size_t n)
{
	struct learn_answer *w = find(a, o, line);

	if (!w)
		return -1;
	if (w->line)
		return fail(FAIL_DATA, "%s: it was answered twice", w->key);
	if (!(w->line = strndup(line, n)))
		return fail(FAIL_SYSTEM, "no memory for an answer");
	w->n = n;
	a->sampled++;
	return 0;
}

/* NULs in texts become U+FFFD, as readers of lines refuse them: graders, and json_parse. */
static void
replace_nuls(char *p, size_t n)
{
	for (char *end = p + n; p < end; p++) {
		if (*p != '\\')
			continue;
		p++;
		if (end - p >= 5 && memcmp(p, "u0000", 5) == 0)
			memcpy(p, "ufffd", 5);
	}
}

int
learn_rewards_add(struct learn_rewards *a, char *lines, size_t n)
{
	replace_nuls(lines, n);
	return each_line(a, lines, n, add_answer) < 0 ? -1 : grader_send(&a->grader, lines, n);
}

static int
add_reward(struct learn_rewards *a, const cJSON *o, char *line, size_t n)
{
	struct learn_answer *w = find(a, o, line);
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, "reward");

	(void)n;
	if (!w)
		return -1;
	if (json_unique(o) < 0)
		return fail_in("%s", w->key);
	if (!isnan(w->reward))
		return fail(FAIL_DATA, "%s: it has a second reward", w->key);
	if (!v || cJSON_IsNull(v))
		return fail(FAIL_DATA, "%s: its reward is %s", w->key, v ? "null" : "missing");
	if (!cJSON_IsNumber(v) || !isfinite(v->valuedouble))
		return fail(FAIL_DATA, "%s: its reward is not a number", w->key);
	w->reward = v->valuedouble;
	return 0;
}

int
learn_rewards_finish(struct learn_rewards *a, int signals)
{
	struct grader *g = &a->grader;
	int status = 0, r = grader_finish(g, signals, &status);
	char how[64];

	if (r != 0)
		return r;
	snprintf(how, sizeof(how), status < 0 ? "was killed by signal %d" : "ended with status %d",
	    abs(status));
	if (each_line(a, (const char *)g->got.p, g->got.n, add_reward) < 0) {
		fail_in("--grade: its output");
		return -1;
	}
	for (size_t i = 0; i < a->n; i++)
		if (isnan(a->p[i]->reward))
			return fail(FAIL_DATA, "--grade: it %s without a reward for %s", how,
			    a->p[i]->key);
	return status == 0 ? 0 : fail(FAIL_DATA, "--grade: it %s", how);
}
