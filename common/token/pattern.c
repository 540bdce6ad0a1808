#include "token/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fail.h"

#define LAST_CODE_POINT 0x10ffffu
#define JIT_STACK_MAX (8u << 20)
#define JIT_FROM 2048u          /* bytes of text that take about as long as the JIT compiler */
#define MATCH_LIMIT 10000000u   /* PCRE2's match limit, for each start position */
#define FIRST_LIMIT 20000u      /* the same without the JIT compiler: about 1 ms */
#define REACH 64                /* start positions that a call tries at first */
#define REACH_MAX 65536

struct pattern {
	const char *regex;              /* to be compiled; NULL: it is */
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	size_t seen;                    /* bytes of text so far, at most JIT_FROM */
};

/* "\x{41}": a class has hundreds of them, and printf would take most of the time of opening a
 * tokenizer */
static char *
put_character(char *to, uint32_t c)
{
	int digit = 20;

	memcpy(to, "\\x{", 3);
	to += 3;
	while (digit > 0 && !(c >> digit))
		digit -= 4;
	for (; digit >= 0; digit -= 4)
		*to++ = "0123456789abcdef"[c >> digit & 15];
	*to++ = '}';
	return to;
}

static int
emit_range(struct buf *to, uint32_t from, uint32_t last)
{
	char text[32], *end = put_character(text, from);

	*end++ = '-';
	end = put_character(end, last);
	return buf_add(to, text, (size_t)(end - text));
}

/* Append the class, or its complement, as ranges; in brackets unless `inside` brackets already. */
static int
emit_class(struct buf *to, const struct unicode_class *c, int negated, int inside)
{
	uint32_t from = 0;

	if (!inside)
		return buf_addf(to, negated ? "[^" : "[") < 0 || emit_class(to, c, 0, 1) < 0 ? -1 : buf_addc(to, ']');
	for (size_t i = 0; i < c->n; i++) {
		uint32_t a = c->ranges[i][0], b = c->ranges[i][1];

		if (!negated && emit_range(to, a, b) < 0)
			return -1;
		if (negated && from < a && emit_range(to, from, a - 1) < 0)
			return -1;
		from = b + 1;
	}
	return negated ? emit_range(to, from, LAST_CODE_POINT) : 0;
}

static int
refuse(const char *part, int n, const char *regex)
{
	return fail(FAIL_DATA, "'%.*s' in the pattern '%.60s' is not supported", n, part, regex);
}

/* Translate the escape at s. Returns its length, or -1 and a message. */
static int
translate_escape(struct buf *to, const char *s, int inside, const char *regex)
{
	const char *name = "s";
	char letter = s[1];
	size_t len = 1;
	int n = 2, negated = s[1] == 'P' || s[1] == 'S';

	if (letter && strchr("nrt", letter))
		return buf_add(to, s, 2) < 0 ? -1 : 2;
	if ((letter > ' ' && letter < '0') || (letter && strchr(":;<=>?@[\\]^_`{|}~ ", letter)))
		return buf_add(to, s, 2) < 0 ? -1 : 2;
	if (letter == 'p' || letter == 'P') {
		size_t caret = s[2] == '{' && s[3] == '^';

		name = s + 3 + caret;
		len = s[2] == '{' ? strcspn(name, "}") : 0;
		if (len == 0 || !name[len])
			return refuse(s, (int)strcspn(s, "}") + 1, regex);
		negated ^= (int)caret;
		n = (int)(4 + caret + len);
		if (*name == 's')
			return refuse(s, n, regex);
	} else if (letter != 's' && letter != 'S') {
		return refuse(s, letter ? 2 : 1, regex);
	}
	for (const struct unicode_class *c = unicode_classes; c->name; c++)
		if (strlen(c->name) == len && memcmp(c->name, name, len) == 0)
			return emit_class(to, c, negated, inside) < 0 ? -1 : n;
	return refuse(s, n, regex);
}

/* Find groups, quantifiers and brackets that Oniguruma and PCRE2 read differently. Returns the
 * length of the unsupported part at s, or 0. */
