/* TAP: the tokenizer against recorded cases, its patterns and its UTF-8. */
/* check: yes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "token/pattern.h"
#include "token/token.h"
#include "base/utf8.h"

#define DATA "tests/golden/tokenizer"

static int tests, failures;
static struct pattern_time limit = {.limit = 1e9};

static void
ok(int good, const char *name)
{
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++tests, name);
	failures += !good;
}

/* A line's value; "\u0000", which cJSON cannot hold, goes in as U+E000. */
static cJSON *
parse_line(const char *line, size_t n)
{
	struct buf b = {0};
	cJSON *o;
	char *nul;

	if (buf_add(&b, line, n) < 0 || buf_addc(&b, 0) < 0)
		die_failed();
	while ((nul = strstr((char *)b.p, "\\u0000")))
		nul[2] = 'e';
	o = json_parse((char *)b.p, n);
	if (!o)
		die_failed();
	buf_free(&b);
	return o;
}

static void
restore_nul(char *s, size_t *n)
{
	char *at;

	*n = strlen(s);
	while ((at = memmem(s, *n, "\xee\x80\x80", 3))) {
		*at = 0;
		memmove(at + 1, at + 3, *n - (size_t)(at - s) - 3);
		*n -= 2;
	}
}

/* The bytes of the ids, those that are special left out or not. */
static void
decode(const struct tokenizer *t, const cJSON *ids, int skip, struct buf *to)
{
	const cJSON *v;

	to->n = 0;
	cJSON_ArrayForEach(v, ids) {
		size_t n;
		const char *p = tokenizer_bytes(t, v->valueint, &n);

		if (!p)
			die(1, "id %d is not in the vocabulary", v->valueint);
		if (!(skip && tokenizer_is_special(t, v->valueint)) && buf_add(to, p, n) < 0)
			die_failed();
	}
}

static int
same_ids(const cJSON *want, const int32_t *got, size_t n)
{
	const cJSON *v;
	size_t i = 0;

	if ((size_t)cJSON_GetArraySize(want) != n)
		return 0;
	cJSON_ArrayForEach(v, want)
		if (v->valueint != got[i++])
			return 0;
	return 1;
}

static int
same(const struct buf *b, const char *p, size_t n)
{
	return b->n == n && (n == 0 || memcmp(b->p, p, n) == 0);
}

static void
check_case(struct tokenizer *t, const cJSON *o, const char *name)
{
	static int32_t *ids;
	static size_t cap;
	const cJSON *want = cJSON_GetObjectItem(o, "ids");
	const cJSON *skip = cJSON_GetObjectItem(o, "decoded_skip_special");
	char *text = cJSON_GetObjectItem(o, "text")->valuestring;
	struct buf back = {0};
	size_t n, count = 0;
	int good;

	restore_nul(text, &n);
	if (tokenizer_encode(t, text, n, &ids, &count, &cap) < 0)
		die_failed();
	good = same_ids(want, ids, count);
	decode(t, want, 0, &back);
	good &= same(&back, text, n);
	decode(t, want, 1, &back);
	good &= skip ? same(&back, skip->valuestring, strlen(skip->valuestring)) : same(&back, text, n);
	ok(good, name);
	if (!good) {
		printf("# text %.200s\n#", text);
		for (size_t i = 0; i < count; i++)
			printf(" %d", ids[i]);
		printf("\n");
	}
	buf_free(&back);
}

static void
check_decode(struct tokenizer *t, const cJSON *o, const char *name)
{
	struct buf got = {0}, hex = {0};
	const char *want = cJSON_GetObjectItem(o, "hex")->valuestring;

	decode(t, cJSON_GetObjectItem(o, "ids"), 0, &got);
	for (size_t i = 0; i < got.n; i++)
		if (buf_addf(&hex, "%02x", got.p[i]) < 0)
			die_failed();
	ok(same(&hex, want, strlen(want)), name);
	buf_free(&got);
	buf_free(&hex);
}

static void
each_line(struct tokenizer *t, const char *path, void (*check)(struct tokenizer *, const cJSON *, const char *))
{
	struct buf b = {0};
	char name[300];
	int number = 0;

	if (io_file(path, &b, 64 << 20) < 0)
		die_failed();
	for (char *s = (char *)b.p, *end; (end = strchr(s, '\n')); s = end + 1) {
		cJSON *o = parse_line(s, (size_t)(end - s));

		snprintf(name, sizeof(name), "%s line %d", strrchr(path, '/') ? strrchr(path, '/') + 1 : path, ++number);
		check(t, o, name);
		cJSON_Delete(o);
	}
	buf_free(&b);
}

