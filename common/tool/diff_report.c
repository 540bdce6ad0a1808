#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool/diff.h"
#include "tool/dump_json.h"

#define ONLY_LINES 20           /* ranges that are told one by one */

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

/* Is there anything to say of the group? */
static int
is_told(const struct diff *d, const struct group *g)
{
	const struct measure *m = &d->measures[g->id];

	return m->rows > 0 || (d->named_side < 0 && !d->common && (m->only[0] > 0 || m->only[1] > 0));
}

static void
print_where(FILE *to, const struct group *g)
{
	dump_string(to, g->stage, strlen(g->stage));
	if (g->layer >= 0)
		fprintf(to, " layer %d", g->layer);
}

static void
print_first(FILE *to, const struct first *f)
{
	if (!f->group)
		return;
	fputs("first difference: ", to);
	print_where(to, f->group);
	fputs(": ", to);
	group_print_tensor(to, f->group);
	if (!f->blind)
		fprintf(to, "[%" PRIu64 "]", f->at.index);
	fprintf(to, " of sequence %" PRIu64 " position %" PRIu32, f->seq, f->pos);
	if (f->only >= 0)
		fprintf(to, ": only %c has the row\n", 'A' + f->only);
	else if (f->blind)
		fputs(": somewhere in the row (a larger --hold tells where)\n", to);
	else if (f->at.shape)
		fputs(": A and B have rows of another kind or length\n", to);
	else
		fprintf(to, ": %.9g in A, %.9g in B\n", f->at.a, f->at.b);
}

static void
print_line(FILE *to, const struct group *g, const struct measure *m)
{
	char *name = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&name, &n);
	int unmeasured = m->blind > 0 && m->blind == m->differ;

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

void
diff_report(FILE *to, const struct diff *d, int answer)
{
	struct group **v = sorted(d);

	print_first(to, &d->first);
	if (answer == DIFF_SAME || !d->first.group)
		fprintf(to, "no difference in %" PRIu64 " rows%s\n", d->rows,
		    answer == DIFF_CUT ? ", as far as both go" : "");
	fprintf(to, "%-24s %6s %6s %6s %10s %10s %10s %12s %7s %6s %6s\n", "stage layer tensor", "rows", "equal", "differ",
	    "max_abs", "max_rel", "ulps", "cosine", "choices", "only_a", "only_b");
	for (size_t i = 0; v && i < d->groups.n; i++)
		if (is_told(d, v[i]))
			print_line(to, v[i], &d->measures[v[i]->id]);
	free(v);
	print_only(to, d);
	for (size_t i = 0; i < d->named.nunknown; i++) {
		fprintf(to, "not compared: %c: ", 'A' + d->named_side);
		dump_string(to, d->named.unknown[i], strlen(d->named.unknown[i]));
		putc('\n', to);
	}
	if (d->blind > 0)
		fprintf(to, "not measured: %" PRIu64 " rows, known to differ by their digests (a larger --hold measures them)\n",
		    d->blind);
	if (d->odd > 0)
		fprintf(to, "not compared: %" PRIu64 " tensors that have no row for each position\n", d->odd);
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
	dump_string(to, s, strlen(s));
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
	if (f->blind)
		fputs(", \"index\": null", to);
	else
		fprintf(to, ", \"index\": %" PRIu64, f->at.index);
	if (f->only >= 0)
		fprintf(to, ", \"only\": \"%c\"", 'a' + f->only);
	else if (!f->blind && !f->at.shape) {
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
	    m->rows, m->equal, m->differ, m->blind);
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
		if (is_told(d, v[i])) {
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
	for (size_t i = 0; i < d->named.nunknown; i++) {
		fprintf(to, "%s\"", i ? ", " : "");
		dump_string(to, d->named.unknown[i], strlen(d->named.unknown[i]));
		putc('"', to);
	}
	fprintf(to, "], \"odd_tensors\": %" PRIu64 "}\n", d->odd);
}
