#include "weights/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/io.h"

#define HASH_BYTES 16           /* the first ones of SHA-256 */
#define PIECES_MAX 1024
#define PIECE_BYTES_MAX 65536
#define SMALL 8192              /* bytes that one read returns sooner than several pieces of them */
#define READ_COST 1e6           /* of a tensor, for the pool: a few reads */
#define SHORTER (-1)            /* in place of an errno: the file is too short */
#define LATE (-2)               /* the same: the time is over */

static const char first_line[] = "dspipe-manifest 1", whole[] = "whole", unknown[] = "- - -";

/* A tensor and what was read of it. */
struct fingerprint {
	const struct tensor_entry *t;
	const struct shard *shard;
	int fd;
	int error;                      /* 0, an errno, SHORTER or LATE */
	struct tensor_entry *missing;   /* t, with its name alone, where there is no file; else NULL */
	unsigned char hash[HASH_BYTES];
};

struct fingerprints {
	struct fingerprint *v;
	size_t n, cap;
	int *fds;                       /* [nfds] files that are open */
	size_t nfds;
	struct manifest_sample sample;
	double until;                   /* clock_now() at the latest; 0: no limit */
};

/* --- reading --- */

/* n bytes of the file, or -1 and j->error. */
static int
read_bytes(struct fingerprint *j, unsigned char *to, uint64_t from, size_t n)
{
	while (n > 0) {
		ssize_t got = pread(j->fd, to, n, (off_t)from);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			j->error = got < 0 ? errno : SHORTER;
			return -1;
		}
		to += got;
		from += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

static int
add_bytes(struct sha256_ctx *sha, struct fingerprint *j, uint64_t from, uint64_t n)
{
	unsigned char b[65536];

	for (uint64_t part; n > 0; from += part, n -= part) {
		part = n < sizeof(b) ? n : sizeof(b);
		if (read_bytes(j, b, from, part) < 0)
			return -1;
		sha256_update(sha, part, b);
	}
	return 0;
}

static uint64_t
piece_at(const struct manifest_sample *s, uint64_t size, int i)
{
	return s->pieces > 1 ? (size - (uint64_t)s->bytes) * (uint64_t)i / (uint64_t)(s->pieces - 1) : 0;
}

/* Pieces from the first byte to the last, at equal distances; a tensor that is no larger than
 * they are is read whole. */
static void
hash_tensor(struct fingerprint *j, const struct manifest_sample *s)
{
	uint64_t size = j->t->end - j->t->begin, piece = (uint64_t)s->bytes;
	int n = s->pieces, all = n == 0 || size <= (uint64_t)n * piece;
	unsigned char small[SMALL];
	struct sha256_ctx sha;

	sha256_init(&sha);
	if (all ? add_bytes(&sha, j, j->t->begin, size) < 0 : size <= SMALL && read_bytes(j, small, j->t->begin, size) < 0)
		return;
	for (int i = 0; !all && i < n; i++)
		if (size <= SMALL)
			sha256_update(&sha, piece, small + piece_at(s, size, i));
		else if (add_bytes(&sha, j, j->t->begin + piece_at(s, size, i), piece) < 0)
			return;
	sha256_digest(&sha, HASH_BYTES, j->hash);
}

static void
hash_part(void *arg, size_t from, size_t to, int thread)
{
	struct fingerprints *all = arg;

	(void)thread;
	for (size_t i = from; i < to; i++)
		if (all->until > 0 && clock_now() > all->until)
			all->v[i].error = LATE;
		else if (!all->v[i].missing)
			hash_tensor(&all->v[i], &all->sample);
}

static int
hash_all(struct fingerprints *all, struct pool *pool)
{
	if (all->sample.seconds > 0)
		all->until = clock_now() + all->sample.seconds;
	pool_run(pool, all->n, 1, READ_COST, hash_part, all);
	for (size_t i = 0; i < all->n; i++) {
		const struct fingerprint *j = &all->v[i];

		errno = j->error;
		if (j->error == LATE)
			return fail(FAIL_SYSTEM, "'%s': samples of the weights are not read within %g seconds", j->shard->path,
			    all->sample.seconds);
		if (j->error == SHORTER)
			return fail(FAIL_DATA, "'%s': it ends within tensor '%s'", j->shard->path, j->t->name);
		if (j->error)
			return fail(FAIL_SYSTEM, "'%s': cannot read:", j->shard->path);
	}
	return 0;
}

/* --- which tensors --- */

int
manifest_mapped(void *arg, const struct tensor_entry *t)
{
	(void)arg;
	return t->mapped;
}

/* The tensors of an open file that the filter accepts and the index has in this file. */
static int
add_shard(struct fingerprints *all, const struct checkpoint *c, const struct shard *s,
    manifest_filter *filter, void *arg)
{
	int fd = -1;

	for (size_t i = 0; i < s->file.n; i++) {
		const struct tensor_entry *t = &s->file.tensors[i];

		if ((filter && !filter(arg, t)) || table_get(&c->files, t->name, strlen(t->name)) != s)
			continue;
		if (fd < 0 && (fd = open(s->path, O_RDONLY | O_CLOEXEC)) < 0)
			return fail(FAIL_SYSTEM, "'%s': cannot open:", s->path);
		if (fd >= 0 && (all->nfds == 0 || all->fds[all->nfds - 1] != fd))
			all->fds[all->nfds++] = fd;
		if (mem_grow(&all->v, &all->cap, all->n + 1, sizeof(*all->v)) < 0)
			return -1;
		all->v[all->n++] = (struct fingerprint){.t = t, .shard = s, .fd = fd};
	}
	return 0;
}

static int
is_selected(const struct checkpoint *c, const struct shard *s, manifest_filter *filter,
    void *arg)
{
	for (struct table_slot *t = NULL; (t = table_next(&c->files, t)); ) {
		const struct tensor_entry named = {.name = t->key};

		if (t->value == s && (!filter || filter(arg, &named)))
			return 1;
	}
	return 0;
}

/* The same of a file that does not exist. */
static int
add_missing(struct fingerprints *all, const struct checkpoint *c, const struct shard *s,
    manifest_filter *filter, void *arg, size_t *missing)
{
	for (struct table_slot *t = NULL; (t = table_next(&c->files, t)); ) {
		const struct tensor_entry named = {.name = t->key};
		struct fingerprint j = {.shard = s, .fd = -1};

		if (t->value != s || (filter && !filter(arg, &named)))
			continue;
		if (mem_grow(&all->v, &all->cap, all->n + 1, sizeof(*all->v)) < 0 ||
		    !(j.missing = mem_new(1, sizeof(*j.missing))))
			return -1;
		*j.missing = named;
		j.t = j.missing;
		all->v[all->n++] = j;
		(*missing)++;
	}
	return 0;
}

/* opens: also files that are not open yet; missing not NULL: also files that do not exist. */
static int
add_tensors(struct fingerprints *all, struct checkpoint *c, manifest_filter *filter, void *arg,
    int opens, size_t *missing)
{
	if (!(all->fds = mem_new(c->nshards, sizeof(*all->fds))))
		return -1;
	for (size_t i = 0; i < c->nshards; i++) {
		struct shard *s = &c->shards[i];

		if (!s->file.map.p && (!opens || !is_selected(c, s, filter, arg)))
			continue;
		if (missing && !s->file.map.p && access(s->path, F_OK) < 0) {
			if (add_missing(all, c, s, filter, arg, missing) < 0)
				return -1;
			continue;
		}
		if (shard_open(s) < 0 || add_shard(all, c, s, filter, arg) < 0)
			return -1;
	}
	return 0;
}

static void
fingerprints_close(struct fingerprints *all)
{
	for (size_t i = 0; i < all->nfds; i++)
		close(all->fds[i]);
	for (size_t i = 0; i < all->n; i++)
		free(all->v[i].missing);
	free(all->fds);
	free(all->v);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct fingerprint *)a)->t->name, ((const struct fingerprint *)b)->t->name);
}

