#include "launch/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"
#include "base/lines.h"

#define INTERVAL 0.25           /* seconds */
#define LINE_MAX_BYTES ((size_t)64 << 20)

/* The paths that a line asks for. ds-tokenize reports what is wrong with a line. */
static uint64_t
count_paths(const char *line, size_t n, uint64_t samples)
{
	const cJSON *v = NULL;
	uint64_t paths = 1;
	cJSON *o;

	if (!memmem(line, n, "\"n\"", 3))
		return samples;
	o = json_parse(line, n);
	if (!o || !cJSON_IsObject(o) || json_get(o, "n", JSON_REQUIRED, &v) < 0 ||
	    json_whole(v, UINT32_MAX, &paths) < 0 || paths == 0)
		paths = v || !o ? 1 : samples;
	cJSON_Delete(o);
	return paths;
}

uint64_t
progress_count(const char *path, uint64_t samples)
{
	struct lines l;
	struct stat st;
	uint64_t total = 0;
	char *line;
	size_t n;
	int r;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || lines_open(&l, path, LINE_MAX_BYTES) < 0)
		return 0;
	while ((r = lines_next(&l, 1, &line, &n)) != LINES_END && r != -1)
		total += r == LINES_LINE ? count_paths(line, n, samples) : 1;
	lines_close(&l);
	return r == -1 ? 0 : total;
}

char *
progress_text(const struct progress *p, const struct tally *t, double now, char *to,
    size_t size)
{
	uint64_t done = p->before + t->answers;
	const char *plural = (p->total ? p->total : done) == 1 ? "" : "s";
	int n = snprintf(to, size, "%llu", (unsigned long long)done);

	if (p->total > 0)
		n += snprintf(to + n, size - (size_t)n, " of %llu", (unsigned long long)p->total);
	n += snprintf(to + n, size - (size_t)n, " answer%s", plural);
	if (t->busy > 0)
		n += snprintf(to + n, size - (size_t)n, ", %.1f tokens/s",
		    (double)t->timed / t->busy);
	if (p->total > done && t->answers > 0) {
		double left = (double)(p->total - done) * (now - t->asked) / (double)t->answers;
		unsigned long s = left < 1e9 ? (unsigned long)left : 1000000000;

		if (s >= 3600)
			snprintf(to + n, size - (size_t)n, ", %lu:%02lu:%02lu left",
			    s / 3600, s / 60 % 60, s % 60);
		else
			snprintf(to + n, size - (size_t)n, ", %lu:%02lu left", s / 60, s % 60);
	}
	return to;
}

/* A shorter text leaves blanks, as no terminal mistakes them. */
void
progress_print(struct progress *p, const char *text)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "\r%-*s%s", p->width, text, *text ? "" : "\r");

	(void)io_write(2, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
	p->width = (int)strlen(text);
}

void
progress_show(struct progress *p, const struct tally *t)
{
	char text[128];
	double now = clock_now();

	if (p->shown > 0 && now - p->shown < INTERVAL)
		return;
	p->shown = now;
	progress_print(p, progress_text(p, t, now, text, sizeof(text)));
}

void
progress_clear(struct progress *p)
{
	if (p->width > 0)
		progress_print(p, "");
}
