#include <string.h>

#include "base/fail.h"
#include "inspect/grade/grade_internal.h"

const char *
rule_name(enum rule r)
{
	static const char *const names[RULES] = {"expect", "format", "length", "command"};

	return names[r];
}

/* 1 if the answer is the expected one. */
static int
rule_expect(const struct grade *g, const struct answer *a, const struct grade_line *x,
    const struct with_line *with, double *value)
{
	struct buf want = {0}, got = {0};
	int r = 1;

	*value = 0;
	if (with && with->expected)
		r = buf_add(&want, with->expected, strlen(with->expected)) < 0 ? -1 : 1;
	else if (with)
		r = 0;
	else
		r = with_expected(a->json, x->text, g->expect, &g->extract, &want);
	if (r == 0)
		r = fail(FAIL_DATA, "%s has nothing to compare", g->expect);
	if (r > 0 && a->finished && a->text) {
		r = extract_answer(&g->extract, a->text, &got);
		*value = r > 0 && got.n == want.n && memcmp(got.p, want.p, got.n) == 0;
	}
	buf_free(&want);
	buf_free(&got);
	return r < 0 ? -1 : 0;
}

/* 1 if the text is <think>, reasoning, </think> and an answer. The prompt may end in <think>. */
static int
rule_format(const struct answer *a, double *value)
{
	static const char begin[] = "<think>", end[] = "</think>", space[] = " \t\r\n";
	const char *s = NULL, *close;

	if (json_string(a->json, "text", JSON_REQUIRED, &s) < 0)
		return -1;
	s += strspn(s, space);
	s += strncmp(s, begin, strlen(begin)) == 0 ? strlen(begin) : 0;
	close = strstr(s, end);
	*value = a->finished && close && !strstr(s, begin) && !strstr(close + 1, end) &&
	    close[strlen(end) + strspn(close + strlen(end), space)];
	return 0;
}

/* 1 if it has at most so many tokens. */
static int
rule_length(const struct grade *g, const struct answer *a, double *value)
{
	const cJSON *usage = NULL, *ids = NULL;
	double n = -1;

	if (json_object(a->json, "usage", JSON_OPTIONAL, &usage) < 0 ||
	    (usage && json_number(usage, "completion_tokens", JSON_OPTIONAL, 0, 1e15, &n) < 0))
		return -1;
	if (n < 0 && json_array(a->json, "ids", JSON_OPTIONAL, &ids) < 0)
		return -1;
	if (n < 0 && !ids)
		return fail(FAIL_DATA, "usage and ids are missing");
	*value = (n < 0 ? cJSON_GetArraySize(ids) : n) <= (double)g->length;
	return 0;
}

int
grade_rules(const struct grade *g, struct grade_line *x, const struct answer *a)
{
	const struct with_line *with = NULL;

	if (g->with) {
		if (!(with = table_get(&g->joined.lines, a->id.p, a->id.n)))
			return fail(FAIL_DATA, "'%s' has no id %.*s", g->with,
			    (int)(a->id.n < 200 ? a->id.n : 200), (const char *)a->id.p);
		x->with = with->text;
	}
	for (int i = 0; i < g->nrules; i++) {
		enum rule r = g->rules[i];

		if ((r == RULE_EXPECT && rule_expect(g, a, x, with, &x->values[r]) < 0) ||
		    (r == RULE_FORMAT && rule_format(a, &x->values[r]) < 0) ||
		    (r == RULE_LENGTH && rule_length(g, a, &x->values[r]) < 0))
			return -1;
	}
	return 0;
}

/* Append the keys that are added. */
static int
add_keys(struct grade *g, const struct grade_line *x)
{
	double sum = 0;
	int r;

	if (x->error) {
		g->failed++;
		r = buf_addf(&g->out, ", \"reward\": null, \"reward_error\": ");
		return r < 0 ? -1 : json_quote(&g->out, x->error, strlen(x->error));
	}
	for (int i = 0; i < g->nrules; i++)
		sum += g->weights[i] * x->values[g->rules[i]];
	g->sum += sum;
	r = buf_addf(&g->out, ", \"reward\": %.12g", sum);
	for (int i = 0; i < g->nrules && g->nrules > 1 && r == 0; i++)
		r = buf_addf(&g->out, "%s\"%s\": %.12g", i == 0 ? ", \"rewards\": {" : ", ",
		    rule_name(g->rules[i]), x->values[g->rules[i]]);
	return r == 0 && g->nrules > 1 ? buf_addc(&g->out, '}') : r;
}

int
grade_print(struct grade *g, const struct grade_line *x)
{
	size_t n = x->n;

	while (x->text[n - 1] != '}')
		n--;
	g->lines++;
	if (buf_add(&g->out, x->text, n - 1) < 0 || add_keys(g, x) < 0)
		return -1;
	return buf_addf(&g->out, "}\n");
}