/* --- text --- */

/* "HASH DTYPE [ROWS,COLS]" */
static int
add_entry(struct buf *to, const struct fingerprint *j)
{
	static const char digit[] = "0123456789abcdef";
	char hash[2 * HASH_BYTES];
	int r;

	if (j->missing)
		return buf_addf(to, "%s", unknown);
	for (int i = 0; i < 2 * HASH_BYTES; i++)
		hash[i] = digit[j->hash[i / 2] >> (i % 2 ? 0 : 4) & 15];
	r = buf_add(to, hash, sizeof(hash)) < 0 ? -1 : buf_addf(to, " %s [", j->t->dtype_text);
	for (int i = 0; i < j->t->rank && r == 0; i++)
		r = buf_addf(to, "%s%llu", i ? "," : "", (unsigned long long)j->t->shape[i]);
	return r < 0 ? -1 : buf_addc(to, ']');
}

static int
add_line(struct buf *to, const struct fingerprint *j)
{
	for (const char *s = j->t->name; *s; s++)
		if ((unsigned char)*s < ' ')
			return fail(FAIL_DATA, "'%s': a tensor's name has a control character, 0x%02x: it does not fit a line",
			    j->shard->path, (unsigned char)*s);
	return add_entry(to, j) < 0 ? -1 : buf_addf(to, " %s\n", j->t->name);
}

