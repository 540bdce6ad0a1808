#define PCRE2_CODE_UNIT_WIDTH 8
#include "inspect/extract.h"

#include <pcre2.h>
#include <string.h>

#include "base/fail.h"

/* Steps, and KiB of memory, of a search. A pattern that would backtrack for ever ends here. */
#define MATCH_LIMIT 5000000
#define HEAP_LIMIT (64 << 10)

struct extract_regex {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
	int group;              /* 1, or 0: the pattern has no group */
};

int
extract_open(struct extract *e, const char *regex)
{
	struct extract_regex *x = mem_new(1, sizeof(*x));
	PCRE2_UCHAR why[200];
	PCRE2_SIZE at;
	uint32_t groups = 0;
	int error;

	e->regex = x;
	if (!x)
		return -1;
	x->code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
	    &error, &at,
	    NULL);
	if (!x->code) {
		pcre2_get_error_message(error, why, sizeof(why));
		return fail(FAIL_USAGE, "--regex '%s': %s at byte %zu", regex, (char *)why,
		    (size_t)at);
	}
	x->data = pcre2_match_data_create_from_pattern(x->code, NULL);
	x->context = pcre2_match_context_create(NULL);
	if (!x->data || !x->context)
		return fail(FAIL_SYSTEM, "no memory for --regex");
	pcre2_set_match_limit(x->context, MATCH_LIMIT);
	pcre2_set_heap_limit(x->context, HEAP_LIMIT);
	pcre2_pattern_info(x->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	x->group = groups > 0;
	return 0;
}

void
extract_close(struct extract *e)
{
	if (!e->regex)
		return;
	pcre2_code_free(e->regex->code);
	pcre2_match_data_free(e->regex->data);
	pcre2_match_context_free(e->regex->context);
	free(e->regex);
	e->regex = NULL;
}

static int
extract_group(struct extract_regex *x, const char *text, size_t n, struct buf *to)
{
	int r = pcre2_match(x->code, (PCRE2_SPTR)text, n, 0, 0, x->data, x->context);
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(x->data);
	PCRE2_UCHAR why[200];

	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	if (r < 0) {
		pcre2_get_error_message(r, why, sizeof(why));
		return fail(FAIL_DATA, "--regex: %s", (char *)why);
	}
	at += 2 * x->group;
	if (r <= x->group || at[0] == PCRE2_UNSET || at[1] < at[0])
		return 0;
	return buf_add(to, text + at[0], at[1] - at[0]) < 0 ? -1 : 1;
}

static void
trim(const char **p, size_t *n)
{
	static const char space[] = " \t\r\n\v\f";

	while (*n > 0 && strchr(space, (*p)[*n - 1]))
		(*n)--;
	while (*n > 0 && strchr(space, **p)) {
		(*p)++;
		(*n)--;
	}
}

/* Append the last box, or the whole text if it is what was expected. */
static int
extract_box(const char *text, size_t n, int expected, struct buf *to)
{
	struct buf box = {0};
	int r = extract_boxed(text, n, &box);

	if (r > 0)
		r = extract_latex((const char *)box.p, box.n, to);
	else if (r == 0 && expected)
		r = extract_latex(text, n, to);
	buf_free(&box);
	return r;
}

/* Append the part of the text that is selected. */
static int
extract_part(const struct extract *e, const char *text, int expected, struct buf *to)
{
	size_t n = strlen(text);
	int r = 0;

	if (e->boxed)
		return extract_box(text, n, expected, to);
	if (e->regex && ((r = extract_group(e->regex, text, n, to)) != 0 || !expected))
		return r;
	return buf_add(to, text, n) < 0 ? -1 : 1;
}

static int
extract_from(const struct extract *e, const char *text, int expected, struct buf *to)
{
	struct buf part = {0};
	int r = extract_part(e, text, expected, &part);
	const char *p = (const char *)part.p;
	size_t n = part.n;

	if (r > 0) {
		trim(&p, &n);
		r = n == 0 ? 0 : e->number ? extract_number(p, n, to) : buf_add(to, p, n) < 0 ? -1 :
		    1;
	}
	buf_free(&part);
	return r;
}

int
extract_answer(const struct extract *e, const char *text, struct buf *to)
{
	return extract_from(e, text, 0, to);
}

int
extract_expected(const struct extract *e, const char *text, struct buf *to)
{
	return extract_from(e, text, 1, to);
}
