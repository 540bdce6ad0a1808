#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"

#define SHARE_COST 1.5e6        /* multiply-adds that are worth waking a thread for: some 100 us of them */

struct job {
	void (*fn)(void *arg, size_t from, size_t to, int thread);
	void *arg;
	size_t n, step;
};

struct pool {
	int n;                  /* threads, the caller's included */
	pthread_t *threads;     /* [n - 1] */
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct job job;
	atomic_size_t next;     /* the first index that nobody has taken */
	unsigned round;         /* grows with each job */
	int busy;               /* threads that still work on it */
	int stop;
};

struct worker {
	struct pool *pool;
	int thread;
};

static void
take_ranges(struct pool *p, int thread)
{
	const struct job *j = &p->job;
	size_t from;

	while ((from = atomic_fetch_add(&p->next, j->step)) < j->n)
		j->fn(j->arg, from, from + j->step < j->n ? from + j->step : j->n, thread);
}

static void *
work(void *arg)
{
	struct worker w = *(struct worker *)arg;
	struct pool *p = w.pool;
	unsigned seen = 0;

	free(arg);
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (p->round == seen && !p->stop)
			pthread_cond_wait(&p->work, &p->lock);
		if (p->stop)
			break;
		seen = p->round;
		pthread_mutex_unlock(&p->lock);
		take_ranges(p, w.thread);
		pthread_mutex_lock(&p->lock);
		if (--p->busy == 0)
			pthread_cond_signal(&p->done);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct pool *
pool_new(int n)
{
	struct pool *p = mem_new(1, sizeof(*p));

	if (!p || !(p->threads = mem_new((size_t)n, sizeof(*p->threads)))) {
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->done, NULL);
	for (p->n = 1; p->n < n; p->n++) {
		struct worker *w = mem_new(1, sizeof(*w));

		if (w)
			*w = (struct worker){p, p->n};
		if (!w || pthread_create(&p->threads[p->n - 1], NULL, work, w) != 0) {
			free(w);
			pool_free(p);
			fail(FAIL_SYSTEM, "cannot start thread %d of %d: use a smaller -t", p->n + 1, n);
			return NULL;
		}
	}
	return p;
}

void
pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = 1;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < p->n - 1; i++)
		pthread_join(p->threads[i], NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->done);
	free(p->threads);
	free(p);
}

int
pool_threads(const struct pool *p)
{
	return p->n;
}

void
pool_run(struct pool *p, size_t n, size_t grain, double cost,
    void (*fn)(void *arg, size_t from, size_t to, int thread), void *arg)
{
	size_t step = (n / ((size_t)p->n * 4) + grain) / grain * grain;

	if (n == 0)
		return;
	if (p->n == 1 || (double)n * cost < SHARE_COST || n <= grain) {
		fn(arg, 0, n, 0);
		return;
	}
	pthread_mutex_lock(&p->lock);
	p->job = (struct job){fn, arg, n, step};
	atomic_store(&p->next, 0);
	p->round++;
	p->busy = p->n - 1;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	take_ranges(p, 0);
	pthread_mutex_lock(&p->lock);
	while (p->busy > 0)
		pthread_cond_wait(&p->done, &p->lock);
	pthread_mutex_unlock(&p->lock);
}
