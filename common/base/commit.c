#include "base/commit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"

#define PATH_BYTES 4096

int
commit_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return fail(FAIL_SYSTEM, "cannot open '%s':", path);
	/* some file systems cannot synchronise a folder: EINVAL */
	if (fsync(fd) < 0 && errno != EINVAL)
		r = fail(FAIL_SYSTEM, "'%s': cannot write:", path);
	close(fd);
	return r;
}

int
commit_folder(const char *path)
{
	char file[PATH_BYTES];
	const struct dirent *e;
	DIR *d = opendir(path);
	int r = 0;

	if (!d)
		return fail(FAIL_SYSTEM, "cannot read '%s':", path);
	while (r == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, "..") != 0)
			r = io_path(file, sizeof(file), path, e->d_name) < 0 ? -1 :
			    commit_sync(file);
	closedir(d);
	return r;
}

char *
commit_parent(char *to, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (!slash)
		return strcpy(to, ".");
	memcpy(to, path, n);
	to[n] = 0;
	return n > 0 ? to : strcpy(to, "/");
}

int
commit_file(const char *part, const char *path)
{
	char parent[PATH_BYTES];

	if (strlen(path) >= sizeof(parent))
		return fail(FAIL_SYSTEM, "'%.200s...': the path is too long", path);
	if (commit_sync(part) < 0)
		return -1;
	if (rename(part, path) < 0)
		return fail(FAIL_SYSTEM, "cannot rename '%s' to '%s':", part, path);
	return commit_sync(commit_parent(parent, path));
}
