/* The pool: each index once, by threads that sleep again when there is nothing to do. */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/pool.h"
#include "point.h"

#define MOST 1000
#define SHARED 1e9      /* a cost that is worth sharing, whatever n is */

static struct {
	size_t n, grain;
	int threads;
	int plain[MOST];        /* how often, by the one that has the index: no two may */
	atomic_int bad;
} g;

static void
count(void *arg, size_t from, size_t to, int thread)
{
	(void)arg;
	if (from >= to || to > g.n || from % g.grain != 0 || (to % g.grain != 0 && to != g.n) || thread < 0 || thread >= g.threads)
		atomic_store(&g.bad, 1);
	for (size_t i = from; i < to && i < MOST; i++)
		g.plain[i]++;
}

static void
pause_for(double seconds)
{
	struct timespec t = {.tv_nsec = (long)(seconds * 1e9)};

	nanosleep(&t, NULL);
}

/* A job; whether all of it was done, once. */
static int
covers(struct pool *p, size_t n, size_t grain, double cost)
{
	int good;

	memset(g.plain, 0, sizeof(g.plain));
	g.n = n;
	g.grain = grain;
	g.threads = pool_threads(p);
	pool_run(p, n, grain, cost, count, NULL);
	good = !atomic_load(&g.bad);
	for (size_t i = 0; i < MOST; i++)
		good &= g.plain[i] == (i < n);
	return good;
}

/* Jobs of all sizes, at once behind one another or when all threads sleep. */
static int
many(int threads, int jobs, double apart)
{
	struct pool *p = pool_new(threads);
	int good = p != NULL;

	for (int i = 0; good && i < jobs; i++) {
		good = covers(p, (size_t)(i * 37 % MOST), (size_t)(1 + i % 17), i % 5 ? SHARED : 1);
		if (apart > 0)
			pause_for(apart);
	}
	pool_free(p);
	return good;
}

/* The first range waits until all others are done. */
static void
wait_first(void *arg, size_t from, size_t to, int thread)
{
	atomic_size_t *others = arg;

	(void)thread;
	if (from > 0)
		atomic_fetch_add(others, to - from);
	while (from == 0 && atomic_load(others) + to < MOST)
		sched_yield();
}

/* Whether other threads steal the rest of a thread's share. */
static int
steals(int threads)
{
	struct pool *p = pool_new(threads);
	atomic_size_t others = 0;

	if (!p)
		return 0;
	pool_run(p, MOST, 1, SHARED, wait_first, &others);
	pool_free(p);
	return atomic_load(&others) < MOST && atomic_load(&others) >= MOST / 2;
}

static double
processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Processor time that the threads of a pool take in a second without work. */
static double
idle_time(int threads)
{
	struct pool *p = pool_new(threads);
	double before, start;

	if (!p)
		return 1;
	(void)covers(p, MOST, 1, SHARED);
	pause_for(0.05);        /* for a while they look for more */
	before = processor_time();
	start = clock_now();
	pause_for(0.2);
	before = (processor_time() - before) / (clock_now() - start);
	pool_free(p);
	return before;
}

/* Bytes of address space that this process has. */
static rlim_t
address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* Threads start with the first shared job.  Here the system has no room for their stacks of 8 MiB.
 * (It would give them those of earlier threads: this comes first.) */
static int
refused(int threads)
{
	struct pool *p = pool_new(threads);
	char said[200] = "";
	struct rlimit was, less;
	int to[2], err = dup(2), good;

	if (!p || pipe(to) < 0 || dup2(to[1], 2) < 0 || getrlimit(RLIMIT_AS, &was) < 0)
		return 0;
	less = (struct rlimit){address_space() + (4 << 20), was.rlim_max};
	good = setrlimit(RLIMIT_AS, &less) == 0 && covers(p, MOST, 1, SHARED);
	good = setrlimit(RLIMIT_AS, &was) == 0 && covers(p, MOST, 1, SHARED) && good;
	pool_free(p);
	(void)dup2(err, 2);
	close(to[1]);
	good = read(to[0], said, sizeof(said) - 1) > 0 && good;
	return good && strstr(said, "cannot start thread 2 of 3, and computes with 1") &&
	    strchr(said, '\n')[1] == '\0';
}

int
main(void)
{
	point(refused(3), "without other threads the caller does all, after one warning");
	point(many(1, 1000, 0), "one thread does all indices once");
	point(many(2, 20000, 0), "two do");
	point(many(7, 3000, 0), "seven do, on however many cores");
	point(many(3, 200, 5e-4), "so do threads that slept");
	point(many(2, 200, 1e-4), "and threads that were about to sleep");
	point(steals(2) && steals(5), "what a thread is late for is done by others");
	point(idle_time(4) < 0.01, "threads without work take no processor time");
	printf("1..%d\n", points);
	return failures > 0;
}