static int
wrong_part(const char *s, int inside, int first)
{
	static const char *const groups[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};

	if (inside)
		return *s == '[' || (*s == ']' && first) ? 1 : strncmp(s, "&&", 2) == 0 ? 2 : 0;
	if (strncmp(s, "{,", 2) == 0 || strncmp(s, "}+", 2) == 0 || strncmp(s, "(*", 2) == 0)
		return 2;
	if (strncmp(s, "(?", 2) != 0)
		return 0;
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		if (strncmp(s, groups[i], strlen(groups[i])) == 0)
			return 0;
	return s[2] ? 3 : 2;
}

/* Append the PCRE2 expression for regex. Returns 0, or -1 and a message. */
static int
translate(struct buf *to, const char *regex)
{
	int inside = 0, first = 0;      /* inside [...]; at its first character */

	for (const char *s = regex; *s;) {
		int n = wrong_part(s, inside, first);

		if (n > 0)
			return refuse(s, n, regex);
		if (*s == '\\') {
			n = translate_escape(to, s, inside, regex);
			if (n < 0)
				return -1;
			s += n;
			first = 0;
			continue;
		}
		if (!inside && *s == '[') {
			inside = first = 1;
			n = s[1] == '^' ? 2 : 1;
		} else {
			if (inside && *s == ']')
				inside = 0;
			first = 0;
			n = 1;
		}
		if (buf_add(to, s, (size_t)n) < 0)
			return -1;
		s += n;
	}
	return 0;
}

static int
compile(struct pattern *p, const struct buf *text, const char *regex)
{
	pcre2_compile_context *c = pcre2_compile_context_create(NULL);
	PCRE2_UCHAR why[128];
	PCRE2_SIZE where;
	int error = PCRE2_ERROR_NOMEMORY;

	if (c) {
		pcre2_set_newline(c, PCRE2_NEWLINE_LF);   /* with MULTILINE: ^ $ and . as in Ruby */
		p->code = pcre2_compile(text->p, text->n, PCRE2_UTF | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE |
		    PCRE2_USE_OFFSET_LIMIT,
		    &error, &where, c);
		pcre2_compile_context_free(c);
	}
	if (!p->code) {
		pcre2_get_error_message(error, why, sizeof(why));
		return fail(FAIL_DATA, "the pattern '%.60s': %s", regex, (char *)why);
	}
	p->data = pcre2_match_data_create(1, NULL);
	p->context = pcre2_match_context_create(NULL);
	if (!p->data || !p->context)
		return fail(FAIL_SYSTEM, "no memory for a pattern");
	return 0;
}

/* Compile to machine code. Without that it is slow, but correct. */
static void
compile_fast(struct pattern *p)
{
	p->seen = JIT_FROM;
	if (pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0 &&
	    (p->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_MAX, NULL)))
		pcre2_jit_stack_assign(p->context, NULL, p->stack);
}

/* The machine code comes with much text, or with a start position that takes long. */
static void
count_text(struct pattern *p, size_t n)
{
	if (n < JIT_FROM - p->seen)
		p->seen += n;
	else if (p->seen < JIT_FROM)
		compile_fast(p);
}

/* A sound pattern backtracks once over a long run of blanks; an exploding one needs far more. */
static void
set_limit(struct pattern *p, size_t n)
{
	pcre2_set_match_limit(p->context, p->seen < JIT_FROM ? FIRST_LIMIT :
	    MATCH_LIMIT + 4 * (n < 1u << 29 ? (uint32_t)n : 1u << 29));
}

static int
open_pattern(struct pattern *p, const char *regex)
{
	struct buf text = {0};
	int r = translate(&text, regex) < 0 || compile(p, &text, regex) < 0 ? -1 : 0;

	buf_free(&text);
	return r;
}

struct pattern *
pattern_open(const char *regex)
{
	struct pattern *p = mem_new(1, sizeof(*p));

	if (p && open_pattern(p, regex) < 0) {
		pattern_close(p);
		p = NULL;
	}
	return p;
}

struct pattern *
pattern_later(const char *regex)
{
	struct pattern *p = mem_new(1, sizeof(*p));

	if (p)
		p->regex = regex;
	return p;
}

