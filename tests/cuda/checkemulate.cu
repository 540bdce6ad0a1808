/*
 * The emulated GPU itself: what threads do together, what it refuses, orders.  -b: how fast it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "launch.cuh"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#define AFTER "AddressSanitizer: use-after-poison"
#else
#define __sanitizer_set_report_path(path) ((void)(path))
#define AFTER "byte 0 after 40 bytes"
#endif

static int points, failures;
static struct gpu g;

static void
ok(int good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++points, what);
	failures += !good;
}

static void *
device(size_t bytes)
{
	void *p;

	if (cudaMalloc(&p, bytes))
		exit(1);
	return p;
}

/* out, n bytes, is read back, and freed. */
static void
fetch(void *to, void *out, size_t n)
{
	if (cudaMemcpyAsync(to, out, n, cudaMemcpyDeviceToHost, g.stream) || cudaStreamSynchronize(g.stream))
		exit(1);
	cudaFree(out);
}

/* Sum of 0 .. blockDim-1 by shuffles and shared memory, to each thread; then turned round by shared memory, eight times. */
static __global__ void
together(unsigned *out, int rounds)
{
	SHARED(unsigned, all);
	unsigned i = threadIdx.x, n = blockDim.x, sum = i, got;
	__shared__ unsigned part[32];

	for (int k = 16; k > 0; k /= 2)
		sum += __shfl_xor_sync(~0u, sum, k);
	if (i % 32 == 0)
		part[i / 32] = sum;
	__syncthreads();
	sum = i % 32 < n / 32 ? part[i % 32] : 0;
	for (int k = 16; k > 0; k /= 2)
		sum += __shfl_down_sync(~0u, sum, k);
	sum = __shfl_sync(~0u, sum, 0);
	got = i;
	for (int k = 0; k < rounds; k++) {
		all[i] = got;
		__syncthreads();
		got = all[n - 1 - i];
		__syncthreads();
	}
	if (__ballot_sync(~0u, i & 1) != 0xaaaaaaaa || __syncthreads_count(i < 5) != 5 || !__any_sync(~0u, i % 32 == 7) ||
	    __all_sync(~0u, i % 32 == 7))
		sum = 0;
	out[(blockIdx.y * gridDim.x + blockIdx.x) * n + i] = sum * 1000 + got;
}

static int
same_together(int threads, dim3 grid, int rounds)
{
	size_t n = (size_t)threads * grid.x * grid.y, bytes = n * 4;
	unsigned *out = (unsigned *)device(bytes), *host = (unsigned *)malloc(bytes);
	int bad = launch(&g, together, grid, dim3((unsigned)threads), (size_t)threads * 4, out, rounds) < 0;

	fetch(host, out, bytes);
	for (size_t i = 0; i < n; i++) {
		unsigned at = (unsigned)(i % (size_t)threads);

		bad |= host[i] != (unsigned)(threads * (threads - 1) / 2) * 1000 + (rounds % 2 ? (unsigned)threads - 1 - at : at);
	}
	free(host);
	return !bad;
}

/* Lanes of half a warp, each half at its own. */
static __global__ void
halves(int *out)
{
	int lane = (int)threadIdx.x % 32, v = lane;

	if (lane < 16) {
		for (int k = 8; k > 0; k /= 2)
			v += __shfl_xor_sync(0xffff, v, k);
	} else {
		v = __shfl_up_sync(0xffff0000, v, 1, 16);
	}
	out[threadIdx.x] = v;
}

static int
same_halves(void)
{
	int host[64], *out = (int *)device(sizeof(host)), bad = launch(&g, halves, 1, 64, 0, out) < 0;

	fetch(host, out, sizeof(host));
	for (int i = 0; i < 64; i++)
		bad |= host[i] != (i % 32 < 16 ? 120 : i % 32 == 16 ? 16 : i % 32 - 1);
	return !bad;
}

static __global__ void
copies(const int *in, int *out)
{
	SHARED(int, s);
	unsigned i = threadIdx.x;

	for (unsigned k = 0; k < 4; k++) {
		emulate_async(&s[k * 32 + i], &in[k * 32 + i], k == 3 ? 0 : 4, k == 3 ? 4 : 0);
		emulate_async_commit();
	}
	emulate_async_wait(2);
	out[i] = s[i];
	out[32 + i] = s[32 + i];
	out[64 + i] = s[64 + i];        /* has not come: NaN */
	emulate_async_wait(0);
	out[96 + i] = s[96 + i];
}

static int
same_copies(void)
{
	int *in = (int *)device(512), *out = (int *)device(512), host[128], bad;

	for (int i = 0; i < 128; i++)
		host[i] = i;
	bad = cudaMemcpyAsync(in, host, 512, cudaMemcpyHostToDevice, g.stream) != cudaSuccess ||
	    launch(&g, copies, 1, 32, 512, in, out) < 0 || cudaStreamSynchronize(g.stream) != cudaSuccess;
	fetch(host, out, 512);
	for (int i = 0; i < 128; i++)
		bad |= host[i] != (i < 64 ? i : i < 96 ? -1 : 0);
	cudaFree(in);
	return !bad;
}

static __global__ void
count(unsigned long long *n)
{
	atomicAdd(n, 1ull);
}

/*
 * What must not be
 */

static __global__ void
leaves(int)
{
	if (threadIdx.x < 32)
		return;
	__syncthreads();
}

static __global__ void
lane_missing(int)
{
	if (threadIdx.x != 3)
		__syncwarp();
}

static __global__ void
other_operation(int)
{
	if (threadIdx.x & 1)
		__syncwarp();
	else
		__ballot_sync(~0u, 1);
}

