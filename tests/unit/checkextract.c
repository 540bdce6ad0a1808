/* TAP: answers in texts: numbers, boxes, regular expressions. */
/* check: yes */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/extract.h"
#include "point.h"

/* The answer in the text is `want`; NULL: there is none. */
static void
gives(const struct extract *e, const char *text, const char *want)
{
	struct buf b = {0};
	int r = extract_answer(e, text, &b);
	int right = want ? r == 1 && b.n == strlen(want) && memcmp(b.p, want, b.n) == 0 : r == 0 &&
	    b.n == 0;
	char what[400];

	snprintf(what, sizeof(what), "'%.100s' gives %s%s", text, want ? want : "nothing", right ?
	    "" : ", not:");
	if (!right && r > 0)
		snprintf(what + strlen(what), sizeof(what) - strlen(what), " %.*s", (int)b.n,
		    (char *)b.p);
	for (char *c = what; *c; c++)
		*c = *c == '\n' ? ' ' : *c;
	point(right, what);
	buf_free(&b);
}

static const char *const numbers[][2] = {
	{"1,702.0", "1702"}, {"It is 1702.", "1702"}, {"37 * 46 = 1702, so 12.50", "12.5"},
	{"-5", "-5"},
	{"3-5", "5"}, {"x = -5", "-5"}, {"(-5)", "-5"}, {"\xe2\x88\x92" "5", "-5"},
	{"-$1,234.50 in all", "-1234.5"},
	{"-0.0", "0"}, {".5", "0.5"}, {"007", "7"}, {"1.5e3", "1500"}, {"15e-1", "1.5"},
	{"1e-3", "0.001"},
	{"2 \\times 10^{3}", "2000"}, {"2\xc3\x97" "10^-2", "0.02"}, {"12e9999", "9999"},
	{"1/2", "0.5"},
	{"2/6", "1/3"}, {"-2/6", "-1/3"}, {"6/3", "2"}, {"1/0", "0"}, {"\\frac{1}{2}", "0.5"},
	{"-\\dfrac{10}{30}", "-1/3"},
	{"\\frac34", "0.75"}, {"1\\frac{1}{2}", "1.5"}, {"12/25/2026", "2026"}, {"1{,}702", "1702"},
	{"1,23", "23"},
	{"1234,567", "567"}, {"50%", "50"}, {"no digits", NULL}, {"", NULL}, {" \n", NULL},
	{"00000000000000000000000000000000000000000001.10", "1.1"},
	{"123456789012345678901234567890.10", "123456789012345678901234567890.1"},
	{"1/12345678901234567890", "12345678901234567890"}, {"1000000/8", "125000"}, {"0/5", "0"},
	{"100", "100"}
};

static const char *const boxes[][2] = {
	{"so \\boxed{1,702}.", "1702"}, {"\\boxed{1} and \\boxed {2}", "2"},
	{"\\boxed{ \\frac{1}{2} }", "0.5"},
	{"\\boxed{\\left( x, \\, 3 \\right)}", "(x,3)"}, {"\\boxed{\\{1, 2\\}}", "\\{1,2\\}"},
	{"\\boxed{\\text{(A)}}", "(A)"}, {"\\boxed{5\\text{ cm}}", "5cm"},
	{"\\boxed{\\frac12x}", "\\frac{1}{2}x"},
	{"\\boxed{\\dfrac{x}{2}}", "\\frac{x}{2}"}, {"\\boxed{90^\\circ}", "90"},
	{"\\boxed{50\\%}", "50"},
	{"\\boxed{\\$3.50}", "3.5"}, {"\\boxed{\\sqrt3}", "\\sqrt{3}"},
	{"\\boxed{7} \\boxed{8", "7"},
	{"\\boxed{a{b}c}", "a{b}c"}, {"\\boxed{\\boxed{5}}", "5"}, {"boxed{5}", NULL},
	{"\\boxed{}", NULL},
	{"\\boxed{x \\leq 3}", "x\\le3"}, {"5", NULL}, {"\\boxed{5\\", NULL},
	{"\\boxed{\\text{\\text}", NULL},
	{"\\boxed{\\leftarrow}", "\\leftarrow"}, {"\\boxed{-5.}", "-5"}
};

static void
check_regex(void)
{
	struct extract e = {0}, bad = {0};
	struct buf b = {0};
	char a[60];

	point(extract_open(&e, "answer: (\\w+)") == 0, "a regular expression");
	gives(&e, "the answer: caf\xc3\xa9 ...", "caf\xc3\xa9");
	gives(&e, "none", NULL);
	b.n = 0;
	point(extract_expected(&e, " none ", &b) == 1 && b.n == 4,
	    "what is expected need not match");
	extract_close(&e);
	point(extract_open(&e, "a(b)?") == 0, "one with an optional group");
	gives(&e, "xa", NULL);
	extract_close(&e);
	point(extract_open(&e, "[0-9]+(?= left)") == 0, "one without a group");
	gives(&e, "12 are 30 left", "30");
	extract_close(&e);
	point(extract_open(&bad, "a(b") < 0 && fail_status() == FAIL_USAGE && strstr(fail_text(),
	    "at byte 3"),
	    "a wrong one names the byte");
	extract_close(&bad);
	memset(a, 'a', sizeof(a));
	a[sizeof(a) - 1] = 0;
	point(extract_open(&e, "^(a+)+$") == 0 && (a[58] = '!', extract_answer(&e, a, &b)) < 0 &&
	    strcmp(fail_text(), "--regex: match limit exceeded") == 0,
	    "one that backtracks for ever is ended");
	extract_close(&e);
	buf_free(&b);
}

int
main(void)
{
	struct extract number = {.number = 1}, boxed = {.boxed = 1},
	    both = {.boxed = 1, .number = 1}, plain = {0};
	struct buf b = {0};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		gives(&number, numbers[i][0], numbers[i][1]);
	for (size_t i = 0; i < sizeof(boxes) / sizeof(*boxes); i++)
		gives(&boxed, boxes[i][0], boxes[i][1]);
	gives(&both, "3 \\boxed{x = 5} 4", "5");
	gives(&plain, "\n\n1702 \n", "1702");
	gives(&plain, " ", NULL);
	point(extract_expected(&boxed, "\\frac{3}{6}", &b) == 1 && b.n == 3,
	    "what is expected needs no box");
	buf_free(&b);
	check_regex();
	printf("1..%d\n", points);
	return failures != 0;
}
