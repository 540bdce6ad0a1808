#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"
#include "inspect/hash/hash.h"
#include "inspect/hash/hash_internal.h"

#define FILE_MAX ((size_t)1 << 30)
#define FIELDS 8                /* hash, stage, layer, sequence, positions, tensor, dtype, elements */

/* Index the lines by "STAGE LAYER SEQ TENSOR". */
static int
index_lines(struct table *index, struct hashes *t)
{
	for (size_t i = 0; i < t->n; i++) {
		char *key = NULL;
		size_t n = 0;
		FILE *f = open_memstream(&key, &n);

		if (!f)
			return fail(FAIL_SYSTEM, "no memory for the name of a line");
		hash_print_seq(f, t->lines[i]);
		putc(' ', f);
		group_print_tensor(f, t->lines[i]->group);
		if (fclose(f) != 0 || table_put(index, key, n, t->lines[i]) < 0) {
			free(key);
			return fail(FAIL_SYSTEM, "no memory for the name of a line");
		}
		if (hash_sort(t->lines[i]) < 0)
			return -1;
	}
	return 0;
}

static void
index_free(struct table *index)
{
	for (struct table_slot *s = NULL; (s = table_next(index, s)); )
		free((void *)(uintptr_t)s->key);
	table_free(index);
}

/* Split a line into at most FIELDS + 1 fields, in place. Returns their number. */
static int
line_cut(char *s, char **v)
{
	int n = 0;

	for (char *save, *p = strtok_r(s, " \t\r", &save); p && n <= FIELDS; p = strtok_r(NULL, " \t\r", &save))
		v[n++] = p;
	return n;
}

/* Parse "FROM-TO". Returns 0 or -1. */
static int
parse_range(const char *s, uint64_t *from, uint64_t *to)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return -1;
	*from = strtoull(s, &end, 10);
	if (*end != '-' || !isdigit((unsigned char)end[1]))
		return -1;
	*to = strtoull(end + 1, &end, 10);
	return *end || *from > *to || *to > FRAME_POS_MAX ? -1 : 0;
}

/* Compare a line with what was read. Returns NULL if it agrees, or the verdict to print. */
static const char *
verdict(const struct hash_line *l, char **v, uint64_t from, uint64_t to)
{
	char hex[2 * SHA256_DIGEST_SIZE + 1], count[24];

	for (uint64_t pos = from; pos <= to; pos++) {
		const struct hash_row *x = l ? hash_row_at(l, pos) : NULL;

		if (!x)
			return "MISSING";
		hash_format_count(x, count);
		if (strcmp(v[6], dtype_name(x->dtype)) != 0 || strcmp(v[7], count) != 0)
			return "FAILED";
	}
	hash_range(l, from, to, hex);
	return strcmp(hex, v[0]) == 0 ? NULL : "FAILED";
}

/* Check one line of the file: 1 it differs, 0 it agrees, -1 and a message. */
static int
check_line(FILE *out, const struct table *index, char *line)
{
	struct buf key = {0};
	struct hash_line *l;
	uint64_t from, to;
	char *v[FIELDS + 1];
	const char *say;

	if (line_cut(line, v) != FIELDS || strlen(v[0]) != 2 * SHA256_DIGEST_SIZE || parse_range(v[4], &from, &to) < 0)
		return fail(FAIL_DATA, "not a line of ds-hash");
	if (buf_addf(&key, "%s %s %s %s", v[1], v[2], v[3], v[5]) < 0)
		return -1;
	l = table_get(index, key.p, key.n);
	say = verdict(l, v, from, to);
	if (l)
		l->requested += to - from + 1;
	buf_free(&key);
	if (say)
		fprintf(out, "%s %s %s %s %s: %s\n", v[1], v[2], v[3], v[4], v[5], say);
	return say != NULL;
}

static long
check_lines(FILE *out, const struct table *index, char *text, long *total)
{
	long bad = 0, number = 1;

	for (char *next; *text; text = next, number++) {
		size_t n = strcspn(text, "\n");
		int r;

		next = text + n + (text[n] == '\n');
		text[n] = '\0';
		text += strspn(text, " \t\r");
		if (*text == '\0' || *text == '#')
			continue;
		if ((r = check_line(out, index, text)) < 0)
			return fail_in("line %ld", number);
		bad += r;
		++*total;
	}
	return *total > 0 ? bad : fail(FAIL_DATA, "no line to check");
}

/* 1 if the run has rows of this tensor that no line covers. */
static int
has_more(const struct hash_line *l)
{
	uint64_t rows = 0;

	for (size_t i = 0; i < l->pages.n * HASH_PAGE; i++)
		rows += l->sorted[i / HASH_PAGE]->rows[i % HASH_PAGE].seen > 0;
	return rows > l->requested;
}

long
hash_check(FILE *out, struct hashes *t, const char *path, long *total, long *more)
{
	struct table index = {0};
	struct buf b = {0};
	long bad = -1;

	*total = *more = 0;
	if (io_file(path, &b, FILE_MAX) == 0 && index_lines(&index, t) == 0) {
		bad = memchr(b.p, 0, b.n) ? fail(FAIL_DATA, "not a text") :
		    check_lines(out, &index, (char *)b.p, total);
		if (bad < 0)
			fail_in("'%s'", path);
		for (size_t i = 0; i < t->n; i++)
			*more += has_more(t->lines[i]);
	}
	index_free(&index);
	buf_free(&b);
	return bad;
}