/* The pieces of a text, with bars between them. */
static void
splits(const char *regex, const char *text, const char *want)
{
	struct pattern *p = pattern_open(regex);
	struct cuts cuts = {0};
	struct buf got = {0};
	char name[200];
	size_t from = 0;

	if (!p || pattern_split(p, text, strlen(text), 0, &limit, &cuts) < 0)
		die_failed();
	for (size_t i = 0; i < cuts.n; from = cuts.end[i++])
		if ((i > 0 && buf_addc(&got, '|') < 0) || buf_add(&got, text + from, cuts.end[i] - from) < 0)
			die_failed();
	snprintf(name, sizeof(name), "%s cuts as Oniguruma does", regex);
	ok(same(&got, want, strlen(want)), name);
	pattern_close(p);
	free(cuts.end);
	buf_free(&got);
}

static void
check_splits(void)
{
	splits("a*", "baac", "b|aa|c");
	splits("(?=b)", "abab", "a|ba|b");
	splits("$", "a\nb", "a|\nb");
	splits("^", "a\nb\n", "a\n|b\n");
	splits(".", "é\n中", "é|\n|中");
	splits("\\s+(?!\\S)|\\s+", "a  b\u00a0\u3000", "a| | |b|\u00a0\u3000");
	splits("(?i:'s|k)", "x'ſK'S", "x|'ſ|K|'S");
	splits("\\p{N}{1,3}", "1234²Ⅷ五", "123|4²Ⅷ|五");
	splits("[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+", "x\u0301 é,\u0ae9", "x\u0301| é|,\u0ae9");
	splits("[^\\P{N}]|\\p{^L}+", "a12!!b", "a|1|2|!!|b");
	splits("[\\S]+", " a\u2028b ", " |a|\u2028|b| ");
	/* Unicode 16: letters and a mark that older tables do not have */
	splits("\\p{L}+", "\U000105c0a\U00016d40", "\U000105c0a\U00016d40");
	splits("\\p{M}", "a\u0897", "a|\u0897");
}

/* Quick at each place, quadratic over all of the text. */
static void
check_time(void)
{
	struct pattern *p = pattern_open("(?=a+)");
	struct pattern_time time = {.limit = 0.1};
	struct cuts cuts = {0};
	size_t n = 1 << 20;
	char *text = mem_raw(n, 1);

	if (!p || !text)
		die_failed();
	memset(text, 'a', n);
	pattern_begin(&time);
	ok(pattern_split(p, text, n, 0, &time, &cuts) < 0 && fail_status() == FAIL_DATA &&
	    strstr(fail_text(), "takes more than 0.1 s"), "all matches of a text together have a limit of time");
	pattern_pause(&time);
	ok(time.spent > 0.1 && time.spent < 10, "and end soon after it");
	cuts.n = 0;
	time = (struct pattern_time){.limit = 10};
	pattern_begin(&time);
	ok(pattern_split(p, text, 1000, 0, &time, &cuts) == 0 && cuts.n == 1000, "which a short text does not reach");
	pattern_close(p);
	free(cuts.end);
	free(text);
}

/* What takes long for the interpreter of short texts is matched again by machine code.  (PCRE2
 * looks for the '!' first.) */
static void
check_explodes(void)
{
	struct pattern *p = pattern_open("(?:[a-z]+ ?){1,50}!");
	struct pattern_time time = {.limit = 1e9};
	struct cuts cuts = {0};
	const char *some = "abcdefghijklmnop1!";
	const char *many = "hello there hello there hello there hello there hello there1!";

	if (!p)
		die_failed();
	pattern_begin(&time);
	ok(pattern_split(p, some, strlen(some), 0, &time, &cuts) == 0,
	    "a pattern may try 65,536 ways on a short text");
	ok(pattern_split(p, many, strlen(many), 0, &time, &cuts) < 0 &&
	    strstr(fail_text(), "limit"), "it has a limit, too");
	pattern_pause(&time);
	pattern_close(p);
	free(cuts.end);
}

static void
refused(const char *regex, const char *message)
{
	char name[200];
	struct pattern *p = pattern_open(regex);

	snprintf(name, sizeof(name), "refused: %s", regex);
	ok(!p && fail_status() == FAIL_DATA && strstr(fail_text(), message), name);
	if (p)
		pattern_close(p);
}