int
manifest_write(struct buf *to, struct checkpoint *c, struct manifest_sample sample,
    manifest_filter *filter, void *arg, struct pool *pool, size_t *missing, size_t *n)
{
	struct fingerprints all = {.sample = sample};
	int r;

	if (missing)
		*missing = 0;
	r = add_tensors(&all, c, filter, arg, 1, missing) < 0 || hash_all(&all, pool) < 0 ? -1 : 0;
	if (n)
		*n = all.n;

	if (r == 0 && all.n > 0)
		qsort(all.v, all.n, sizeof(*all.v), by_name);
	if (r == 0)
		r = buf_addf(to, "%s\nmodel %s\nsample ", first_line, c->id);
	if (r == 0)
		r = sample.pieces == 0 ? buf_addf(to, "%s\n", whole) : buf_addf(to, "%d %d\n", sample.pieces, sample.bytes);
	for (size_t i = 0; i < all.n && r == 0; i++)
		r = add_line(to, &all.v[i]);
	for (size_t i = 0; i < all.n && r == 0; i++)
		if (all.v[i].missing) {
			fail(FAIL_DATA, "'%s' is not here", all.v[i].shard->path);
			break;
		}
	fingerprints_close(&all);
	return r;
}

/* The next line, its newline replaced by a NUL, and *next moved after it; NULL: there is none. */
static char *
next_line(char **next)
{
	char *line = *next, *end = strchr(line, '\n');

	if (!end)
		return NULL;
	*end = 0;
	*next = end + 1;
	return line;
}

static int
is_hex(const char *s, size_t n)
{
	return strspn(s, "0123456789abcdef") >= n;
}

static int
read_header(struct manifest *f, char **next)
{
	const char *line = next_line(next);
	char more;

	if (!line || strcmp(line, first_line) != 0)
		return fail(FAIL_DATA, "no manifest: the first line is not '%s'", first_line);
	line = next_line(next);
	if (!line || strncmp(line, "model ", 6) != 0 || strlen(line) != 22 || !is_hex(line + 6, 16))
		return fail(FAIL_DATA, "line 2 is not 'model' and an id");
	memcpy(f->model, line + 6, sizeof(f->model));
	line = next_line(next);
	if (line && strncmp(line, "sample ", 7) == 0 && strcmp(line + 7, whole) == 0)
		return 0;
	if (!line || sscanf(line, "sample %d %d%c", &f->sample.pieces, &f->sample.bytes, &more) != 2 || f->sample.pieces < 1 ||
	    f->sample.pieces > PIECES_MAX || f->sample.bytes < 1 || f->sample.bytes > PIECE_BYTES_MAX)
		return fail(FAIL_DATA, "line 3 is not 'sample %s', or 'sample' with pieces (1 to %d) and bytes (1 to %d)", whole,
		    PIECES_MAX, PIECE_BYTES_MAX);
	return 0;
}

/* HASH DTYPE SHAPE NAME; only the name may have blanks. */
static int
read_line(struct manifest *f, char *line)
{
	char *name = line;

	for (int i = 0; i < 3 && name; i++)
		if ((name = strchr(name, ' ')))
			name++;
	if (!name || !*name || (strncmp(line, unknown, sizeof(unknown) - 1) == 0 ? line[sizeof(unknown) - 1] != ' ' :
	    !is_hex(line, 2 * HASH_BYTES) || line[2 * HASH_BYTES] != ' '))
		return fail(FAIL_DATA, "not a hash of %d digits, a type, a shape and a name", 2 * HASH_BYTES);
	name[-1] = 0;
	if (table_get(&f->lines, name, strlen(name)))
		return fail(FAIL_DATA, "tensor '%.200s' appears twice", name);
	return table_put(&f->lines, name, strlen(name), line);
}

