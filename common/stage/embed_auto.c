/*
 * The number of batches in flight, found by hill climbing on tokens per second.
 *
 * The rate of one window is compared with that of the window before, which had another number.  A
 * number that is not faster by FASTER is given up, since a row costs less in a larger batch.  If
 * neither more nor fewer batches help, the number stays for a while, which doubles each time.
 */
#include "base/clock.h"
#include "stage/embed_internal.h"

#define FRAMES 6                /* of the loop in a window, at least */
#define SECONDS 0.1             /* likewise */
#define FASTER 1.05
#define REST_MAX 64             /* windows */

/* A new window, after the batches that are in flight now.  */
static void
window_begin(struct embed_auto *a, int batches)
{
	a->skip = batches + 1;
	a->frames = 0;
	a->rows = 0;
	a->sequences = 0;
}

/* Try another number from here: in the direction that was successful, or the other one.  */
static void
probe(struct embed *e)
{
	struct embed_auto *a = &e->tune;
	int to = e->batches + a->direction;

	if (to < 1 || to > EMBED_BATCHES_MAX || (size_t)to > e->sampling) {
		a->direction = -a->direction;
		a->failed++;
		return;
	}
	a->base = a->rate;
	a->from = e->batches;
	e->batches = to;
}

static void
decide(struct embed *e)
{
	struct embed_auto *a = &e->tune;

	if (a->from > 0) {
		int better = a->rate > a->base * (e->batches > a->from ? FASTER : 1 / FASTER);

		a->failed = better ? 0 : a->failed + 1;
		if (!better) {
			e->batches = a->from;
			a->direction = -a->direction;
		}
		a->from = 0;
		if (a->failed < 2)
			return;         /* the next window measures this number */
	} else if (a->rest > 0) {
		a->rest--;
		return;
	} else if (a->failed < 2) {
		probe(e);
		return;
	}
	a->failed = 0;
	a->pause = a->pause < REST_MAX ? 2 * a->pause + 1 : REST_MAX;
	a->rest = a->pause;
}

void
auto_returned(struct embed *e, int rows)
{
	struct embed_auto *a = &e->tune;
	double now;

	if (!a->on)
		return;
	if (a->skip > 0) {
		a->skip--;
		a->start = clock_now();
		return;
	}
	a->frames++;
	a->rows += (uint64_t)rows;
	a->sequences += e->sampling;
	now = clock_now();
	if (a->frames < FRAMES * e->batches || now - a->start < SECONDS)
		return;
	/* a rate counts only beside one of about as many sequences */
	a->rate = (double)a->rows / (now - a->start);
	if (a->last > 0 && (a->sequences / a->frames > a->last * 9 / 8 ||
	    a->sequences / a->frames < a->last * 7 / 8)) {
		e->batches = a->from > 0 ? a->from : e->batches;
		a->from = 0;
		a->pause = a->rest = 0;
	} else {
		decide(e);
	}
	a->last = a->sequences / a->frames;
	window_begin(a, e->batches);
}
