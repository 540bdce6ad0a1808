#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/diff/diff.h"
#include "inspect/frame_json.h"

#define ONLY_LINES 20           /* ranges printed one by one */

static int
by_pipeline(const void *a, const void *b)
{
	return group_cmp(*(struct group *const *)a, *(struct group *const *)b);
}

/* The groups in pipeline order, to be freed; NULL without memory. */
static struct group **
sorted(const struct diff *d)
{
	struct group **v = mem_raw(d->groups.n, sizeof(struct group *));

	if (v && d->groups.n > 0) {
		memcpy(v, d->groups.all, d->groups.n * sizeof(struct group *));
		qsort(v, d->groups.n, sizeof(struct group *), by_pipeline);
	}
	return v;
}

/* 1 if the report has a line for the group. */
static int
is_reported(const struct diff *d, const struct group *g)
{
	const struct measure *m = &d->measures[g->id];

	return m->rows > 0 || (d->named_side < 0 && !d->common && (m->only[0] > 0 || m->only[1] > 0));
}

static void
print_where(FILE *to, const struct group *g)
{
	frame_json_string(to, g->stage, strlen(g->stage));
	if (g->layer >= 0)
		fprintf(to, " layer %d", g->layer);
}

static void
print_extents(FILE *to, const enum dtype *types, const struct extent *e)
{
	for (int i = 0; i < 2; i++) {
		fputs(i ? ", " : ": ", to);
		row_print_type(to, types[i], &e[i]);
		fprintf(to, " in %c", 'A' + i);
	}
}

/* "1 tensor", "2 tensors" */
static void
print_count(FILE *to, uint64_t n, const char *what)
{
	fprintf(to, "%" PRIu64 " %s%s", n, what, n == 1 ? "" : "s");
}

static void
print_first(FILE *to, const struct first *f)
{
	fputs("first difference: ", to);
	print_where(to, f->group);
	fputs(": ", to);
	group_print_tensor(to, f->group);
	if (!f->unlocated)
		fprintf(to, "[%" PRIu64 "]", f->at.index);
	fprintf(to, " of sequence %" PRIu64 " position %" PRIu32, f->seq, f->pos);
	if (f->only >= 0)
		fprintf(to, ": only %c has the row", 'A' + f->only);
	else if (f->unlocated)
		fputs(": at an unknown element (a larger --hold finds it)", to);
	else if (f->at.shape)
		print_extents(to, f->at.types, f->at.extents);
	else
		fprintf(to, ": %.9g in A, %.9g in B", f->at.a, f->at.b);
}

/* Print the first line: the verdict, what it is based on, and what was not compared. Only lines
 * of the table have 13 words, which scripts rely on. */
static void
print_verdict(FILE *to, const struct diff *d, int answer)
{
	int run = 'A' + !d->named_side;

	if (answer == DIFF_DIFFERS) {
		print_first(to, &d->first);
	} else {
		fputs(answer == DIFF_PART ? "equal in what was compared, " :
		    "no difference in ", to);
		if (answer != DIFF_PART) {
			print_count(to, d->rows, "row");
			fputs(answer == DIFF_CUT ? ", as far as both go: " : ": ", to);
		}
		if (d->whole < d->tensors)
			fprintf(to, "%" PRIu64 " of ", d->whole);
		print_count(to, d->tensors, "tensor");
		if (d->named_side >= 0 && answer != DIFF_PART)
			fprintf(to, " of %c", 'A' + d->named_side);
		if (answer == DIFF_PART) {
			fputs(": ", to);
			print_count(to, d->rows, "row");
		}
	}
	if (answer != DIFF_DIFFERS && d->nan > 0) {
		fputs("; NaN on both sides in ", to);
		print_count(to, d->nan, "row");
	}
	if (answer == DIFF_DIFFERS && d->apart > 0) {
		fprintf(to, "; not compared: %" PRIu64 " of ", d->apart);
		print_count(to, d->tensors, "tensor");
	}
	if (d->extra_tensors > 0) {
		fprintf(to, "; %c has ", run);
		print_count(to, d->extra_tensors, "tensor");
		fputs(" more", to);
	}
	if (d->longer > 0) {
		fprintf(to, "; %c has more rows of ", run);
		print_count(to, d->longer, "tensor");
	}
	putc('\n', to);
}

