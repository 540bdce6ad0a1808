#include "learning/records_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/lines.h"
#include "base/table.h"

#define LINE_MAX_BYTES ((size_t)256 << 20)

/* The records of one id, while a file is read. */
struct group {
	struct buf id;
	size_t first, last;             /* records, linked by `next` of the reader */
	size_t n;
};

struct reader {
	struct records_file *f;
	int policy;
	struct table ids;               /* -> struct group */
	struct group **groups;          /* [n] in order of appearance */
	size_t n, cap;
	size_t *next, next_cap;         /* [f->n] the next record of the group */
};

/* Add record i to the group of the line's id. */
static int
join_group(struct reader *a, const cJSON *line, const char *text, size_t i)
{
	struct buf id = {0};
	struct group *g;
	int r = json_name(line, text, "id", &id);

	if (r <= 0) {
		buf_free(&id);
		return r < 0 ? -1 : fail(FAIL_DATA, "id is missing");
	}
	g = table_get(&a->ids, id.p, id.n);
	if (g) {
		a->next[g->last] = i;
		g->last = i;
		g->n++;
		buf_free(&id);
		return 0;
	}
	if (!(g = mem_new(1, sizeof(*g))) ||
	    mem_grow(&a->groups, &a->cap, a->n + 1, sizeof(*a->groups)) < 0) {
		free(g);
		buf_free(&id);
		return -1;
	}
	*g = (struct group){.id = id, .first = i, .last = i, .n = 1};
	a->groups[a->n++] = g;
	return table_put(&a->ids, g->id.p, g->id.n, g);
}

/* What every record must have.  */
static int
check(const struct records_file *f, const struct learn_record *r)
{
	uint32_t rows = learn_record_rows(r), most = (uint32_t)f->model->config.max_position;

	if (rows == 0)
		return fail(FAIL_DATA, "no token has a weight, or it has no prompt");
	return rows <= most ? 0 :
	    fail(FAIL_DATA, "%u tokens, the model has %u positions", rows, most);
}

static int
add_line(struct reader *a, const char *text, size_t n, uint64_t number)
{
	struct records_file *f = a->f;
	cJSON *line;
	int r;

	if (mem_grow(&f->p, &f->cap, f->n + 1, sizeof(*f->p)) < 0 ||
	    mem_grow(&a->next, &a->next_cap, f->n + 1, sizeof(*a->next)) < 0 ||
	    !(line = json_parse(text, n)))
		return -1;
	f->p[f->n] = (struct learn_record){0};
	r = !cJSON_IsObject(line) ? fail(FAIL_DATA, "not a JSON object") :
	    cJSON_GetObjectItemCaseSensitive(line, "error") ?
	    fail(FAIL_DATA, "it has an error, not an answer: leave it out") :
	    (a->policy ? records_policy : records_sft)(f, line, &f->p[f->n]);
	f->p[f->n++].line = number;
	if (r == 0)
		r = check(f, &f->p[f->n - 1]);
	if (r == 0 && a->policy)
		r = join_group(a, line, text, f->n - 1);
	cJSON_Delete(line);
	return r;
}

static int
read_lines(struct reader *a, const char *path)
{
	struct lines l;
	char *line;
	size_t n;
	int r;

	if (lines_open(&l, path, LINE_MAX_BYTES) < 0)
		return -1;
	while ((r = lines_next(&l, 1, &line, &n)) == LINES_LINE) {
		a->f->hash = hash_bytes(line, n + 1, a->f->hash);
		if (strspn(line, " \t\r") == n)
			continue;
		if (add_line(a, line, n, l.number) < 0) {
			r = -1;
			fail_in("%s: line %llu", l.name, (unsigned long long)l.number);
			break;
		}
	}
	if (r == LINES_LONG)
		fail_in("%s: line %llu", l.name, (unsigned long long)l.number);
	lines_close(&l);
	if (r == LINES_END && a->f->n == 0)
		return fail(FAIL_DATA, "%s: no records", path);
	return r == LINES_END ? 0 : -1;
}

/* Each record is a group of its own. */
static int
number_groups(struct records_file *f)
{
	if (!(f->groups = mem_new(f->n + 1, sizeof(*f->groups))))
		return -1;
	for (size_t i = 0; i <= f->n; i++)
		f->groups[i] = i;
	f->ngroups = f->n;
	return 0;
}

/* Sort the records by group and set their advantages. */
static int
sort_groups(struct reader *a, enum advantage how)
{
	struct records_file *f = a->f;
	struct learn_record *sorted = mem_new(f->n, sizeof(*sorted));
	struct batch b = {0};
	size_t at = 0;
	int r = 0;

	f->groups = mem_new(a->n + 1, sizeof(*f->groups));
	if (!sorted || !f->groups) {
		free(sorted);
		return -1;
	}
	for (size_t g = 0; g < a->n; g++) {
		size_t i = a->groups[g]->first;

		f->groups[g] = at;
		b.n = 0;
		for (size_t k = 0; k < a->groups[g]->n; k++, i = a->next[i], at++) {
			sorted[at] = f->p[i];
			r |= batch_add(&b, &sorted[at]);
		}
		if (r == 0)
			learn_record_advantages(b.p, b.n, how);
	}
	f->groups[a->n] = at;
	f->ngroups = a->n;
	batch_free(&b);
	free(f->p);
	f->p = sorted;
	return r;
}

int
records_open(struct records_file *f, const struct model *m, const char *path, int policy,
    enum advantage how)
{
	struct reader a = {.f = f, .policy = policy};
	int r;

	*f = (struct records_file){.model = m,
	    .prompt = {.model = m->weights.dir, .thinking = -1, .chat = 1}};
	r = read_lines(&a, path);
	if (r == 0)
		r = policy ? sort_groups(&a, how) : number_groups(f);
	for (size_t i = 0; i < a.n; i++) {
		buf_free(&a.groups[i]->id);
		free(a.groups[i]);
	}
	free(a.groups);
	free(a.next);
	table_free(&a.ids);
	if (f->prompt.t)
		tokenizer_close(f->prompt.t);
	prompt_close(&f->prompt);
	f->prompt = (struct prompt){0};
	return r;
}

void
records_close(struct records_file *f)
{
	for (size_t i = 0; i < f->n; i++)
		learn_record_free(&f->p[i]);
	free(f->p);
	free(f->groups);
	*f = (struct records_file){0};
}
