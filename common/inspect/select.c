#include "inspect/select.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

static int
parse_stages(struct select *s, const char *text)
{
	for (const char *p = text; ; p++) {
		size_t n = strcspn(p, ",");
		enum at a = at_parse(p, n);

		if (a == AT_OTHER)
			return fail(FAIL_USAGE, "--at '%s': stages are" AT_NAMES AT_BACK_NAMES,
			    text);
		s->at |= 1u << a;
		p += n;
		if (!*p)
			return 0;
	}
}

static int
parse_names(struct select *s, const char *text)
{
	size_t n = strlen(text);
	char *p;

	if (n == 0)
		return fail(FAIL_USAGE, "--tensor '': give names, as h,expert.w");
	free(s->names);
	free(s->named);
	s->names = calloc(n + 2, 1);
	s->named = calloc(n + 2, 1);
	if (!s->names || !s->named)
		return fail(FAIL_SYSTEM, "no memory for names");
	memcpy(s->names, text, n);
	for (p = s->names; *p; p++)
		if (*p == ',')
			*p = 0;
	return 0;
}

static const char *const options[SELECTORS] = {
	"--at", "-l", "--tensor", "--seq", "--pos", "--col", "--expert"};

/* The list of numbers of a selector; NULL if it has none. */
static struct ranges *
list_of(struct select *s, int by)
{
	struct ranges *const lists[SELECTORS] = {[SELECT_LAYER] = &s->layers, [SELECT_SEQ] = &s->seqs,
	    [SELECT_POS] = &s->positions, [SELECT_COL] = &s->columns, [SELECT_EXPERT] = &s->experts};

	return lists[by];
}

int
select_option(struct select *s, const char *option, const char *text)
{
	int by = 0;

	while (strcmp(options[by], option) != 0)
		by++;
	s->text[by] = text;
	if (list_of(s, by))
		return ranges_parse(list_of(s, by), option, text);
	return by == SELECT_AT ? parse_stages(s, text) : parse_names(s, text);
}

void
select_free(struct select *s)
{
	for (int by = 0; by < SELECTORS; by++)
		if (list_of(s, by))
			ranges_free(list_of(s, by));
	free(s->names);
	free(s->named);
	memset(s, 0, sizeof(*s));
}

int
select_is_set(const struct select *s)
{
	for (int by = 0; by < SELECTORS; by++)
		if (s->text[by])
			return 1;
	return 0;
}

int
select_fail_empty(const struct select *s, const char *done)
{
	int given = 0, by = SELECTORS;

	for (int i = SELECTORS; i-- > 0; ) {
		given += s->text[i] != NULL;
		by = s->text[i] && s->met[i] == 0 ? i : by;
	}
	if (s->frames == 0)
		return fail(FAIL_DATA, "nothing was %s: no frame with rows came", done);
	if (by == SELECTORS)
		return fail(FAIL_DATA, "nothing was %s: the tensors have no value for a selected row", done);
	return fail(FAIL_DATA, "nothing was %s: %s '%s' selects nothing%s", done, options[by], s->text[by],
	    given > 1 ? " of what the other options select" : "");
}

int
select_frame(struct select *s, const struct frame *f)
{
	s->frames += f->rows > 0;
	if (s->at && !(s->at & 1u << f->at))
		return 0;
	s->met[SELECT_AT]++;
	if (s->layers.n > 0 && (f->layer < 0 || !ranges_has(&s->layers, (uint64_t)f->layer)))
		return 0;
	s->met[SELECT_LAYER]++;
	return 1;
}

int
select_row(struct select *s, uint64_t seq, uint64_t pos)
{
	if (!ranges_has(&s->seqs, seq))
		return 0;
	s->met[SELECT_SEQ]++;
	if (!ranges_has(&s->positions, pos))
		return 0;
	s->met[SELECT_POS]++;
	return 1;
}

int
select_element(struct select *s, uint64_t column, int64_t expert)
{
	if (!ranges_has(&s->columns, column))
		return 0;
	s->met[SELECT_COL]++;
	if (expert >= 0 && !ranges_has(&s->experts, (uint64_t)expert))
		return 0;
	s->met[SELECT_EXPERT]++;
	return 1;
}

/* Mark all names that match the tensor. Returns 1 if there is one. */
static int
listed(struct select *s, const char *name)
{
	size_t bare = strcspn(name, "@");
	int found = 0;

	if (!s->names)
		return 1;
	for (const char *p = s->names; *p; p += strlen(p) + 1) {
		size_t n = strlen(p);

		if (strcmp(p, name) == 0 || (n == bare && strncmp(p, name, n) == 0) ||
		    (n > 0 && p[n - 1] == '*' && strncmp(p, name, n - 1) == 0))
			found = s->named[p - s->names] = 1;
	}
	return found;
}

int
select_check_names(const struct select *s)
{
	for (const char *p = s->names; p && *p; p += strlen(p) + 1)
		if (!s->named[p - s->names])
			return fail(FAIL_DATA, "--tensor '%s': no selected frame has a tensor named '%s'",
			    s->text[SELECT_TENSOR], p);
	return 0;
}

