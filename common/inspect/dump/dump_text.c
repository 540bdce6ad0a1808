/*
 * Frames as lines of text: summary and tokens.
 */
#include <math.h>
#include <string.h>

#include "inspect/dump/dump_kinds.h"

#define CHUNK 1024              /* elements converted at a time */

/* Summary of a tensor's values, NaNs excluded. */
struct summary {
	double min, max, sum, squares;
	int64_t least, most;    /* exact, for integers */
	size_t n, nans;
};

static void
add_value(struct summary *s, double v)
{
	if (isnan(v)) {
		s->nans++;
		return;
	}
	s->min = s->n == 0 || v < s->min ? v : s->min;
	s->max = s->n == 0 || v > s->max ? v : s->max;
	s->sum += v;
	s->squares += v * v;
	s->n++;
}

static void
sum_tensor(struct summary *s, const struct tensor *t)
{
	size_t count = tensor_count(t);
	float v[CHUNK];

	memset(s, 0, sizeof(*s));
	if (!tensor_is_float(t)) {
		for (size_t i = 0; i < count; i++) {
			int64_t x = tensor_int(t, i);

			s->least = i == 0 || x < s->least ? x : s->least;
			s->most = i == 0 || x > s->most ? x : s->most;
			add_value(s, (double)x);
		}
		return;
	}
	for (size_t i = 0; i < count; i += CHUNK) {
		int n = (int)(count - i < CHUNK ? count - i : CHUNK);

		tensor_floats(t, i, n, v);
		for (int j = 0; j < n; j++)
			add_value(s, (double)v[j]);
	}
}

void
dump_tensor(FILE *to, const struct tensor *t)
{
	struct summary s;

	sum_tensor(&s, t);
	fputs("  ", to);
	frame_json_string(to, t->name, strlen(t->name));
	fprintf(to, " %s [", dtype_name(t->dtype));
	for (int d = 0; d < t->rank; d++)
		fprintf(to, "%s%llu", d ? ", " : "", (unsigned long long)t->shape[d]);
	if (s.n == 0)
		fputs("] min - max - mean - norm -", to);
	else if (tensor_is_float(t))
		fprintf(to, "] min %.6g max %.6g mean %.6g norm %.6g", s.min, s.max, s.sum / (double)s.n, sqrt(s.squares));
	else
		fprintf(to, "] min %lld max %lld mean %.6g norm %.6g", (long long)s.least, (long long)s.most,
		    s.sum / (double)s.n, sqrt(s.squares));
	fprintf(to, " nan %zu\n", s.nans);
}

static void
text_spans(FILE *to, const struct frame *f)
{
	fprintf(to, ", %u row%s", f->rows, f->rows == 1 ? "" : "s");
	for (int i = 0; i < f->nspans; i++) {
		const struct span *s = &f->spans[i];

		fprintf(to, "%s %llu@%u+%u%s%s%s%s%s", i ? "," : ":", (unsigned long long)s->seq, s->pos, s->n,
		    s->flags & SPAN_SAMPLE ? " sample" : "", s->flags & SPAN_LOGITS ? " logits" : "",
		    s->flags & SPAN_LAST ? " last" : "", s->flags & SPAN_DRAFT ? " draft" : "",
		    s->flags & SPAN_HELD ? " held" : "");
	}
}

/* Print the other header keys, each after a semicolon. */
static void
text_others(FILE *to, const struct frame *f)
{
	if (f->model[0])
		fprintf(to, "; model %s", f->model);
	if (f->precision != PRECISION_F32)
		fprintf(to, "; precision %s", precision_name(f->precision));
	if (f->cache_type != F32)
		fprintf(to, "; cache_type %s", cache_type_name(f->cache_type));
	if (f->experts_done) {
		fputs("; experts ", to);
		frame_json_string(to, f->experts_done, strlen(f->experts_done));
	}
	for (int i = 0; i < f->nseqs; i++) {
		fprintf(to, "%s%llu ", i ? ", " : "; seqs ", (unsigned long long)f->seqs[i].seq);
		frame_json_value(to, f->seqs[i].params, f->seqs[i].n);
	}
	for (int i = 0; i < f->nothers; i++) {
		fputs("; ", to);
		frame_json_value(to, f->others[i].key, f->others[i].nkey);
		fputs(": ", to);
		frame_json_value(to, f->others[i].value, f->others[i].nvalue);
	}
}

static void
text_control(FILE *to, const struct frame *f)
{
	switch (f->op) {
	case OP_END:
		fputs("end", to);
		break;
	case OP_FREE:
		fprintf(to, "free %llu", (unsigned long long)f->seq);
		break;
	case OP_FORK:
		fprintf(to, "fork the first %u positions of %llu to %llu", f->fork_n,
		    (unsigned long long)f->from, (unsigned long long)f->to);
		break;
	case OP_CACHE:
		fprintf(to, "cache of %llu bytes a process", (unsigned long long)f->size);
		if (f->positions != CACHE_ANY)
			fprintf(to, ": %llu positions", (unsigned long long)f->positions);
		break;
	case OP_FAILED:
		fprintf(to, "error of sequence %llu: ", (unsigned long long)f->seq);
		frame_json_string(to, f->text, strlen(f->text));
		break;
	case OP_ERROR:
		fputs("error: ", to);
		frame_json_string(to, f->text, strlen(f->text));
		break;
	default:
		fputs("control ", to);
		frame_json_header(to, f, 0);
	}
}

void
dump_text(FILE *to, const struct frame *f, unsigned long long number)
{
	char where[128];

	fprintf(to, "frame %llu: ", number);
	if (f->op != OP_NONE) {
		text_control(to, f);
	} else {
		frame_where(f, where, sizeof(where));
		frame_json_string(to, where, strlen(where));
		text_spans(to, f);
		text_others(to, f);
	}
	putc('\n', to);
	for (int i = 0; i < f->ntensors; i++)
		dump_tensor(to, &f->tensors[i]);
}

int
dump_ids(FILE *to, struct frame *f)
{
	const struct tensor *t;
	size_t row = 0;

	if (f->op != OP_NONE || !frame_tensor(f, "ids"))
		return 0;
	if (!(t = frame_require(f, "ids", I32, f->rows, 0)))
		return -1;
	for (int i = 0; i < f->nspans; i++) {
		for (uint32_t j = 0; j < span_tokens(&f->spans[i]); j++)
			fprintf(to, "%s%lld", j ? " " : "", (long long)tensor_int(t, row + j));
		putc('\n', to);
		row += f->spans[i].n;
	}
	return 0;
}