static void
check_refused(void)
{
	static const char *const parts[][2] = {
		{"a\\d", "'\\d'"}, {"\\w+", "'\\w'"}, {"\\bx", "'\\b'"}, {"\\h", "'\\h'"}, {"\\Kx", "'\\K'"}, {"x\\", "'\\'"},
		{"\\p{Nd}", "'\\p{Nd}'"}, {"\\pL", "\\pL"}, {"\\p{s}", "'\\p{s}'"}, {"\\p", "\\p"}, {"\\p{", "\\p{"},
		{"[a[b]]", "'['"}, {"[[:alpha:]]", "'['"}, {"[]a]", "']'"}, {"[a&&b]", "'&&'"}, {"(?m:.)", "'(?m'"},
		{"(?P<n>x)", "'(?P'"}, {"(?", "'(?'"}, {"(*FAIL)", "'(*'"}, {"a{,3}", "'{,'"}, {"a{1,3}+", "'}+'"},
		{"(a", "pattern '(a'"}, {"[a", "pattern '[a'"}, {"a**b)", "pattern 'a**b)'"}, {"[z-a]", "pattern '[z-a]'"},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		refused(parts[i][0], parts[i][1]);
}

static void
add_utf8(struct buf *b, uint32_t c)
{
	unsigned char u[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		u[i] = (unsigned char)(0x80 | (c & 0x3f));
	u[0] = (unsigned char)(n == 1 ? c : (0xf00u >> n & 0xf0) | c);
	if (buf_add(b, u, n) < 0)
		die_failed();
}

/* Each range's ends and their neighbours, a line each: the class must match those inside of it and no others, by each
 * of the ways to write it. */
static void
check_class(const struct unicode_class *c)
{
	static const char *const forms[] = {"\\p{%s}", "[\\p{%s}]", "[^\\P{%s}]", "\\P{%s}", "[\\P{%s}]", "\\p{^%s}"};
	static const char *const space_forms[] = {"\\s", "[\\s]", "[^\\S]", "\\S", "[\\S]", "[^\\s]"};
	struct buf text = {0};
	struct cuts cuts = {0};
	char regex[32], name[64];

	for (size_t form = 0; form < 6; form++) {
		struct pattern *p;
		int good = 1;

		snprintf(regex, sizeof(regex), c->name[0] == 's' ? space_forms[form] : forms[form], c->name);
		p = pattern_open(regex);
		if (!p)
			die_failed();
		for (size_t i = 0; i < 4 * c->n; i++) {
			const uint32_t *r = c->ranges[i / 4];
			uint32_t at[4] = {r[0] - 1, r[0], r[1], r[1] + 1};
			int inside = i % 4 == 1 || i % 4 == 2;

			text.n = cuts.n = 0;
			/* twice: two matches are cut apart, what does not match is one piece */
			add_utf8(&text, at[i % 4]);
			add_utf8(&text, at[i % 4]);
			if (pattern_split(p, (char *)text.p, text.n, 0, &limit, &cuts) < 0)
				die_failed();
			good &= cuts.n == (inside == (form < 3) ? 2 : 1);
		}
		snprintf(name, sizeof(name), "%s matches its %zu ranges", regex, c->n);
		ok(good, name);
		pattern_close(p);
	}
	buf_free(&text);
	free(cuts.end);
}

static void
check_utf8(void)
{
#define R UTF8_REPLACEMENT
	static const char *const cases[][2] = {
		{"", ""}, {"a\u00e9\u4e2d\U0010ffff", "a\u00e9\u4e2d\U0010ffff"}, {"\x80", R}, {"\xc0\xaf", R R}, {"\xc3", R},
		{"\xc3(", R "("}, {"\xe2\x82" "A", R "A"}, {"\xe2\x82", R}, {"\xe0\x80\x80", R R R}, {"\xed\xa0\x80", R R R},
		{"\xf0\x9f\x98", R}, {"\xf0\x9f\x98 ", R " "}, {"\xf0\x8f\x80\x80", R R R R}, {"\xf4\x90\x80\x80", R R R R},
		{"\xf5", R}, {"\xff\xfe", R R}, {"\xe4\xb8\xe4\xb8\xad", R "\u4e2d"}, {"\xf1\x80\x80\xe1\x80\xc2", R R R},
	};
#undef R
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf b = {0};
		char name[64];

		if (utf8_clean(&b, cases[i][0], strlen(cases[i][0])) < 0)
			die_failed();
		snprintf(name, sizeof(name), "case %zu of UTF-8 that may be ill-formed", i + 1);
		ok(same(&b, cases[i][1], strlen(cases[i][1])), name);
		buf_free(&b);
	}
}

/* The folder of the recorded tokenizer, made for this run. */
static void
make_folder(char *dir)
{
	char command[300];

	if (!mkdtemp(dir))
		die(FAIL_SYSTEM, "cannot make '%s':", dir);
	snprintf(command, sizeof(command), "gzip -dc %s/tokenizer.json.gz >%s/tokenizer.json", DATA, dir);
	if (system(command) != 0)
		die(FAIL_SYSTEM, "cannot unpack %s/tokenizer.json.gz", DATA);
}

int
main(void)
{
	char dir[] = "/tmp/checktoken.XXXXXX", path[64];
	struct tokenizer *t;

	program = "checktoken";
	make_folder(dir);
	t = tokenizer_open(dir);
	snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
	unlink(path);
	rmdir(dir);
	if (!t)
		die_failed();
	each_line(t, DATA "/cases.jsonl", check_case);
	each_line(t, DATA "/decode.jsonl", check_decode);
	tokenizer_close(t);
	check_splits();
	check_time();
	check_explodes();
	check_refused();
	for (const struct unicode_class *c = unicode_classes; c->name; c++)
		check_class(c);
	check_utf8();
	printf("1..%d\n", tests);
	return failures > 0;
}