static void
print_line(FILE *to, const struct group *g, const struct measure *m)
{
	char *name = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&name, &n);
	int unmeasured = m->unlocated > 0 && m->unlocated == m->differ;

	if (f) {
		group_print_stage(f, g);
		putc(' ', f);
		group_print_tensor(f, g);
		fclose(f);
	}
	fprintf(to, "%-24s %6" PRIu64 " %6" PRIu64 " %6" PRIu64, name ? name : "- - -", m->rows, m->equal, m->differ);
	free(name);
	if (unmeasured)
		fprintf(to, " %10s %10s", "-", "-");
	else
		fprintf(to, " %10.4g %10.4g", m->max_abs, m->max_rel);
	if (m->floats && !unmeasured)
		fprintf(to, " %10" PRIu64 " %12.9g", m->max_ulps, m->cosine);
	else
		fprintf(to, " %10s %12s", "-", "-");
	if (strcmp(g->tensor, "expert.idx") == 0)
		fprintf(to, " %7" PRIu64, m->choices);
	else
		fprintf(to, " %7s", "-");
	fprintf(to, " %6" PRIu64 " %6" PRIu64 "\n", m->only[0], m->only[1]);
}

static void
print_only(FILE *to, const struct diff *d)
{
	for (size_t i = 0; i < d->nonly && i < ONLY_LINES; i++) {
		const struct only *o = &d->only[i];

		fprintf(to, "only %c: ", 'A' + o->side);
		print_where(to, o->group);
		fputs(": ", to);
		group_print_tensor(to, o->group);
		fprintf(to, " of sequence %" PRIu64 " positions %" PRIu32 " to %" PRIu32 "\n", o->seq, o->from, o->to);
	}
	if (d->nonly > ONLY_LINES)
		fprintf(to, "only: %zu ranges more\n", d->nonly - ONLY_LINES);
}

/* List tensors whose rows have equal elements in different shapes. */
static void
print_reshaped(FILE *to, const struct diff *d)
{
	for (size_t i = 0; i < d->groups.n; i++) {
		const struct group *g = d->groups.all[i];
		const struct measure *m = &d->measures[g->id];

		if (!m->reshaped)
			continue;
		fputs("equal in another shape: ", to);
		print_where(to, g);
		fputs(": ", to);
		group_print_tensor(to, g);
		print_extents(to, m->types, m->extents);
		putc('\n', to);
	}
}

/* Print why a tensor of the file was not compared, or not completely. */
static void
print_why(FILE *to, const struct named_tensor *t)
{
	char where[128];

	if (t->why)
		fprintf(to, ": %s", t->why);
	else if (!t->group)
		fputs(": it is in no name map, and the run has no tensor of that name", to);
	else if (!t->fitted)
		fprintf(to, ": the run has none of %s",
		    group_where(t->group, where, sizeof(where)));
	else
		fprintf(to, ": %" PRIu64 " of its %" PRIu64 " rows", t->rows - t->compared, t->rows);
}

