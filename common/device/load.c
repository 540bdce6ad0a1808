#include "device/device_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"

#define NAME "libdspipe-cuda.so"

/* Where the library is: DS_CUDA, or beside the program, or where make install puts it. */
static int
find(char *path, size_t size)
{
	static const char *const places[] = {NAME, "../lib/dspipe/" NAME};
	const char *dir = program_folder(), *given = getenv("DS_CUDA");

	/* a bare name is a file here, not one that the system looks for */
	if (given && *given) {
		snprintf(path, size, "%s%s", strchr(given, '/') ? "" : "./", given);
		return 0;
	}
	for (int i = 0; dir && i < 2; i++)
		if (io_path(path, size, dir, places[i]) == 0 && access(path, F_OK) == 0)
			return 0;
	return fail(FAIL_SYSTEM,
	    "no %s in '%s' or its ../lib/dspipe: make builds it where nvcc is, DS_CUDA may name one elsewhere",
	    NAME, dir ? dir : "?");
}

int
gpu_load(const struct gpu_lib **lib)
{
	const struct gpu_lib *(*table)(void);
	char path[4096];
	void *so, *symbol;

	if (find(path, sizeof(path)) < 0)
		return -1;
	/* never closed: the driver's threads may run until the process ends */
	if (!(so = dlopen(path, RTLD_NOW | RTLD_LOCAL)))
		return fail(FAIL_SYSTEM, "cannot load the GPU library: %s", dlerror());
	if (!(symbol = dlsym(so, GPU_SYMBOL)))
		return fail(FAIL_SYSTEM, "'%s' is no GPU library of dspipe", path);
	memcpy(&table, &symbol, sizeof(table));         /* ISO C has no cast for that */
	*lib = table();
	if ((*lib)->version != GPU_VERSION)
		return fail(FAIL_SYSTEM, "'%s' is of version %d, this program needs %d: "
		    "build both from the same source",
		    path, (*lib)->version, GPU_VERSION);
	return 0;
}
