#include "launch/answer_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/json.h"
#include "base/lines.h"
#include "base/lock.h"
#include "weights/checkpoint.h"

#define LINE_MAX_BYTES ((size_t)1 << 30)
#define BEGINNING "{\"id\": "   /* of each answer */

struct answer_path {
	uint64_t left;          /* lines that no request has taken */
	char key[];
};

/* --- what the file has --- */

static int
path_key(struct buf *b, const char *id, size_t n, uint64_t index)
{
	return buf_addf(b, "%llu ", (unsigned long long)index) < 0 ? -1 : buf_add(b, id, n);
}

static int
add_path(struct answer_file *a, const char *id, size_t n, uint64_t index)
{
	struct answer_path *p;
	struct buf key = {0};
	int r = path_key(&key, id, n, index);

	if (r == 0 && !(p = table_get(&a->paths, key.p, key.n))) {
		if ((p = mem_new(1, sizeof(*p) + key.n)))
			memcpy(p->key, key.p, key.n);
		r = p ? table_put(&a->paths, p->key, key.n, p) : -1;
		if (r < 0) {
			free(p);
			p = NULL;
		}
	}
	if (r == 0)
		p->left++;
	buf_free(&key);
	return r;
}

/* An answer without a model or precision is that of a request which no stage has seen. */
static int
check_key(const cJSON *o, const char *key, const char *expected)
{
	const char *s = NULL;

	if (json_string(o, key, JSON_OPTIONAL, &s) < 0)
		return -1;
	if (s && *s && expected && *expected && strcmp(s, expected) != 0)
		return fail(FAIL_DATA, "an answer of %s %s, not %s", key, s, expected);
	return 0;
}

static int
read_answer(struct answer_file *a, const char *line, size_t n, const char *model,
    const char *precision)
{
	cJSON *o = json_parse(line, n);
	const cJSON *v = NULL;
	const char *id;
	uint64_t index = 0;
	int r = o ? 0 : -1;

	if (r == 0 && !cJSON_IsObject(o))
		r = fail(FAIL_DATA, "it is not an answer");
	if (r == 0)
		r = json_get(o, "index", JSON_REQUIRED, &v) < 0 ? -1 : 0;
	if (r == 0 && json_whole(v, (uint64_t)1 << 53, &index) < 0)
		r = fail(FAIL_DATA, "'index' is not an integer, 0 or more");
	if (r == 0 && !(id = json_raw(line, "id", &n)))
		r = fail(FAIL_DATA, "it has no 'id'");
	if (r == 0)
		r = check_key(o, "model", model) < 0 || check_key(o, "precision", precision) < 0 ||
		    add_path(a, id, n, index) < 0 ? -1 : 0;
	cJSON_Delete(o);
	return r;
}

/* The length up to the end of the last whole line, or -1 and a message. */
static off_t
whole_lines(int fd, const char *path)
{
	char got[65536];
	off_t end = lseek(fd, 0, SEEK_END);

	while (end > 0) {
		size_t n = (size_t)(end < (off_t)sizeof(got) ? end : (off_t)sizeof(got));
		ssize_t k = pread(fd, got, n, end - (off_t)n);
		const char *last = k == (ssize_t)n ? memrchr(got, '\n', n) : NULL;

		if (k != (ssize_t)n)
			return fail(FAIL_SYSTEM, "'%s': cannot read:", path);
		if (last)
			return end - (off_t)n + (last - got) + 1;
		end -= (off_t)n;
	}
	return end < 0 ? fail(FAIL_SYSTEM, "'%s': cannot seek:", path) : 0;
}

int
answer_file_load(struct answer_file *a, const char *path, const char *model, const char *precision)
{
	struct lines l;
	off_t left;
	char *line;
	size_t n;
	int r;

	memset(a, 0, sizeof(*a));
	if (lines_open(&l, path, LINE_MAX_BYTES) < 0)
		return -1;
	left = whole_lines(l.fd, path);
	r = left < 0 || lseek(l.fd, 0, SEEK_SET) < 0 ? -1 : 0;
	while (r == 0 && left > 0 && (r = lines_next(&l, 1, &line, &n)) != LINES_END) {
		left -= (off_t)n + 1;
		a->lines++;
		r = r == LINES_LINE ? read_answer(a, line, n, model, precision) : -1;
		if (r < 0)
			fail_in("'%s' line %llu", path, (unsigned long long)a->lines);
	}
	lines_close(&l);
	return r == -1 ? -1 : 0;
}

void
answer_file_free(struct answer_file *a)
{
	for (struct table_slot *s = NULL; (s = table_next(&a->paths, s)); )
		free(s->value);
	table_free(&a->paths);
}

int
answer_file_count(const char *path, const char *model, const char *precision, uint64_t *n)
{
	struct answer_file a;
	char id[17] = "";
	int r;

	(void)checkpoint_id(model, id);
	r = answer_file_load(&a, path, id, precision);
	*n = a.lines;
	answer_file_free(&a);
	return r;
}

int
answer_file_take(struct answer_file *a, const char *id, size_t n, uint64_t index)
{
	struct buf key = {0};
	struct answer_path *p = NULL;
	int found;

	if (path_key(&key, id, n, index) == 0)
		p = table_get(&a->paths, key.p, key.n);
	found = p && p->left > 0;
	if (found)
		p->left--;
	buf_free(&key);
	return found;
}

/* --- the file of --out --- */

/* A torn last line must look like one, so that no other file is damaged. */
static int
check_torn(int fd, const char *path, off_t size)
{
	off_t end = whole_lines(fd, path);
	char got[sizeof(BEGINNING) - 1];
	size_t n = sizeof(got);

	if (end < 0)
		return -1;
	if (size - end < (off_t)n)
		n = (size_t)(size - end);
	if (pread(fd, got, n, end) != (ssize_t)n || memcmp(got, BEGINNING, n) != 0)
		return fail(FAIL_DATA, "'%s': its last line is not a part of an answer", path);
	return 0;
}

int
answer_file_open(const char *path, int resume)
{
	struct stat st;
	/* (a FIFO or a device is not read) */
	int regular = stat(path, &st) < 0 ? errno == ENOENT : S_ISREG(st.st_mode);
	int how = regular ? O_RDWR : O_WRONLY, r = 0, fd;

	if (!regular && resume && access(path, F_OK) == 0)      /* a FIFO would wait for a reader */
		return fail(FAIL_USAGE, "--resume: '%s' is not a regular file", path);
	fd = open(path, how | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0 || fstat(fd, &st) < 0) {
		fail(FAIL_SYSTEM, "cannot open '%s':", path);
		r = -1;
	} else if (!S_ISREG(st.st_mode)) {
		r = 0;
	} else if (lock_file(fd, path) < 0 || fstat(fd, &st) < 0) {
		r = -1;
	} else if (!resume && st.st_size > 0) {
		r = fail(FAIL_USAGE, "--out '%s': it is not empty: give --resume or another file",
		    path);
	} else if (resume) {
		r = check_torn(fd, path, st.st_size);
	}
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? -1 : fd;
}

void
answer_file_trim(int fd)
{
	struct stat st;
	off_t end = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? whole_lines(fd, "") : -1;

	if (end >= 0 && end < st.st_size && ftruncate(fd, end) < 0)
		return;         /* --resume does it */
}
