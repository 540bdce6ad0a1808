/* only: asan */
/* Free memory of control groups of both versions, read from a folder of made-up files. */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "point.h"

#define MIB (UINT64_C(1) << 20)

static char root[200];

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* Write a file below the root, and make its folders. */
static void
put(const char *name, const char *text)
{
	char path[500];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	for (char *s = path + strlen(root) + 1; (s = strchr(s, '/')); *s++ = '/') {
		*s = 0;
		(void)mkdir(path, 0777);
	}
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0) {
		printf("Bail out! cannot write %s\n", path);
		exit(1);
	}
}

static void
put_mib(const char *name, unsigned long mib)
{
	char text[40];

	snprintf(text, sizeof(text), "%lu\n", mib << 20);
	put(name, text);
}

/* What is free, and what there is, in MiB. */
static void
has(unsigned long left, unsigned long all, const char *what)
{
	uint64_t l = memory_free_below(root), a = memory_all_below(root);

	fail(FAIL_DATA, "%llu bytes free of %llu", (unsigned long long)l, (unsigned long long)a);
	point(l == left * MIB && a == all * MIB, what);
}

static void
version_1(void)
{
	put("proc/self/cgroup", "9:name=systemd:/\n5:cpu,memory:/a/b\n0::/\n");
	put("proc/self/mountinfo",
	    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
	    "33 31 0:30 / /cg/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
	    "35 31 0:32 / /cg/memory rw,relatime shared:9 - cgroup cgroup rw,memory,cpu\n"
	    "41 31 0:38 / /cg/unified rw,relatime - cgroup2 cgroup2 rw\n");
	has(3000, 4000, "version 1: no limit leaves the memory of the machine");
	put("cg/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put_mib("cg/memory/memory.usage_in_bytes", 1000);
	put("cg/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
	put_mib("cg/memory/a/b/memory.usage_in_bytes", 10);
	has(3000, 4000, "version 1: nor does one of 2^63");
	put_mib("cg/memory/a/b/memory.limit_in_bytes", 500);
	has(490, 500, "version 1: the limit of the process's own group");
	put("cg/memory/a/b/memory.stat", "inactive_file 1\ntotal_inactive_file 4194304\n");
	has(494, 500, "version 1: less what it uses, but for files that can be dropped");
	put_mib("cg/memory/a/memory.limit_in_bytes", 400);
	put_mib("cg/memory/a/memory.usage_in_bytes", 150);
	has(250, 400, "version 1: a group around it has less");
	put_mib("cg/memory/a/memory.usage_in_bytes", 401);
	has(0, 400, "version 1: a group that uses more than its limit");
}

static void
version_2(void)
{
	put("proc/self/cgroup", "0::/x/y/z\n");
	put("proc/self/mountinfo", "41 31 0:38 / /cg2 rw,relatime - cgroup2 cgroup2 rw\n");
	put("cg2/x/y/z/memory.max", "max\n");
	put_mib("cg2/x/y/z/memory.current", 20);
	has(3000, 4000, "version 2: no limit");
	put_mib("cg2/x/memory.max", 700);
	put_mib("cg2/x/memory.current", 300);
	put("cg2/x/memory.stat", "anon 5\ninactive_file 104857600\n");
	has(500, 700, "version 2: a limit two groups up");
	put_mib("cg2/x/y/z/memory.max", 100);
	has(80, 100, "version 2: its own group has less");
	put("proc/self/mountinfo", "41 31 0:38 /x/y /cg2/x rw,relatime - cgroup2 cgroup2 rw\n");
	put_mib("cg2/x/z/memory.max", 50);
	put_mib("cg2/x/z/memory.current", 10);
	put_mib("cg2/memory.max", 1);
	put_mib("cg2/memory.current", 1);
	has(40, 50, "version 2: a part of the groups is mounted, as in a container");
	put("proc/self/cgroup", "0::/../elsewhere\n");
	has(500, 700, "version 2: a path of another namespace has the limit of the mount");
}

int
main(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%.150s/checkmemory-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(root)) {
		printf("Bail out! no scratch folder\n");
		return 1;
	}
	has(0, 0, "without any file it is unknown");
	put("proc/meminfo", "MemTotal: 4096000 kB\nMemFree: 7 kB\nMemAvailable: 3072000 kB\n");
	has(3000, 4000, "a machine without control groups");
	version_1();
	version_2();
	point(memory_free() > 0 && memory_free() <= memory_all(), "this machine has some");
	(void)nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	printf("1..%d\n", points);
	return failures > 0;
}