int
select_tensor(struct select *s, const char *name)
{
	int found = listed(s, name);

	s->met[SELECT_TENSOR] += (uint64_t)found;
	return found;
}

int
select_rows_of(struct frame *f, const struct tensor *t, uint32_t **rows)
{
	const struct tensor *row = frame_tensor(f, "row");
	int wanted = row && row->dtype == I32 && row->rank == 1;

	*rows = NULL;
	if (t->rank == 0 || (t->shape[0] != f->rows && !(wanted && t->shape[0] == row->shape[0])))
		return 0;
	if (!(*rows = mem_raw(t->shape[0], sizeof(**rows))))
		return -1;
	for (uint64_t i = 0; i < t->shape[0]; i++) {
		int32_t r = wanted && t->shape[0] == row->shape[0] ? ((const int32_t *)row->data)[i] : (int32_t)i;

		if (r < 0 || (uint32_t)r >= f->rows) {
			free(*rows);
			*rows = NULL;
			return fail(FAIL_DATA, "tensor 'row' names row %d of a frame of %u", r, f->rows);
		}
		(*rows)[i] = (uint32_t)r;
	}
	return 1;
}

/* What remains of a frame. */
struct kept {
	struct span *spans;
	int n;
	uint32_t rows;
	int64_t *to;            /* [rows before] new number of the row, or -1 */
};

/* Split spans at dropped rows. An empty span is kept only if it was empty before. */
static int
keep_spans(struct select *s, const struct frame *f, struct kept *k)
{
	uint32_t row = 0;
	size_t cap = 0;

	k->to = mem_raw(f->rows, sizeof(*k->to));
	if (!k->to)
		return -1;
	for (int i = 0; i < f->nspans; i++) {
		const struct span *p = &f->spans[i];
		const uint32_t kept = SPAN_LOGITS | SPAN_HELD;
		int open = -1;

		if (p->n == 0 && select_row(s, p->seq, p->pos)) {
			if (mem_grow(&k->spans, &cap, (size_t)k->n + 1, sizeof(*k->spans)) < 0)
				return -1;
			k->spans[k->n++] = *p;
		}
		for (uint32_t j = 0; j < p->n; j++, row++) {
			k->to[row] = -1;
			if (!select_row(s, p->seq, (uint64_t)p->pos + j)) {
				open = -1;
				continue;
			}
			k->to[row] = k->rows++;
			if (open < 0) {
				if (mem_grow(&k->spans, &cap, (size_t)k->n + 1, sizeof(*k->spans)) < 0)
					return -1;
				open = k->n++;
				k->spans[open] = (struct span){p->seq, p->pos + j, 0,
				    p->flags & (j == 0 ? kept | SPAN_DRAFT : kept)};
			}
			k->spans[open].n++;
			if (j + 1 == p->n)
				k->spans[open].flags |= p->flags & ~(uint32_t)SPAN_DRAFT;
		}
	}
	return k->n <= FRAME_SPANS_MAX ? 0 : fail(FAIL_DATA, "the selection has %d spans, more than %d", k->n, FRAME_SPANS_MAX);
}

/* Move the remaining rows to the front of the tensor. */
static int
cut_tensor(struct frame *f, struct tensor *t, const struct kept *k)
{
	uint32_t *rows;
	int r = select_rows_of(f, t, &rows);
	uint64_t n = 0;
	size_t width;

	if (r <= 0)
		return r;
	width = t->shape[0] ? t->bytes / t->shape[0] : 0;
	for (uint64_t i = 0; i < t->shape[0]; i++)
		if (k->to[rows[i]] >= 0)
			memmove((char *)t->data + n++ * width, (char *)t->data + i * width, width);
	t->shape[0] = n;
	t->bytes = n * width;
	free(rows);
	return 0;
}

/* Cut `row` last: the other tensors need it. */
static int
cut_tensors(struct frame *f, const struct kept *k)
{
	struct tensor *row = frame_tensor(f, "row");
	int32_t *r;

	for (int i = 0; i < f->ntensors; i++)
		if (&f->tensors[i] != row && cut_tensor(f, &f->tensors[i], k) < 0)
			return -1;
	if (!row || row->dtype != I32 || row->rank != 1)
		return 0;
	if (cut_tensor(f, row, k) < 0)
		return -1;
	r = row->data;
	for (uint64_t i = 0; i < row->shape[0]; i++)
		r[i] = (int32_t)k->to[r[i]];
	return 0;
}

int
select_cut(struct select *s, struct frame *f)
{
	struct kept k = {0};
	int r = 0;

	for (int i = f->ntensors; i-- > 0; )
		if (!select_tensor(s, f->tensors[i].name) && strcmp(f->tensors[i].name, "row") != 0)
			frame_drop(f, f->tensors[i].name);
	if (s->seqs.n > 0 || s->positions.n > 0) {
		r = keep_spans(s, f, &k);
		if (r == 0 && k.n > 0 && (k.rows < f->rows || k.n < f->nspans)) {
			r = cut_tensors(f, &k);
			if (r == 0)
				r = frame_set_spans(f, k.spans, k.n);
		} else if (r == 0 && k.n == 0) {
			r = 1;
		}
	}
	free(k.spans);
	free(k.to);
	return r < 0 ? -1 : r == 0;
}
