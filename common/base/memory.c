#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The number after a word of a small file; UINT64_MAX: there is none. */
static uint64_t
number_in(const char *path, const char *word)
{
	char line[256];
	uint64_t v = UINT64_MAX;
	size_t n = strlen(word);
	FILE *f = fopen(path, "re");

	while (f && v == UINT64_MAX && fgets(line, sizeof(line), f))
		if (strncmp(line, word, n) == 0 && sscanf(line + n, "%" SCNu64, &v) != 1)
			v = UINT64_MAX;
	if (f)
		fclose(f);
	return v;
}

uint64_t
memory_free(void)
{
	uint64_t kib = number_in("/proc/meminfo", "MemAvailable:");
	uint64_t max = number_in("/sys/fs/cgroup/memory.max", "");
	uint64_t used = number_in("/sys/fs/cgroup/memory.current", "");
	uint64_t cached = number_in("/sys/fs/cgroup/memory.stat", "inactive_file ");
	uint64_t machine = kib == UINT64_MAX ? 0 : kib * 1024;

	if (max == UINT64_MAX || used == UINT64_MAX)
		return machine;
	used -= cached < used ? cached : 0;
	max = max > used ? max - used : 0;
	return machine == 0 || max < machine ? max : machine;
}

uint64_t
memory_all(void)
{
	uint64_t kib = number_in("/proc/meminfo", "MemTotal:");
	uint64_t max = number_in("/sys/fs/cgroup/memory.max", "");
	uint64_t machine = kib == UINT64_MAX ? 0 : kib * 1024;

	return machine == 0 || max < machine ? max : machine;
}
