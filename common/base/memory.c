#include "base/memory.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Control groups of a kernel's version: the type of file system, and the files of a group. */
static const struct version {
	const char *type, *limit, *used, *cached;
} versions[] = {
	{"cgroup", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "},
	{"cgroup2", "memory.max", "memory.current", "inactive_file "},
};

#define VERSIONS (sizeof(versions) / sizeof(versions[0]))
#define LINE_BYTES (2 * PATH_MAX)

/* The number after a word of a small file; UINT64_MAX: there is none. */
static uint64_t
number_in(const char *dir, const char *file, const char *word)
{
	char path[PATH_MAX], line[256];
	uint64_t v = UINT64_MAX;
	size_t n = strlen(word);
	FILE *f = NULL;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) < (int)sizeof(path))
		f = fopen(path, "re");
	while (f && v == UINT64_MAX && fgets(line, sizeof(line), f))
		if (strncmp(line, word, n) == 0 && sscanf(line + n, "%" SCNu64, &v) != 1)
			v = UINT64_MAX;
	if (f)
		fclose(f);
	return v;
}

/* A comma-separated list has the word. */
static int
has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *s = list; (s = strstr(s, word)); s += n)
		if ((s == list || s[-1] == ',') && (!s[n] || s[n] == ','))
			return 1;
	return 0;
}

/* A line "ID:CONTROLLERS:PATH" of /proc/self/cgroup; without controllers it is version 2. */
static const char *
group_path(char *line, const struct version *v)
{
	char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

	if (!path)
		return NULL;
	*path++ = 0;
	path[strcspn(path, "\n")] = 0;
	return (v == versions ? has_word(list + 1, "memory") : !list[1]) ? path : NULL;
}

/* A line of /proc/self/mountinfo: the folder of it that is mounted, where, the type of file
 * system, and its options.  0 if it is of the version. */
static int
parse_mount(const char *line, const struct version *v, char *top, char *at)
{
	const char *rest = strstr(line, " - ");
	char type[16], options[256];

	if (!rest || sscanf(line, "%*s %*s %*s %4095s %4095s", top, at) != 2 ||
	    sscanf(rest, " - %15s %*s %255s", type, options) != 2 || strcmp(type, v->type) != 0)
		return -1;
	return v != versions || has_word(options, "memory") ? 0 : -1;
}

static FILE *
open_self(const char *root, const char *file)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/proc/self/%s", root, file) < (int)sizeof(path) ?
	    fopen(path, "re") : NULL;
}

/* The folder of the process's own group, and the length of the part that is the mount; 0, or -1:
 * there is none.  A path outside of the mounted folder is that of another namespace. */
static int
find_group(const char *root, const struct version *v, char dir[PATH_MAX], size_t *mount)
{
	char line[LINE_BYTES], own[LINE_BYTES] = "", top[PATH_MAX], at[PATH_MAX];
	const char *path = NULL;
	FILE *f = open_self(root, "cgroup");
	size_t n;
	int r = -1;

	while (f && !path && fgets(own, sizeof(own), f))
		path = group_path(own, v);
	if (f)
		fclose(f);
	f = path ? open_self(root, "mountinfo") : NULL;
	while (f && r < 0 && fgets(line, sizeof(line), f))
		r = parse_mount(line, v, top, at);
	if (f)
		fclose(f);
	if (r < 0)
		return -1;
	n = strcmp(top, "/") == 0 ? 0 : strlen(top);
	if (strncmp(path, top, n) != 0 || (path[n] && path[n] != '/'))
		path += strlen(path);
	else
		path += n;
	*mount = strlen(root) + strlen(at);
	return snprintf(dir, PATH_MAX, "%s%s%s", root, at, path) < PATH_MAX ? 0 : -1;
}

/* The least that a group and all groups around it have: left, or in all. */
static uint64_t
least_of_groups(const char *root, const struct version *v, int left)
{
	uint64_t least = UINT64_MAX, max, used, cached;
	char dir[PATH_MAX];
	size_t mount;

	if (find_group(root, v, dir, &mount) < 0)
		return least;
	for (;;) {
		char *slash = strrchr(dir, '/');

		max = number_in(dir, v->limit, "");
		used = left ? number_in(dir, v->used, "") : 0;
		if (max != UINT64_MAX && used != UINT64_MAX) {
			cached = left ? number_in(dir, "memory.stat", v->cached) : 0;
			used -= cached < used ? cached : 0;
			max = max > used ? max - used : 0;
			least = max < least ? max : least;
		}
		if (!slash || (size_t)(slash - dir) < mount)
			return least;
		*slash = 0;
	}
}

static uint64_t
least(const char *root, const char *word, int left)
{
	uint64_t kib, bytes;
	char proc[PATH_MAX];

	(void)snprintf(proc, sizeof(proc), "%s/proc", root);
	kib = number_in(proc, "meminfo", word);
	bytes = kib == UINT64_MAX ? 0 : kib * 1024;
	for (size_t i = 0; i < VERSIONS; i++) {
		uint64_t of_groups = least_of_groups(root, &versions[i], left);

		if (of_groups != UINT64_MAX && (bytes == 0 || of_groups < bytes))
			bytes = of_groups;
	}
	return bytes;
}

uint64_t
memory_free_below(const char *root)
{
	return least(root, "MemAvailable:", 1);
}

uint64_t
memory_all_below(const char *root)
{
	return least(root, "MemTotal:", 0);
}

uint64_t
memory_free(void)
{
	return memory_free_below("");
}

uint64_t
memory_all(void)
{
	return memory_all_below("");
}
