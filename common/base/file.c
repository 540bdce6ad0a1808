#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"

static const char pointer[] = "version https://git-lfs.github.com/spec/v1";

/* A mapping that the signal handler can name. Entries are never freed but reused, because the
 * handler may walk the list at any time, in any thread. */
struct mapped {
	struct mapped *next, *spare;    /* all entries; the next unused one */
	_Atomic(const unsigned char *) p;       /* NULL: unused */
	size_t n;
	dev_t dev;
	ino_t ino;
	char *path;
};

static _Atomic(struct mapped *) list;
static struct mapped *spares;           /* protected by lock() */
static atomic_flag changing = ATOMIC_FLAG_INIT;

int
file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* Open a regular file. Returns the descriptor, or -1 and a message. */
static int
open_regular(const char *path, struct stat *st)
{
	/* O_NONBLOCK: a FIFO without a writer opens at once; regular files ignore it */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno != ENXIO)           /* a socket gives ENXIO */
		return fail(FAIL_DATA, "cannot open '%s':", path);
	if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	if (fd >= 0)
		close(fd);
	return fail(FAIL_DATA, "'%s': not a regular file", path);
}

static int
check_pointer(const void *p, size_t n)
{
	if (n < sizeof(pointer) - 1 || memcmp(p, pointer, sizeof(pointer) - 1) != 0)
		return 0;
	return fail(FAIL_DATA, "a Git LFS pointer, not the file itself: fetch that with 'git lfs pull'");
}

int
file_read(const char *path, struct buf *b, size_t max)
{
	struct stat st;
	int fd = open_regular(path, &st), r;

	if (fd < 0)
		return -1;
	r = io_slurp(fd, b, max) < 0 || check_pointer(b->p, b->n) < 0 ? -1 : 0;
	close(fd);
	return r < 0 ? fail_in("'%s'", path) : 0;
}

static void
lock(void)
{
	while (atomic_flag_test_and_set(&changing))
		;
}

static struct mapped *
list_add(const char *path, const struct stat *st, const unsigned char *p, size_t n)
{
	struct mapped *e;
	char *copy = strdup(path);

	if (!copy)
		return NULL;
	lock();
	e = spares;
	if (e) {
		spares = e->spare;
	} else if ((e = calloc(1, sizeof(*e)))) {
		e->next = atomic_load(&list);
		atomic_store(&list, e);
	}
	if (e) {
		e->path = copy;
		e->n = n;
		e->dev = st->st_dev;
		e->ino = st->st_ino;
		atomic_store(&e->p, p);
	} else {
		free(copy);
	}
	atomic_flag_clear(&changing);
	return e;
}

int
file_map(struct file_map *m, const char *path)
{
	struct stat st;
	int fd = open_regular(path, &st);
	size_t n;
	void *p;

	if (fd < 0)
		return -1;
	n = (size_t)st.st_size;
	if (n == 0) {
		close(fd);
		return fail(FAIL_DATA, "'%s': the file is empty", path);
	}
	p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return fail(FAIL_SYSTEM, "'%s': cannot map %zu bytes:", path, n);
	*m = (struct file_map){.p = p, .n = n, .known = list_add(path, &st, p, n)};
	if (!m->known)
		fail(FAIL_SYSTEM, "no memory for a path");
	else if (check_pointer(p, n) == 0)
		return 0;
	fail_in("'%s'", path);
	file_unmap(m);
	return -1;
}

int
file_map_private(struct file_map *m)
{
	const struct mapped *e = m->known;
	void *at = (void *)(uintptr_t)m->p;
	struct stat st;
	int fd = open_regular(e->path, &st), r = 0;

	if (fd < 0)
		return -1;
	if (st.st_dev != e->dev || st.st_ino != e->ino || (size_t)st.st_size != m->n)
		r = fail(FAIL_DATA, "'%s': the file was replaced while it was in use", e->path);
	else if (mmap(at, m->n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
	    0) == MAP_FAILED)
		r = fail(FAIL_SYSTEM, "'%s': cannot map %zu bytes as private memory:", e->path,
		    m->n);
	close(fd);
	return r;
}

void
file_map_drop(const struct file_map *m)
{
	if (m->p)
		(void)madvise((void *)(uintptr_t)m->p, m->n, MADV_DONTNEED);
}

void
file_unmap(struct file_map *m)
{
	char *path = NULL;

	if (!m->p)
		return;
	munmap((void *)(uintptr_t)m->p, m->n);
	if (m->known) {
		lock();
		path = m->known->path;
		m->known->path = NULL;
		atomic_store(&m->known->p, NULL);
		m->known->spare = spares;
		spares = m->known;
		atomic_flag_clear(&changing);
	}
	free(path);
	*m = (struct file_map){0};
}

/* --- the signal handler: async-signal-safe calls only --- */

struct line {
	char text[1024];
	size_t n;
};

static void
line_add(struct line *l, const char *s)
{
	for (; *s && l->n < sizeof(l->text) - 1; s++)
		l->text[l->n++] = (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s;
}

static void
line_number(struct line *l, unsigned long long x)
{
	char digits[24];
	size_t i = sizeof(digits);

	digits[--i] = 0;
	do
		digits[--i] = (char)('0' + x % 10);
	while (x /= 10);
	line_add(l, digits + i);
}

static void
on_bus(int sig, siginfo_t *info, void *context)
{
	static atomic_flag reported = ATOMIC_FLAG_INIT;
	const unsigned char *at = info->si_addr;
	struct mapped *e = atomic_load(&list);
	struct line l = {.n = 0};
	struct stat st;

	(void)context;
	for (; e; e = e->next) {
		const unsigned char *p = atomic_load(&e->p);

		if (p && at >= p && (size_t)(at - p) < (e->n | 4095) + 1)
			break;
	}
	if (!e) {                      /* not one of ours: raise it again, which ends the process */
		signal(sig, SIG_DFL);
		return;
	}
	while (atomic_flag_test_and_set(&reported))
		pause();                /* another thread is writing the line */
	line_add(&l, program);
	line_add(&l, ": '");
	line_add(&l, e->path);
	line_add(&l, "': ");
	if (stat(e->path, &st) == 0 && st.st_dev == e->dev && st.st_ino == e->ino && (size_t)st.st_size < e->n) {
		line_add(&l, "cut short while it was in use: ");
		line_number(&l, e->n);
		line_add(&l, " bytes were mapped, the file has ");
		line_number(&l, (unsigned long long)st.st_size);
	} else {
		line_add(&l, "the system cannot read byte ");
		line_number(&l, (unsigned long long)(at - atomic_load(&e->p)));
		line_add(&l, " of the mapped file");
	}
	l.text[l.n++] = '\n';
	if (write(2, l.text, l.n) < 0)
		_exit(FAIL_SYSTEM);
	_exit(FAIL_SYSTEM);
}

void
file_guard(void)
{
	struct sigaction a = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};

	sigemptyset(&a.sa_mask);
	(void)sigaction(SIGBUS, &a, NULL);
}
