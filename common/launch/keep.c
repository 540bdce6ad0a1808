#include "launch/keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/mem.h"

static int
is_stream(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && strcmp(dot, ".dsf") == 0;
}

int
keep_open(const char *dir)
{
	struct dirent *e;
	DIR *d;
	int r = 0;

	if (mkdir(dir, 0777) < 0 && errno != EEXIST)
		return fail(FAIL_SYSTEM, "cannot create the folder '%s':", dir);
	if (!(d = opendir(dir)))
		return fail(FAIL_SYSTEM, "cannot open the folder '%s':", dir);
	while (r == 0 && (e = readdir(d)))
		if (is_stream(e->d_name))
			r = fail(FAIL_USAGE, "--keep '%s': '%s' exists from another run: give a new folder", dir, e->d_name);
	closedir(d);
	return r;
}

static int
has_output(const struct command *t)
{
	for (int i = 0; i < t->nwords; i++)
		if (strcmp(t->words[i], "-o") == 0)
			return 1;
	return 0;
}

static char *
stream_path(const struct command *t, const char *dir, int i, int width)
{
	size_t size = strlen(dir) + 64;
	char *path = mem_raw(size, 1), layer[24] = "";

	if (t->layer >= 0)
		snprintf(layer, sizeof(layer), "-l%d", t->layer);
	if (path)
		snprintf(path, size, "%s/%0*d-%s%s.dsf", dir, width, i, t->words[0] + strlen("ds-"), layer);
	return path;
}

int
keep_plan(struct plan *p, const char *dir)
{
	int width = p->n > 1000 ? 4 : 3;

	for (int i = 0; i < p->n - 1; i++) {
		struct command *t = &p->commands[i];

		if (!(t->keep = stream_path(t, dir, i, width)))
			return -1;
		if (!has_output(t))
			command_option(t, "-o", "-");
		command_option(t, "-o", t->keep);
	}
	return 0;
}

static int
create(const char *path, const char *dir)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0 && errno == EEXIST)
		return fail(FAIL_USAGE, "--keep '%s': '%s' exists from another run: give a new folder", dir, strrchr(path, '/') + 1);
	if (fd < 0)
		return fail(FAIL_SYSTEM, "cannot open '%s':", path);
	close(fd);
	return 0;
}

int
keep_create(const struct plan *p, const char *dir)
{
	for (int i = 0; i < p->n; i++) {
		if (!p->commands[i].keep || create(p->commands[i].keep, dir) == 0)
			continue;
		while (i-- > 0)
			if (p->commands[i].keep)
				(void)unlink(p->commands[i].keep);
		return -1;
	}
	return 0;
}
