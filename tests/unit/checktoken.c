/*
 * The tokenizer against recorded cases: checktoken DIR CASES DECODE, where DIR
 * holds tokenizer.json.  TAP on standard output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "token/token.h"

static int tests, failures;

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

int
main(int argc, char **argv)
{
	struct tokenizer *t;

	program = "checktoken";
	if (argc != 4)
		die(FAIL_USAGE, "usage: checktoken DIR CASES DECODE");
	t = tokenizer_open(argv[1]);
	if (!t)
		die_failed();
	each_line(t, argv[2], check_case);
	each_line(t, argv[3], check_decode);
	tokenizer_close(t);
	printf("1..%d\n", tests);
	return failures > 0;
}
