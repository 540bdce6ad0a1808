#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "learning/learning_internal.h"

/* Whether a run makes files of that name there. */
static int
is_own(const char *name)
{
	static const char *const ends[] = {".safetensors", ".safetensors.part", STATE_FILE};
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (n >= strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
			return 1;
	return 0;
}

void
shard_folder_remove(const char *path)
{
	char name[PATH_MAX];
	DIR *d = opendir(path);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (is_own(e->d_name) && io_path(name, sizeof(name), path, e->d_name) == 0)
			(void)unlink(name);
	if (d)
		closedir(d);
	(void)rmdir(path);
}

int
shard_folder_make(const char *path)
{
	shard_folder_remove(path);
	return mkdir(path, 0777) == 0 ? 0 : fail(FAIL_SYSTEM, "cannot create '%s':", path);
}