/* List what was not compared and is no difference. */
static void
print_apart(FILE *to, const struct diff *d)
{
	for (size_t i = 0; i < d->named.n; i++) {
		const struct named_tensor *t = &d->named.tensors[i];

		if (named_is_whole(t))
			continue;
		fprintf(to, "not compared: %c: ", 'A' + d->named_side);
		frame_json_string(to, t->name, strlen(t->name));
		print_why(to, t);
		putc('\n', to);
	}
	for (size_t i = 0; d->common && d->named_side < 0 && i < d->groups.n; i++) {
		const struct group *g = d->groups.all[i];
		const struct measure *m = &d->measures[g->id];

		if (m->rows > 0 || m->only[0] + m->only[1] == 0)
			continue;
		fprintf(to, "not compared: %c: ", m->only[0] > 0 ? 'A' : 'B');
		print_where(to, g);
		fputs(": ", to);
		group_print_tensor(to, g);
		fprintf(to, ": %" PRIu64 " rows\n", m->only[0] + m->only[1]);
	}
	for (size_t i = 0; d->named_side < 0 && i < d->groups.n; i++)
		if (d->groups.all[i]->odd > 0) {
			fputs("not compared: ", to);
			print_where(to, d->groups.all[i]);
			fputs(": ", to);
			group_print_tensor(to, d->groups.all[i]);
			fputs(": no row for each position\n", to);
		}
}

void
diff_report(FILE *to, const struct diff *d, int answer)
{
	struct group **v = sorted(d);

	print_verdict(to, d, answer);
	fprintf(to, "%-24s %6s %6s %6s %10s %10s %10s %12s %7s %6s %6s\n", "stage layer tensor", "rows", "equal", "differ",
	    "max_abs", "max_rel", "ulps", "cosine", "choices", "only_a", "only_b");
	for (size_t i = 0; v && i < d->groups.n; i++)
		if (is_reported(d, v[i]))
			print_line(to, v[i], &d->measures[v[i]->id]);
	free(v);
	print_only(to, d);
	print_reshaped(to, d);
	print_apart(to, d);
	if (d->unlocated > 0)
		fprintf(to, "not measured: %" PRIu64 " rows, known to differ by their digests (a larger --hold measures them)\n",
		    d->unlocated);
}

/* --- JSON --- */

static void
json_text(FILE *to, const char *key, const char *s)
{
	fprintf(to, "\"%s\": ", key);
	if (!s) {
		fputs("null", to);
		return;
	}
	putc('"', to);
	frame_json_string(to, s, strlen(s));
	putc('"', to);
}

