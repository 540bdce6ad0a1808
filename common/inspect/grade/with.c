#include "inspect/grade/with.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/answer.h"

int
with_expected(const cJSON *o, const char *line, const char *key, const struct extract *e,
    struct buf *to)
{
	const cJSON *v = NULL;
	struct buf text = {0};
	const char *raw;
	size_t n = 0;
	int r;

	if (json_get(o, key, JSON_REQUIRED, &v) < 0)
		return -1;
	if (cJSON_IsString(v))
		r = buf_add(&text, v->valuestring, strlen(v->valuestring));
	else if (!cJSON_IsArray(v) && !cJSON_IsObject(v) && (raw = json_raw(line, key, &n)))
		r = buf_add(&text, raw, n);
	else
		r = fail(FAIL_DATA, "%s must be a string, a number or a boolean", key);
	if (r == 0)
		r = buf_addc(&text, 0);
	if (r == 0)
		r = extract_expected(e, (const char *)text.p, to);
	buf_free(&text);
	return r;
}

static char *
copy(const void *p, size_t n)
{
	char *to = mem_new(n + 1, 1);

	return to ? memcpy(to, p, n) : NULL;
}

/* Add a line that was parsed. */
static int
with_add(struct with *w, const cJSON *o, const struct lines *l, const char *line, size_t n,
    const char *expect, int keep, const struct extract *e)
{
	struct with_line *x = mem_new(1, sizeof(*x));
	struct buf b = {0};
	size_t id;
	int r;

	if (!x)
		return -1;
	x->next = w->all;
	w->all = x;
	r = json_name(o, line, "id", &b);
	if (r == 0)
		r = buf_addf(&b, "%llu", (unsigned long long)l->number - 1);
	id = b.n;
	if (r < 0 || !(x->id = copy(b.p, id)) || (keep && !(x->text = copy(line, n))))
		r = -1;
	else if (table_get(&w->lines, x->id, id))
		r = fail(FAIL_DATA, "id %.200s appears twice", x->id);
	else
		r = table_put(&w->lines, x->id, id, x);
	b.n = 0;
	if (r == 0 && expect && (r = with_expected(o, line, expect, e, &b)) > 0)
		r = (x->expected = copy(b.p, b.n)) ? 0 : -1;
	buf_free(&b);
	return r;
}

int
with_open(struct with *w, const char *path, const char *expect, int keep, const struct extract *e)
{
	struct lines l;
	char *line;
	size_t n;
	int r, status = lines_open(&l, path, ANSWER_LINE_MAX);

	while (status == 0 && (r = lines_next(&l, 1, &line, &n)) != LINES_END) {
		cJSON *o = NULL;

		if (r == LINES_LINE && answer_blank(line, n))
			continue;
		if (r != LINES_LINE || !(o = json_parse(line, n)) ||
		    with_add(w, o, &l, line, n, expect, keep, e) < 0)
			status = fail_in("%s: line %llu", l.name, (unsigned long long)l.number);
		cJSON_Delete(o);
	}
	lines_close(&l);
	return status;
}

void
with_free(struct with *w)
{
	for (struct with_line *x = w->all, *next; x; x = next) {
		next = x->next;
		free(x->id);
		free(x->text);
		free(x->expected);
		free(x);
	}
	table_free(&w->lines);
}
