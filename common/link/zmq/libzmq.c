#include "link/zmq/libzmq.h"

#include <dlfcn.h>
#include <string.h>

#include "base/fail.h"
#include "link/zmq/guard.h"

#define FILE_NAME "libzmq.so.5"

struct libzmq libzmq;

/* The table as an array of pointers, in the order of the names. */
union slots {
	struct libzmq calls;
	void *p[sizeof(struct libzmq) / sizeof(void *)];
};

int
libzmq_load(void)
{
#define X(name) #name,
	static const char *const names[] = {LIBZMQ_CALLS(X)};
#undef X
	static void *lib;
	union slots s;

	if (lib)
		return 0;
	if (!(lib = dlopen(FILE_NAME, RTLD_LAZY))) {
		const char *why = dlerror();

		return fail(FAIL_SYSTEM, "cannot load libzmq, which tcp://, ipc:// and keys need: %s%s", why,
		    strstr(why, "failed to map") ? "" : " (Debian has it in libzmq5)");
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!(s.p[i] = dlsym(lib, names[i]))) {
			lib = NULL;
			return fail(FAIL_SYSTEM, FILE_NAME " has no function '%s': libzmq 4.3 or later is required", names[i]);
		}
	libzmq = s.calls;
	guard_aborts(s.p[0]);
	return 0;
}