static void
json_float(FILE *to, const char *key, double v)
{
	if (isfinite(v))
		fprintf(to, ", \"%s\": %.17g", key, v);
	else
		fprintf(to, ", \"%s\": \"%s\"", key, isnan(v) ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
}

static void
json_group(FILE *to, const struct group *g)
{
	json_text(to, "stage", g->stage);
	if (g->layer < 0)
		fputs(", \"layer\": null, ", to);
	else
		fprintf(to, ", \"layer\": %d, ", g->layer);
	json_text(to, "tensor", g->tensor);
	if (g->done) {
		fputs(", ", to);
		json_text(to, "experts_done", g->done);
	}
}

static void
json_extent(FILE *to, const char *key, const struct extent *e)
{
	fprintf(to, ", \"%s\": [", key);
	for (int i = 0; i < e->rank; i++)
		fprintf(to, "%s%" PRIu64, i ? ", " : "", e->shape[i]);
	putc(']', to);
}

static void
json_first(FILE *to, const struct first *f)
{
	fputs("\"first\": ", to);
	if (!f->group) {
		fputs("null", to);
		return;
	}
	putc('{', to);
	json_group(to, f->group);
	fprintf(to, ", \"seq\": %" PRIu64 ", \"pos\": %" PRIu32, f->seq, f->pos);
	if (f->unlocated)
		fputs(", \"index\": null", to);
	else
		fprintf(to, ", \"index\": %" PRIu64, f->at.index);
	if (f->only >= 0)
		fprintf(to, ", \"only\": \"%c\"", 'a' + f->only);
	else if (f->at.shape) {
		json_extent(to, "shape_a", &f->at.extents[0]);
		json_extent(to, "shape_b", &f->at.extents[1]);
	} else if (!f->unlocated) {
		json_float(to, "a", f->at.a);
		json_float(to, "b", f->at.b);
	}
	putc('}', to);
}

static void
json_line(FILE *to, const struct group *g, const struct measure *m)
{
	putc('{', to);
	json_group(to, g);
	fprintf(to, ", \"rows\": %" PRIu64 ", \"equal\": %" PRIu64 ", \"differ\": %" PRIu64 ", \"blind\": %" PRIu64,
	    m->rows, m->equal, m->differ, m->unlocated);
	json_float(to, "max_abs", m->max_abs);
	json_float(to, "max_rel", m->max_rel);
	if (m->floats) {
		fprintf(to, ", \"ulps\": %" PRIu64, m->max_ulps);
		json_float(to, "cosine", m->cosine);
	}
	if (strcmp(g->tensor, "expert.idx") == 0)
		fprintf(to, ", \"choices\": %" PRIu64, m->choices);
	fprintf(to, ", \"only_a\": %" PRIu64 ", \"only_b\": %" PRIu64 "}", m->only[0], m->only[1]);
}

/* Print the names of what was not compared: the file's, or the run's with stage and layer. */
static void
json_apart(FILE *to, const struct diff *d)
{
	const char *comma = "";

	for (size_t i = 0; i < d->named.n; i++)
		if (!named_is_whole(&d->named.tensors[i])) {
			fprintf(to, "%s\"", comma);
			frame_json_string(to, d->named.tensors[i].name, strlen(d->named.tensors[i].name));
			putc('"', to);
			comma = ", ";
		}
	for (size_t i = 0; d->named_side < 0 && i < d->groups.n; i++) {
		const struct group *g = d->groups.all[i];
		const struct measure *m = &d->measures[g->id];

		if (g->odd == 0 && (!d->common || m->rows > 0 || m->only[0] + m->only[1] == 0))
			continue;
		fprintf(to, "%s\"", comma);
		group_print_stage(to, g);
		putc(' ', to);
		group_print_tensor(to, g);
		putc('"', to);
		comma = ", ";
	}
}

void
diff_report_json(FILE *to, const struct diff *d, int answer)
{
	struct group **v = sorted(d);
	const char *comma = "";

	putc('{', to);
	json_text(to, "a", d->names[0]);
	fputs(", ", to);
	json_text(to, "b", d->names[1]);
	fprintf(to, ", \"same\": %s, \"rows\": %" PRIu64 ", \"differ\": %" PRIu64 ", ",
	    answer == DIFF_DIFFERS ? "false" : answer == DIFF_SAME ? "true" : "null", d->rows, d->differ);
	json_first(to, &d->first);
	fputs(", \"table\": [", to);
	for (size_t i = 0; v && i < d->groups.n; i++)
		if (is_reported(d, v[i])) {
			fputs(comma, to);
			json_line(to, v[i], &d->measures[v[i]->id]);
			comma = ", ";
		}
	free(v);
	fputs("], \"only\": [", to);
	for (size_t i = 0; i < d->nonly; i++) {
		const struct only *o = &d->only[i];

		fprintf(to, "%s{\"side\": \"%c\", ", i ? ", " : "", 'a' + o->side);
		json_group(to, o->group);
		fprintf(to, ", \"seq\": %" PRIu64 ", \"from\": %" PRIu32 ", \"to\": %" PRIu32 "}", o->seq, o->from, o->to);
	}
	fputs("], \"cut_short\": {", to);
	json_text(to, "a", d->src[0].cut);
	fputs(", ", to);
	json_text(to, "b", d->src[1].cut);
	fputs("}, \"not_compared\": [", to);
	json_apart(to, d);
	fprintf(to,
	    "], \"odd_tensors\": %" PRIu64 ", \"tensors\": %" PRIu64 ", \"compared\": %" PRIu64
	    ", \"more_tensors\": %" PRIu64 ", \"nan_rows\": %" PRIu64 "}\n",
	    d->odd, d->tensors, d->whole, d->extra_tensors, d->nan);
}
