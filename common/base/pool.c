#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"

#define SHARE_COST 1e5          /* multiply-adds worth sharing, about 7 us of work */
#define CLAIMS 2                /* by which a thread claims its share at least */
#define AWAKE 100e-6            /* seconds that a thread polls before it sleeps */
#define LOOKS 8                 /* polls between two reads of the clock */

struct task {
	void (*fn)(void *arg, size_t from, size_t to, int thread);
	void *arg;
	size_t n, grain;
};

/*
 * A task is cut into units of `grain` indices, and each thread has a share of them: neighbours, so
 * that a thread has the same indices of equal tasks. A thread claims units from the front of its
 * own share. If that is empty, it steals from the end of the largest share that is left.
 */
struct share {
	_Alignas(64) _Atomic uint64_t units;    /* not claimed: the first, and 2^32 times the end */
};

struct worker {
	struct pool *pool;
	int thread;
	pthread_t id;
};

/*
 * The caller fills in `task`, then publishes it by storing the shares. A thread claims units, runs
 * them, and decreases `unfinished`. The caller returns once `unfinished` is 0 and does not wait for
 * threads that claimed none.
 */
struct pool {
	int n;                  /* threads, the caller's included */
	struct worker *workers; /* [n], the first one unused */
	int started;            /* workers; they start with the first task that is shared */
	int refused;            /* the system has no more threads */
	atomic_int *core;       /* [n] core that each thread runs on; -1: asleep */
	struct share *shares;   /* [n] */
	struct task task;
	_Atomic uint32_t most;  /* units that a thread claims at once */
	atomic_int stop;
	_Alignas(64) atomic_int unfinished; /* units not finished */
	_Alignas(64) atomic_int asleep; /* workers waiting for `ready` */
	atomic_int waiting;     /* the caller waits for `done` */
	pthread_mutex_t lock;   /* held to wait and to signal */
	pthread_cond_t ready, done;
};

static uint32_t
units_in(uint64_t share)
{
	return (uint32_t)(share >> 32) - (uint32_t)share;
}

/* The thread whose share has the most units left, -1 if none has any. */
static int
richest(struct pool *p)
{
	int best = -1;
	uint32_t most = 0;

	for (int i = 0; i < p->n; i++) {
		uint32_t n = units_in(atomic_load(&p->shares[i].units));

		if (n > most) {
			most = n;
			best = i;
		}
	}
	return best;
}

/* Claim some units of a share: half of it at most, so that threads finish at about the same time.
 * Returns how many, 0 if it is empty. */
static uint32_t
claim_of(struct pool *p, int share, int own, uint32_t *first)
{
	_Atomic uint64_t *units = &p->shares[share].units;
	uint64_t was = atomic_load(units), is;
	uint32_t n, most = atomic_load(&p->most);

	do {
		n = (units_in(was) + 1) / 2;
		if (n == 0)
			return 0;
		n = n < most ? n : most;
		*first = own ? (uint32_t)was : (uint32_t)(was >> 32) - n;
		is = own ? was + n : was - ((uint64_t)n << 32);
	} while (!atomic_compare_exchange_weak(units, &was, is));
	return n;
}

static uint32_t
claim_units(struct pool *p, int thread, uint32_t *first)
{
	uint32_t n = claim_of(p, thread, 1, first);
	int from;

	while (n == 0 && (from = richest(p)) >= 0)
		n = claim_of(p, from, 0, first);
	return n;
}

static void
run_units(struct pool *p, int thread)
{
	const struct task *t = &p->task;
	uint32_t first, n;

	while ((n = claim_units(p, thread, &first)) > 0) {
		size_t from = (size_t)first * t->grain, to = from + (size_t)n * t->grain;

		t->fn(t->arg, from, to < t->n ? to : t->n, thread);
		if (atomic_fetch_sub(&p->unfinished, (int)n) == (int)n && atomic_load(&p->waiting)) {
			pthread_mutex_lock(&p->lock);
			pthread_cond_signal(&p->done);
			pthread_mutex_unlock(&p->lock);
		}
	}
}

static int
has_work(struct pool *p)
{
	return richest(p) >= 0 || atomic_load(&p->stop);
}

static int
is_finished(struct pool *p)
{
	return atomic_load(&p->unfinished) == 0;
}

/* Poll for a while, since waking a thread takes longer than many a task. Yields the processor to
 * all other threads meanwhile. */
static int
spin_until(struct pool *p, int (*what)(struct pool *p))
{
	double until = clock_now() + AWAKE;

	do {
		for (int i = 0; i < LOOKS; i++) {
			if (what(p))
				return 1;
			sched_yield();
		}
	} while (clock_now() < until);
	return 0;
}

/* 1 if no thread with a lower number runs on this thread's core. The scheduler separates threads
 * at wake-up, but only slowly while they are awake. */