void
pattern_close(struct pattern *p)
{
	if (!p)
		return;
	pcre2_code_free(p->code);
	pcre2_match_data_free(p->data);
	pcre2_match_context_free(p->context);
	pcre2_jit_stack_free(p->stack);
	free(p);
}

/* Cut at offset `at`, unless the piece would be empty. */
static int
cut(struct cuts *out, size_t base, size_t *last, size_t at)
{
	if (at <= *last)
		return 0;
	if (mem_grow(&out->end, &out->cap, out->n + 1, sizeof(*out->end)) < 0)
		return -1;
	*last = at;
	out->end[out->n++] = base + at;
	return 0;
}

/* Of the calling thread, in seconds. */
static double
processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void
pattern_begin(struct pattern_time *t)
{
	t->wall = clock_now();
	t->cpu = processor_time();
}

void
pattern_pause(struct pattern_time *t)
{
	t->spent += processor_time() - t->cpu;
}

/* Read the wall clock first, which is cheap: processor time cannot exceed it. */
static int
check_time(const struct pattern_time *t, double now)
{
	if (t->spent + now - t->wall <= t->limit ||
	    t->spent + processor_time() - t->cpu <= t->limit)
		return 0;
	return fail(FAIL_DATA, "a pattern of the tokenizer takes more than %.1f s on the text", t->limit);
}

/* Run pcre2_match from *from on, at most t->reach start positions. Returns its result, or
 * NOMATCH with *from advanced. */
static int
match_some(struct pattern *p, const char *text, size_t n, size_t *from, struct pattern_time *t)
{
	double before = clock_now(), now;
	size_t last = n - *from > t->reach ? *from + t->reach : n;
	int r;

	pcre2_set_offset_limit(p->context, last);
	r = pcre2_match(p->code, (PCRE2_SPTR)text, n, *from, PCRE2_NO_UTF_CHECK, p->data, p->context);
	now = clock_now();
	if (r >= 0 || r == PCRE2_ERROR_NOMATCH) {
		if (check_time(t, now) < 0)
			return PCRE2_ERROR_CALLOUT;
		if (now - before > 0.02 && t->reach > 1)
			t->reach /= 2;
		else if (r == PCRE2_ERROR_NOMATCH && now - before < 0.001 && t->reach < REACH_MAX)
			t->reach *= 2;
	}
	if (r == PCRE2_ERROR_NOMATCH)
		for (*from = last + 1; *from < n && (text[*from] & 0xc0) == 0x80; ++*from)
			;
	return r;
}

int
pattern_split(struct pattern *p, const char *text, size_t n, size_t base, struct pattern_time *time, struct cuts *out)
{
	const PCRE2_SIZE *match;
	size_t from = 0, last = 0, matched = SIZE_MAX;  /* end of the last match */

	if (p->regex && open_pattern(p, p->regex) < 0)
		return -1;
	p->regex = NULL;
	match = pcre2_get_ovector_pointer(p->data);
	count_text(p, n);
	set_limit(p, n);
	time->reach = time->reach ? time->reach : REACH;
	while (from <= n) {
		int r = match_some(p, text, n, &from, time);

		if (r == PCRE2_ERROR_NOMATCH)
			continue;
		if (r == PCRE2_ERROR_MATCHLIMIT && p->seen < JIT_FROM) {
			compile_fast(p);
			set_limit(p, n);
			continue;
		}
		if (r == PCRE2_ERROR_CALLOUT)
			return -1;
		if (r < 0) {
			PCRE2_UCHAR why[128];

			pcre2_get_error_message(r, why, sizeof(why));
			return fail(FAIL_DATA, "a pattern of the tokenizer fails on the text: %s", (char *)why);
		}
		if (match[0] == match[1] && match[1] == matched) {
			/* an empty match right after the last one: continue one character later */
			for (from++; from < n && (text[from] & 0xc0) == 0x80; from++)
				;
			continue;
		}
		if (cut(out, base, &last, match[0]) < 0 || cut(out, base, &last, match[1]) < 0)
			return -1;
		from = matched = match[1];
	}
	return cut(out, base, &last, n);
}
