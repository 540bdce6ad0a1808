/* The GPU library: the device, its memory, copies, marks, recordings, memory of another process. */
/* only: asan */
#include <sys/wait.h>

#include "gpu.h"
#include "numbers.h"

static int
says(const char *words)
{
	if (strstr(lib->error(), words))
		return 1;
	printf("# %s\n", lib->error());
	return 0;
}

static int
emulated(void)
{
	return strcmp(lib->kind, "emulated") == 0;
}

static void
devices(void)
{
	struct gpu_about a;
	struct gpu *other;
	int n = 0;

	ok(lib->count(&n) == 0 && n > 0, "there is a GPU");
	ok(lib->open(&other, n) < 0 && !other && says("there is no GPU"), "one more than there are is refused");
	ok(lib->open(&other, -1) < 0, "and one below the first");
	ok(lib->about(gpu, &a) == 0 && a.name[0] && a.major >= 8 && a.processors > 0 && a.free > 0 && a.free <= a.memory,
	    "it says what it is");
	ok(lib->open(&other, 0) == 0 && other, "it can be opened twice");
	lib->close(other);
	lib->close(NULL);
}

/* What only an emulated one can be asked to have. */
static void
no_devices(void)
{
	struct gpu *other;
	int n = 7;

	if (!emulated())
		return;
	setenv("DS_EMULATE_DEVICES", "0", 1);
	ok(lib->count(&n) == 0 && n == 0, "where there is none, none is counted");
	ok(lib->open(&other, 0) < 0 && says("there is no GPU here"), "and none opened");
	setenv("DS_EMULATE_DEVICES", "none", 1);
	ok(lib->count(&n) < 0 && says("there is no NVIDIA driver here"), "no driver");
	ok(lib->open(&other, 0) < 0 && says("there is no NVIDIA driver here"), "no driver, when it is opened");
	setenv("DS_EMULATE_DEVICES", "old", 1);
	ok(lib->open(&other, 0) < 0 && says("the NVIDIA driver is one for CUDA 11.4, and 13.0 is needed"), "an old driver");
	unsetenv("DS_EMULATE_DEVICES");
	setenv("DS_EMULATE_CAPABILITY", "75", 1);
	ok(lib->open(&other, 0) < 0 && says("compute capability 7.5, and 8.0 is needed"), "an old GPU");
	unsetenv("DS_EMULATE_CAPABILITY");
	setenv("DS_EMULATE_DEVICES", "2", 1);
	ok(lib->count(&n) == 0 && n == 2 && lib->open(&other, 1) == 0, "the second of two");
	lib->close(other);
	unsetenv("DS_EMULATE_DEVICES");
}

static void
memory(void)
{
	struct gpu_about before, with, after;
	size_t much = (size_t)1 << 46;
	void *p, *q;
	char words[64];

	gpu_must(lib->about(gpu, &before));
	ok(lib->alloc(gpu, &p, 40 << 20) == 0 && (uintptr_t)p % 256 == 0, "memory, aligned");
	gpu_must(lib->about(gpu, &with));
	snprintf(words, sizeof(words), "%zu bytes of the GPU's memory are needed, and ", much);
	ok(lib->alloc(gpu, &q, much) < 0 && !q && says(words), "too much is refused, and says how much was needed");
	lib->free(gpu, p);
	gpu_must(lib->about(gpu, &after));
	ok(with.free <= before.free - (32 << 20) && after.free > with.free, "what is free changes");
	ok(lib->alloc(gpu, &p, 0) == 0 && p, "no bytes are some");
	lib->free(gpu, p);
	lib->free(gpu, NULL);
	ok(lib->pin(gpu, &p, 1000) == 0 && p, "pinned memory");
	memset(p, 1, 1000);
	lib->unpin(gpu, p);
	lib->unpin(gpu, NULL);
}