static int
read_text(struct manifest *f)
{
	char *next = (char *)f->text.p, *line;
	size_t lines = 0;

	if (memchr(next, 0, f->text.n))
		return fail(FAIL_DATA, "it has a NUL byte: not a text file");
	for (const char *s = next; (s = strchr(s, '\n')); s++)
		lines++;
	if (read_header(f, &next) < 0 || table_reserve(&f->lines, lines) < 0)
		return -1;
	for (size_t n = 4; (line = next_line(&next)); n++)
		if (read_line(f, line) < 0)
			return fail_in("line %zu", n);
	return *next ? fail(FAIL_DATA, "its last line has no end: it was cut") : 0;
}

int
manifest_open(struct manifest *f, const char *path)
{
	memset(f, 0, sizeof(*f));
	if (io_file(path, &f->text, MANIFEST_BYTES_MAX) == 0 && read_text(f) == 0)
		return 0;
	manifest_close(f);
	return fail_in("manifest '%s'", path);
}

void
manifest_close(struct manifest *f)
{
	table_free(&f->lines);
	buf_free(&f->text);
	memset(f, 0, sizeof(*f));
}

/* --- comparing --- */

/* Does it differ?  Where it does, fail() has kept how. */
static int
differs(const struct manifest *f, const struct fingerprint *j, struct buf *is)
{
	const char *name = j->t->name, *want = table_get(&f->lines, name, strlen(name));

	is->n = 0;
	if (add_entry(is, j) < 0 || buf_addc(is, 0) < 0)
		return -1;
	if (strcmp((char *)is->p, want) == 0)
		return 0;
	if (strcmp((char *)is->p + 2 * HASH_BYTES, want + 2 * HASH_BYTES) != 0)
		fail(FAIL_DATA, "tensor '%s' is%s, the manifest has%s", name, (char *)is->p + 2 * HASH_BYTES, want + 2 * HASH_BYTES);
	else
		fail(FAIL_DATA, "tensor '%s' differs from the manifest: other weights", name);
	return 1;
}

static long
compare(const struct manifest *f, struct fingerprints *all,
    void (*each)(void *arg, const char *name), void *arg)
{
	struct buf is = {0}, first = {0};
	long bad = 0;

	for (size_t i = 0; i < all->n && bad >= 0; i++) {
		int r = differs(f, &all->v[i], &is);

		if (r > 0 && bad == 0)
			r = buf_addf(&first, "%s", fail_text()) < 0 || buf_addc(&first, 0) < 0 ? -1 : 1;
		if (r > 0 && each)
			each(arg, all->v[i].t->name);
		bad = r < 0 ? -1 : bad + r;
	}
	if (bad > 0)
		fail(FAIL_DATA, "%s", (char *)first.p);
	buf_free(&is);
	buf_free(&first);
	return bad;
}

/* Each has a line; leave out those with nothing to compare. */
static int
keep_known(const struct manifest *f, struct fingerprints *all)
{
	size_t n = 0;

	for (size_t i = 0; i < all->n; i++) {
		const char *name = all->v[i].t->name, *want = table_get(&f->lines, name, strlen(name));

		if (!want)
			return fail(FAIL_DATA, "the manifest has no tensor '%s'", name);
		if (strcmp(want, unknown) != 0)
			all->v[n++] = all->v[i];
	}
	all->n = n;
	return 0;
}

long
manifest_compare(const struct manifest *f, struct checkpoint *c, manifest_filter *filter,
    void *arg, struct pool *pool, void (*each)(void *arg, const char *name), long *n)
{
	struct fingerprints all = {.sample = f->sample};
	long bad = -1;

	if (strcmp(f->model, c->id) != 0)
		return fail(FAIL_DATA, "the manifest is of model %s, '%s' is %s: give the program "
		    "that made it (ds-run or ds-info) the same -m", f->model, c->dir, c->id);
	if (add_tensors(&all, c, filter, arg, filter != manifest_mapped, NULL) == 0 &&
	    keep_known(f, &all) == 0 && hash_all(&all, pool) == 0) {
		if (each && all.n > 0)
			qsort(all.v, all.n, sizeof(*all.v), by_name);
		bad = compare(f, &all, each, arg);
		*n = (long)all.n;
	}
	fingerprints_close(&all);
	return bad;
}
