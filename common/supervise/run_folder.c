#include "supervise/run_folder.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"

int
run_folder_make(struct run_folder *f)
{
	const char *tmp = getenv("TMPDIR");

	if (*f->path)
		return 0;
	tmp = tmp && *tmp ? tmp : "/tmp";
	if (snprintf(f->path, sizeof(f->path), "%s/ds-run.XXXXXX", tmp) < (int)sizeof(f->path) &&
	    mkdtemp(f->path))
		return 0;
	*f->path = 0;
	return fail(FAIL_SYSTEM, "cannot create a folder in '%s':", tmp);
}

void
run_folder_remove(struct run_folder *f)
{
	DIR *d = *f->path ? opendir(f->path) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	if (*f->path)
		(void)rmdir(f->path);
	*f->path = 0;
}

int
run_folder_file(struct run_folder *f, const char *name)
{
	char path[sizeof(f->path) + 64];

	if (run_folder_make(f) < 0)
		return -1;
	if (f->file || strchr(name, '/') ||
	    snprintf(path, sizeof(path), "%s/%s", f->path, name) >= (int)sizeof(path))
		return fail(FAIL_DATA, "invalid order 'file %.60s' from the supervisor", name);
	f->file = fopen(path, "wxe");
	return f->file ? 0 : fail(FAIL_SYSTEM, "cannot make '%s':", path);
}

int
run_folder_lines(struct run_folder *f, char **w, int n)
{
	if (!f->file)
		return fail(FAIL_DATA, "order 'lines' without a file from the supervisor");
	for (int i = 0; i < n; i++)
		if (fprintf(f->file, "%s\n", w[i]) < 0)
			return fail(FAIL_SYSTEM, "cannot write to a file in '%s':", f->path);
	return 0;
}

int
run_folder_end_file(struct run_folder *f)
{
	int r = f->file ? fclose(f->file) : 0;

	f->file = NULL;
	return r == 0 ? 0 : fail(FAIL_SYSTEM, "cannot write to a file in '%s':", f->path);
}