static void
copies(void)
{
	static const size_t lengths[] = { 1, 3, 255, 256, 257, 4096, 100001, 1 << 20 };
	unsigned char *pinned, *host = malloc(1 << 20), *back = malloc(1 << 20);
	int good = 1, filled = 1;

	gpu_must(lib->pin(gpu, (void **)&pinned, 1 << 20));
	for (int i = 0; i < COUNT(lengths); i++) {
		size_t n = lengths[i];
		unsigned char *a = in_gpu(n), *b = in_gpu(n);

		for (size_t k = 0; k < n; k++)
			host[k] = (unsigned char)random32();
		memcpy(pinned, host, n);
		gpu_must(lib->upload(gpu, a, pinned, n));
		gpu_must(lib->copy(gpu, b, a, n));
		from_gpu(back, b, n);
		good &= memcmp(back, host, n) == 0;
		gpu_must(lib->upload(gpu, b, host + n / 2, n - n / 2));
		gpu_must(lib->download(gpu, pinned, b, n - n / 2));
		gpu_must(lib->wait(gpu));
		good &= memcmp(pinned, host + n / 2, n - n / 2) == 0;
		gpu_must(lib->fill(gpu, a + n / 3, 0x5c, n - n / 3));
		from_gpu(back, a, n);
		for (size_t k = 0; k < n; k++)
			filled &= back[k] == (k < n / 3 ? host[k] : 0x5c);
		good &= gpu_clear();
	}
	ok(good, "what goes up comes down, through copies, pinned and not");
	ok(filled, "memory is filled");
	ok(lib->upload(gpu, in_gpu(8), host, 0) == 0 && lib->download(gpu, back, in_gpu(8), 0) == 0 && gpu_clear(), "no bytes are copied");
	lib->unpin(gpu, pinned);
	free(host);
	free(back);
}

static void
marks(void)
{
	unsigned char *a = in_gpu(1 << 20), *host = malloc(1 << 20);
	double t = -1, u = -1;
	int good = 1;

	for (int i = 0; i < GPU_MARKS; i++)
		good &= lib->passed(gpu, i) == 0;
	ok(good, "a mark that was never put is passed");
	gpu_must(lib->mark(gpu, 0));
	gpu_must(lib->fill(gpu, a, 7, 1 << 20));
	gpu_must(lib->download(gpu, host, a, 1 << 20));
	gpu_must(lib->mark(gpu, 1));
	gpu_must(lib->fill(gpu, a, 9, 1 << 20));
	gpu_must(lib->mark(gpu, GPU_MARKS - 1));
	ok(lib->passed(gpu, 1) == 0 && host[0] == 7 && host[(1 << 20) - 1] == 7, "passed waits for what is before the mark");
	ok(lib->passed(gpu, GPU_MARKS - 1) == 0 && lib->between(gpu, 0, 1, &t) == 0 && lib->between(gpu, 0, GPU_MARKS - 1, &u) == 0 &&
	    t >= 0 && u >= t && u < 10, "time passes between marks");
	free(host);
	gpu_clear();
}

static void
recordings(void)
{
	unsigned char one[64], two[64], *a = in_gpu(64), *b = in_gpu(64), *pinned;
	struct gpu_graph *g, *none;

	gpu_must(lib->pin(gpu, (void **)&pinned, 64));
	memset(pinned, 1, 64);
	memset(two, 2, 64);
	again_to_gpu(a, two, 64);
	gpu_must(lib->record(gpu));
	gpu_must(lib->copy(gpu, b, a, 64));
	gpu_must(lib->upload(gpu, a, pinned, 64));
	gpu_must(lib->fill(gpu, a + 32, 3, 32));
	ok(lib->recorded(gpu, &g) == 0 && g, "a recording");
	from_gpu(one, b, 64);
	ok(one[0] == GPU_POISON, "what is recorded is not done");
	memset(pinned, 4, 64);
	gpu_must(lib->replay(gpu, g));
	from_gpu(one, b, 64);
	from_gpu(two, a, 64);
	ok(one[0] == 2 && one[63] == 2 && two[0] == 4 && two[63] == 3, "a replay reads numbers again");
	gpu_must(lib->replay(gpu, g));
	gpu_must(lib->replay(gpu, g));
	from_gpu(one, b, 64);
	ok(one[0] == 4 && one[63] == 3, "it can be replayed often");
	lib->graph_free(g);
	lib->graph_free(NULL);
	gpu_must(lib->record(gpu));
	gpu_must(lib->copy(gpu, b, a, 64));
	ok(lib->wait(gpu) < 0, "nobody can wait within a recording");
	ok(lib->recorded(gpu, &none) < 0 && !none, "which then fails");
	gpu_must(lib->fill(gpu, a, 5, 64));
	from_gpu(one, a, 64);
	ok(one[0] == 5, "and work goes on");
	lib->unpin(gpu, pinned);
	ok(gpu_clear(), "guards");
}