static int
has_core(struct pool *p, int thread)
{
	int core = sched_getcpu();

	if (atomic_load(&p->core[thread]) != core)
		atomic_store(&p->core[thread], core);
	while (--thread >= 0 && atomic_load(&p->core[thread]) != core)
		;
	return thread < 0;
}

static void *
worker_main(void *arg)
{
	const struct worker *w = arg;
	struct pool *p = w->pool;

	while (!atomic_load(&p->stop)) {
		run_units(p, w->thread);
		if (has_core(p, w->thread) && spin_until(p, has_work))
			continue;
		atomic_store(&p->core[w->thread], -1);
		pthread_mutex_lock(&p->lock);
		atomic_fetch_add(&p->asleep, 1);
		while (!has_work(p))
			pthread_cond_wait(&p->ready, &p->lock);
		atomic_fetch_sub(&p->asleep, 1);
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

/* Panels of kernels take up to 2 MiB of the stack of a thread. */
enum { STACK = 8 << 20 };

/* The caller's stack grows to what the soft limit then is. */
static int
stack_room(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_STACK, &l) < 0 || l.rlim_cur >= STACK)
		return 0;
	l.rlim_cur = STACK;
	if (setrlimit(RLIMIT_STACK, &l) < 0)
		return fail(FAIL_SYSTEM, "the stack is limited to %llu KiB: use ulimit -s %d",
		    (unsigned long long)l.rlim_max >> 10, STACK >> 10);
	return 0;
}

static int
start_thread(struct worker *w)
{
	pthread_attr_t attr;
	int r;

	if (pthread_attr_init(&attr) != 0)
		return -1;
	r = pthread_attr_setstacksize(&attr, STACK) == 0 &&
	    pthread_create(&w->id, &attr, worker_main, w) == 0 ? 0 : -1;
	(void)pthread_attr_destroy(&attr);
	return r;
}

/* Many stages never have a task to share: with a hundred cores, a hundred threads each. */
static void
start_threads(struct pool *p)
{
	while (p->started < p->n - 1 && !p->refused) {
		struct worker *w = &p->workers[p->started + 1];

		*w = (struct worker){.pool = p, .thread = p->started + 1};
		if (start_thread(w) == 0) {
			p->started++;
			continue;
		}
		p->refused = 1;
		warn("cannot start thread %d of %d, and computes with %d: use a smaller -t",
		    p->started + 2, p->n, p->started + 1);
	}
}

struct pool *
pool_new(int n)
{
	struct pool *p;

	if (stack_room() < 0)
		return NULL;
	p = mem_new(1, sizeof(*p));
	if (!p || !(p->workers = mem_new((size_t)n, sizeof(*p->workers))) ||
	    !(p->core = mem_new((size_t)n, sizeof(*p->core))) ||
	    !(p->shares = mem_new((size_t)n, sizeof(*p->shares)))) {
		if (p) {
			free(p->workers);
			free(p->core);
		}
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->ready, NULL);
	pthread_cond_init(&p->done, NULL);
	p->n = n;
	return p;
}

static void
wake(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	pthread_cond_broadcast(&p->ready);
	pthread_mutex_unlock(&p->lock);
}

void
pool_free(struct pool *p)
{
	if (!p)
		return;
	atomic_store(&p->stop, 1);
	wake(p);
	for (int i = 1; i <= p->started; i++)
		pthread_join(p->workers[i].id, NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->ready);
	pthread_cond_destroy(&p->done);
	free(p->workers);
	free(p->core);
	free(p->shares);
	free(p);
}

int
pool_threads(const struct pool *p)
{
	return p->n;
}

static void
wait_finished(struct pool *p)
{
	if (spin_until(p, is_finished))
		return;
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->waiting, 1);
	while (!is_finished(p))
		pthread_cond_wait(&p->done, &p->lock);
	atomic_store(&p->waiting, 0);
	pthread_mutex_unlock(&p->lock);
}

void
pool_run(struct pool *p, size_t n, size_t grain, double cost,
    void (*fn)(void *arg, size_t from, size_t to, int thread), void *arg)
{
	size_t units = (n + grain - 1) / grain, threads;

	if (n == 0)
		return;
	if (p->n == 1 || (double)n * cost < SHARE_COST || units == 1) {
		fn(arg, 0, n, 0);
		return;
	}
	start_threads(p);
	threads = (size_t)p->started + 1;
	(void)has_core(p, 0);
	p->task = (struct task){fn, arg, n, grain};
	atomic_store(&p->unfinished, (int)units);
	atomic_store(&p->most, (uint32_t)((units + CLAIMS * threads - 1) / (CLAIMS * threads)));
	for (size_t i = 0; i < threads; i++)
		atomic_store(&p->shares[i].units, (uint64_t)(units * i / threads) |
		    (uint64_t)(units * (i + 1) / threads) << 32);
	if (atomic_load(&p->asleep) > 0)
		wake(p);
	run_units(p, 0);
	wait_finished(p);
}
