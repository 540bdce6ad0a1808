#include "inspect/source.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "stage/stage.h"

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
add_file(struct source *s, const char *dir, const char *name)
{
	size_t n = (dir ? strlen(dir) + 1 : 0) + strlen(name) + 1;
	char *path = mem_raw(n, 1);

	if (!path || mem_grow(&s->files, &s->cap, s->n + 1, sizeof(*s->files)) < 0) {
		free(path);
		return -1;
	}
	snprintf(path, n, "%s%s%s", dir ? dir : "", dir ? "/" : "", name);
	s->files[s->n++] = path;
	return 0;
}

static int
list_folder(struct source *s, const char *name)
{
	DIR *d = opendir(name);
	struct dirent *e;
	size_t before = s->n;
	int r = 0;

	if (!d)
		return fail(FAIL_SYSTEM, "cannot open '%s':", name);
	while (r == 0 && (e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');

		if (dot && dot != e->d_name && strcmp(dot, ".dsf") == 0)
			r = add_file(s, name, e->d_name);
	}
	closedir(d);
	if (r == 0 && s->n == before)
		return fail(FAIL_SYSTEM, "'%s': a folder without streams (NAME.dsf)", name);
	if (r == 0)
		qsort(s->files + before, s->n - before, sizeof(*s->files), by_name);
	return r;
}

static int
open_next(struct source *s)
{
	if (link_open(&s->in, s->files[s->next], LINK_IN) < 0)
		return -1;
	s->in.joined = 1;
	s->next++;
	s->open = 1;
	return 0;
}

static int
add(struct source *s, const char *name)
{
	struct stat st;

	if (strcmp(name, "-") != 0 && stat(name, &st) == 0 && S_ISDIR(st.st_mode))
		return list_folder(s, name);
	return link_exists(name) < 0 ? -1 : add_file(s, NULL, name);
}

int
source_open_all(struct source *s, const char *const *names, size_t n)
{
	int r = 0;

	memset(s, 0, sizeof(*s));
	s->name = names[0];
	for (size_t i = 0; i < n && r == 0; i++)
		r = add(s, names[i]);
	if (r == 0 && open_next(s) == 0)
		return 0;
	source_close(s);
	return -1;
}

int
source_open(struct source *s, const char *name)
{
	return source_open_all(s, &name, 1);
}

int
source_fd(struct source *s)
{
	return s->open ? link_poll(&s->in).fd : -1;
}

/* End the current stream. cut: it was truncated, for the stored message. */
static int
end_stream(struct source *s, int cut)
{
	if (cut && !s->cut && !(s->cut = strdup(fail_text())))
		return fail(FAIL_SYSTEM, "no memory for a message");
	s->bytes += s->in.bytes;
	s->stream++;
	s->open = 0;
	(void)link_close(&s->in);
	if (s->next < s->n)
		return open_next(s);
	s->ended = 1;
	return 0;
}

int
source_next(struct source *s, struct frame *f, int wait)
{
	while (!s->ended) {
		int r = wait ? link_receive(&s->in, f) : link_try_receive(&s->in, f);
		int over = (wait ? r == 0 : r == -2) && s->in.ended, cut = r < 0 && !over;

		if (r == 0 && !wait)
			return 0;
		if (r == -1 && fail_status() == FAIL_DATA)
			return -1;
		if (r == -2 && !over)
			fail(FAIL_SYSTEM, "%s: ended without an end frame: " LOST_UPSTREAM, s->in.name);
		if (r > 0 && f->op == OP_ERROR) {
			cut = 1;
			stage_upstream(f, NULL);
			fail_in("%s", s->in.name);
		}
		s->frames += r > 0;
		if (r > 0 && !cut && f->op != OP_END)
			return 1;
		frame_free(f);
		if (r > 0 && !cut && link_is_file(&s->in)) {
			s->stream++;    /* another stream may follow */
			if (!wait)
				return 0;
			continue;
		}
		if (end_stream(s, cut) < 0)
			return -1;
		if (!wait)
			return s->ended ? -2 : 0;
	}
	return -2;
}

void
source_close(struct source *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->files[i]);
	free(s->files);
	free(s->cut);
	if (s->open)
		(void)link_close(&s->in);
	memset(s, 0, sizeof(*s));
}