static __global__ void
never_waited(int)
{
	SHARED(int, s);

	emulate_async(s, s, 0, 4);
}

static __global__ void
after_its_memory(int *p, int at)
{
	p[at] = 1;
}

/* Does a process end by it, with these words? */
static int
dies(void (*what)(void), const char *words)
{
	char text[4096];
	int fd[2], status;
	ssize_t n, all = 0;
	pid_t p;

	if (pipe(fd) < 0 || (p = fork()) < 0)
		exit(1);
	if (p == 0) {
		dup2(fd[1], 2);
		__sanitizer_set_report_path("stderr");
		what();
		_exit(0);
	}
	close(fd[1]);
	while (all < (ssize_t)sizeof(text) - 1 && (n = read(fd[0], text + all, sizeof(text) - 1 - (size_t)all)) > 0)
		all += n;
	text[all] = 0;
	close(fd[0]);
	if (waitpid(p, &status, 0) != p)
		exit(1);
	if (strstr(text, words) && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return 1;
	printf("# status %x: %s\n", (unsigned)status, text);
	return 0;
}

template <void (*kernel)(int)> static void
run(void)
{
	if (launch(&g, kernel, 1, 64, 64, 0) == 0)
		cudaStreamSynchronize(g.stream);
}

static void
write_after(void)
{
	int *p = (int *)device(40);

	if (launch(&g, after_its_memory, 1, 1, 0, p, 10) == 0)
		cudaStreamSynchronize(g.stream);
	cudaFree(p);
}

static void
host_reads(void)
{
	volatile int *p = (volatile int *)device(40);

	_exit(*p * 0);
}

static void
refusals(void)
{
	ok(launch(&g, leaves, dim3(0), 32, 0, 0) < 0, "a grid of no blocks is refused");
	ok(launch(&g, leaves, dim3(1, 65536), 32, 0, 0) < 0, "one that is too large is refused");
	ok(launch(&g, leaves, 1, 1025, 0, 0) < 0, "a block that is too large is refused");
	ok(launch(&g, leaves, 1, 32, 300000, 0) < 0, "so much shared memory is refused");
	ok(dies(run<leaves>, "of 64 threads 32 wait at a barrier, 0 for others of their warp, and 32 have returned"),
	    "a barrier that others have left is told");
	ok(dies(run<lane_missing>, "31 for others of their warp"), "a lane that does not come is told");
	ok(dies(run<other_operation>, "different operations"), "lanes at different operations are told");
	ok(dies(run<never_waited>, "without waiting"), "copies that are not waited for are reported");
	ok(dies(write_after, AFTER), "a write after device memory is reported");
	ok(dies(host_reads, ""), "the host cannot follow a device's pointer");
}

/*
 * How fast
 */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void
rates(void)
{
	unsigned long long *n = (unsigned long long *)device(8);
	unsigned *out = (unsigned *)device(256 * sizeof(*out));
	double t = now();

	for (int i = 0; i < 20; i++)
		if (launch(&g, count, 1000, 256, 0, n) < 0)
			exit(1);
	cudaStreamSynchronize(g.stream);
	printf("# %.1f ns a thread without barriers\n", (now() - t) / (20 * 256e3) * 1e9);
	t = now();
	if (launch(&g, together, 1, 256, 1024, out, 10000) < 0)
		exit(1);
	cudaStreamSynchronize(g.stream);
	printf("# %.1f ns a thread and barrier\n", (now() - t) / (20000 * 256.) * 1e9);
	t = now();
	for (int i = 0; i < 5000; i++)
		if (launch(&g, together, 1, 256, 1024, out, 0) < 0)
			exit(1);
	cudaStreamSynchronize(g.stream);
	printf("# %.1f ns a thread and shuffle or the like\n", (now() - t) / (5000 * 256 * 15.) * 1e9);
	t = now();
	for (int i = 0; i < 20000; i++)
		if (launch(&g, count, 1, 32, 0, n) < 0 || cudaStreamSynchronize(g.stream) != cudaSuccess)
			exit(1);
	printf("# %.2f us a small launch and wait\n", (now() - t) / 20000 * 1e6);
	device((size_t)7 << 20);
	t = now();
	for (int i = 0; i < 100; i++)
		if (launch(&g, count, 1, 32, 0, n) < 0 || cudaStreamSynchronize(g.stream) != cudaSuccess)
			exit(1);
	printf("# %.2f us the same with 7 MiB in use\n", (now() - t) / 100 * 1e6);
}

int
main(int argc, char **)
{
	static const char *const orders[] = { "forward", "reverse", "1", "2", "3" };
	unsigned long long *n, got;

	g.shared_most = 227 << 10;
	if (cudaStreamCreateWithFlags(&g.stream, cudaStreamNonBlocking))
		return 1;
	if (argc > 1) {
		rates();
		return 0;
	}
	for (const char *order : orders) {
		setenv("DS_EMULATE_ORDER", order, 1);
		printf("# order %s\n", order);
		ok(same_together(32, 1, 1) && same_together(256, dim3(7, 3), 8) && same_together(1024, 3, 5),
		    "sums by shuffles and barriers");
		ok(same_halves(), "halves of a warp");
		ok(same_copies(), "asynchronous copies come when they are waited for");
	}
	n = (unsigned long long *)device(8);
	cudaMemsetAsync(n, 0, 8, g.stream);
	ok(launch(&g, count, dim3(3, 5, 7), dim3(4, 3, 5), 0, n) == 0, "threads in three dimensions");
	fetch(&got, n, 8);
	ok(got == 105ull * 60, "every thread runs once");
	refusals();
	cudaStreamDestroy(g.stream);
	printf("1..%d\n", points);
	return failures != 0;
}
