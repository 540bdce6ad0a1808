/*
 * The times of a stream as JSON for Chrome's and Perfetto's trace viewers: a process per host, a
 * thread per stage on it, an event per frame.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/dump/dump_kinds.h"
#include "inspect/times.h"

struct lane {
	int number;
	size_t n;
	unsigned char key[];
};

/* Context of put_event. */
struct event {
	struct dump *d;
	const struct frame *f;
	unsigned long long number;
};

/* Find or add the lane with this key. A new lane gets the number ++*next. */
static const struct lane *
find_lane(struct dump *d, const struct buf *key, int *next, int *is_new)
{
	struct lane *l = table_get(&d->lanes, key->p, key->n);

	*is_new = !l;
	if (l)
		return l;
	if (!(l = malloc(sizeof(*l) + key->n))) {
		fail(FAIL_SYSTEM, "no memory for a stage");
		return NULL;
	}
	l->number = ++*next;
	l->n = key->n;
	memcpy(l->key, key->p, key->n);
	if (table_put(&d->lanes, l->key, l->n, l) < 0) {
		free(l);
		return NULL;
	}
	return l;
}

static void
put_comma(struct dump *d)
{
	fputs(d->printed++ ? ",\n" : "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n", d->to);
}

static void
put_stage(FILE *to, const struct times_entry *e)
{
	frame_json_string(to, e->at.program, e->at.nprogram);
	if (e->at.layer >= 0)
		fprintf(to, " layer %" PRId64, e->at.layer);
}

/* Print the name of a host (tid 0) or of a stage. */
static void
put_name(struct dump *d, const struct times_entry *e, int pid, int tid)
{
	put_comma(d);
	fprintf(d->to, "{\"ph\": \"M\", \"name\": \"%s\", \"pid\": %d, \"tid\": %d, \"args\": {\"name\": \"",
	    tid ? "thread_name" : "process_name", pid, tid);
	if (tid)
		put_stage(d->to, e);
	else
		frame_json_string(d->to, e->at.host, e->at.nhost);
	fputs("\"}}", d->to);
	if (!tid)
		return;
	put_comma(d);
	fprintf(d->to, "{\"ph\": \"M\", \"name\": \"thread_sort_index\", \"pid\": %d, \"tid\": %d, "
	    "\"args\": {\"sort_index\": %d}}", pid, tid, tid);
}

/* Find the numbers of the host and of the stage on it; print the names of new ones. */
static int
find_lanes(struct dump *d, const struct times_entry *e, int *pid, int *tid)
{
	struct buf key = {0};
	const struct lane *host, *stage;
	int is_new, r = -1;

	if (buf_addf(&key, "%" PRIu32 " ", e->at.nhost) < 0 || buf_add(&key, e->at.host, e->at.nhost) < 0 ||
	    !(host = find_lane(d, &key, &d->nhosts, &is_new)))
		goto end;
	*pid = host->number;
	if (is_new)
		put_name(d, e, *pid, 0);
	if (buf_addf(&key, "%" PRId64 " ", e->at.layer) < 0 || buf_add(&key, e->at.program, e->at.nprogram) < 0 ||
	    !(stage = find_lane(d, &key, &d->nstages, &is_new)))
		goto end;
	*tid = stage->number;
	if (is_new)
		put_name(d, e, *pid, *tid);
	r = 0;
end:
	buf_free(&key);
	return r;
}

/* Print nanoseconds as microseconds, exactly. */
static void
put_time(FILE *to, const char *key, int64_t ns)
{
	fprintf(to, ", \"%s\": %s%" PRId64 ".%03d", key, ns < 0 ? "-" : "", (ns < 0 ? -ns : ns) / 1000,
	    (int)((ns < 0 ? -ns : ns) % 1000));
}

static int
put_event(void *arg, const struct times_entry *e)
{
	struct event *v = arg;
	struct dump *d = v->d;
	int pid, tid;

	if (find_lanes(d, e, &pid, &tid) < 0)
		return -1;
	if (d->began == 0)
		d->began = e->start;
	put_comma(d);
	fprintf(d->to, "{\"ph\": \"X\", \"name\": \"");
	put_stage(d->to, e);
	fprintf(d->to, "\", \"pid\": %d, \"tid\": %d", pid, tid);
	put_time(d->to, "ts", e->start - d->began);
	put_time(d->to, "dur", e->end > e->start ? e->end - e->start : 0);
	fprintf(d->to, ", \"args\": {\"frame\": %llu, \"rows\": %" PRIu32 ", \"bytes\": %" PRIu64 "}}",
	    v->number, v->f->rows, e->bytes);
	return 0;
}

int
dump_trace(struct dump *d, const struct frame *f, unsigned long long number)
{
	struct event v = {d, f, number};

	return times_read(f, put_event, &v);
}

void
dump_trace_end(struct dump *d)
{
	fprintf(d->to, "%s\n], \"otherData\": {\"start\": \"%" PRId64 "\"}}\n",
	    d->printed ? "" : "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [", d->began);
}

void
dump_trace_free(struct dump *d)
{
	struct table_slot *s = NULL;

	while ((s = table_next(&d->lanes, s)))
		free(s->value);
	table_free(&d->lanes);
}