/*
 * Memory of another process
 */

static void
whole(int fd, void *p, size_t n, int out)
{
	if ((out ? write(fd, p, n) : read(fd, p, n)) != (ssize_t)n)
		exit(1);
}

/* The other process: adds what it sees to what it gets, and writes there. */
static int
other(void)
{
	unsigned char handle[GPU_IPC], seen[1000];
	void *p;

	gpu_start();
	whole(0, handle, sizeof(handle), 0);
	if (lib->ipc_open(gpu, handle, &p) < 0) {
		fprintf(stderr, "# %s\n", lib->error());
		return 1;
	}
	from_gpu(seen, p, sizeof(seen));
	for (size_t i = 0; i < sizeof(seen); i++)
		seen[i] ^= 0x55;
	gpu_must(lib->upload(gpu, p, seen, sizeof(seen)));
	gpu_must(lib->wait(gpu));
	lib->ipc_close(gpu, p);
	lib->close(gpu);
	return 0;
}

static void
shared(const char *self)
{
	unsigned char handle[GPU_IPC], host[1000], back[1000];
	void *p, *q;
	int to[2], status = 1, same = 1;
	pid_t child;

	for (size_t i = 0; i < sizeof(host); i++)
		host[i] = (unsigned char)random32();
	gpu_must(lib->alloc(gpu, &q, 100));     /* so that it is not the first of its memory */
	gpu_must(lib->alloc(gpu, &p, sizeof(host)));
	again_to_gpu(p, host, sizeof(host));
	ok(lib->ipc_export(gpu, p, handle) == 0, "a handle of memory");
	ok(lib->ipc_export(gpu, host, handle) < 0, "none of the host's");
	gpu_must(lib->ipc_export(gpu, p, handle));
	if (pipe(to) < 0 || (child = fork()) < 0)
		exit(1);
	if (child == 0) {
		dup2(to[0], 0);
		dup2(2, 1);
		execl("/proc/self/exe", self, "other", (char *)NULL);
		_exit(1);
	}
	whole(to[1], handle, sizeof(handle), 1);
	ok(waitpid(child, &status, 0) == child && status == 0, "another process takes it");
	from_gpu(back, p, sizeof(back));
	for (size_t i = 0; i < sizeof(host); i++)
		same &= back[i] == (host[i] ^ 0x55);
	ok(same, "it saw what was there, and what it wrote is there");
	memset(handle, 0, sizeof(handle));
	ok(lib->ipc_open(gpu, handle, &p) < 0 && !p, "a handle of nothing is refused");
	lib->free(gpu, q);
}

/* Behind its first two members the table is functions. */
static void
table(void)
{
	int missing = 0;

	for (size_t at = offsetof(struct gpu_lib, error); at < sizeof(*lib); at += sizeof(void *)) {
		void *f;

		memcpy(&f, (const char *)lib + at, sizeof(f));
		missing += f == NULL;
	}
	ok(missing == 0, "no function of the table is missing");
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "other") == 0)
		return other();
	gpu_start();
	table();
	devices();
	no_devices();
	memory();
	copies();
	marks();
	recordings();
	shared(argv[0]);
	lib->close(gpu);
	printf("1..%d\n", points);
	return failures != 0;
}
