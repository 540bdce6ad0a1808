#include "inspect/answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

/* The text after the reasoning. */
static int
read_text(struct answer *a)
{
	static const char end[] = "</think>";
	const char *s = NULL, *cut;
	int r = json_string(a->json, "answer", JSON_OPTIONAL, &a->text);

	if (r < 0 || cJSON_GetObjectItemCaseSensitive(a->json, "answer"))
		return r < 0 ? -1 : 0;
	if (json_string(a->json, "text", JSON_OPTIONAL, &s) < 0)
		return -1;
	if (!s)
		return a->finished ? fail(FAIL_DATA, "answer and text are missing") : 0;
	cut = strstr(s, end);
	a->text = cut ? cut + strlen(end) : s;
	return 0;
}

static int
read_logprobs(struct answer *a)
{
	const cJSON *list = NULL, *v;
	int r = json_array(a->json, "logprobs", JSON_OPTIONAL, &list);

	a->logprob = r > 0 ? 0 : -INFINITY;
	if (r <= 0)
		return r;
	cJSON_ArrayForEach(v, list) {
		if (!cJSON_IsNull(v) && (!cJSON_IsNumber(v) || !isfinite(v->valuedouble)))
			return fail(FAIL_DATA, "logprobs must be finite numbers");
		a->logprob += cJSON_IsNull(v) ? -INFINITY : v->valuedouble;
	}
	return 0;
}

int
answer_read(struct answer *a, const char *line, size_t n, const uint64_t *id)
{
	const char *reason = NULL;
	double index = -1;
	int r;

	*a = (struct answer){.index = -1};
	if (!(a->json = json_parse(line, n)))
		return -1;
	if (!cJSON_IsObject(a->json))
		return fail(FAIL_DATA, "not a JSON object");
	if ((r = json_name(a->json, line, "id", &a->id)) < 0)
		return -1;
	if (r == 0 && !id)
		return fail(FAIL_DATA, "id is missing");
	if (r == 0 && buf_addf(&a->id, "%llu", (unsigned long long)*id) < 0)
		return -1;
	if (json_number(a->json, "index", JSON_OPTIONAL, 0, 1e15, &index) < 0 ||
	    json_string(a->json, "finish_reason", JSON_OPTIONAL, &reason) < 0)
		return -1;
	if (index != floor(index))
		return fail(FAIL_DATA, "index is %g, must be an integer", index);
	a->index = (int64_t)index;
	a->finished = !reason || strcmp(reason, "stop") == 0;
	return read_text(a) < 0 ? -1 : read_logprobs(a);
}

void
answer_free(struct answer *a)
{
	cJSON_Delete(a->json);
	buf_free(&a->id);
	a->json = NULL;
}

int
answer_blank(const char *line, size_t n)
{
	return strspn(line, " \t\r") == n;
}

void
refused_line(struct refused *r, const struct lines *l)
{
	if (r->n++ == 0)
		warn("%s: line %llu: %s: left out", l->name, (unsigned long long)l->number,
		    fail_text());
}

int
refused_end(const struct refused *r)
{
	if (r->n > 1)
		warn("%llu lines were left out", (unsigned long long)r->n);
	return r->n > 0 ? FAIL_DATA : 0;
}
