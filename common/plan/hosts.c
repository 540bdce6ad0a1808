#include "plan/hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/mem.h"

#define FILE_MAX (1 << 20)
#define WORDS 10                /* maximum in a line */
#define GIB (1024.0 * 1024 * 1024)

/* 1 for letters, digits and - . _, not empty and not starting like an option. */
static int
is_name(const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

	return *s && *s != '-' && s[strspn(s, plain)] == 0;
}

static int
read_number(const char *what, const char *text, double min, double max, double *out)
{
	char *end;

	*out = strtod(text, &end);
	if (end == text || *end || !(*out >= min && *out <= max))
		return fail(FAIL_USAGE, "%s: '%.60s' is not a number from %g to %g", what, text, min, max);
	return 0;
}

static int
parse_name(const struct hosts *s, struct host *h, const char *name)
{
	if (!is_name(name) || strlen(name) >= sizeof(h->name) || strcmp(name, "run") == 0)
		return fail(FAIL_USAGE, "'%.60s' is not a valid name of a host: letters, digits and - . _, at most %zu",
		    name, sizeof(h->name) - 1);
	for (int i = 0; i < s->n; i++)
		if (strcmp(s->h[i].name, name) == 0)
			return fail(FAIL_USAGE, "host '%s' appears twice", name);
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->address, sizeof(h->address), "%s", name);
	return 0;
}

/* Parse KEY=GFLOP/s. Returns 1, 0 if the word is no rate, or -1 and a message. */
static int
parse_rate(struct host *h, const char *word)
{
	const struct { const char *key; double *to; } rates[] = {{"row=", &h->row}, {"rows=", &h->rows}, {"attend=", &h->attend}};

	for (int i = 0; i < 3; i++) {
		size_t n = strlen(rates[i].key);

		if (strncmp(word, rates[i].key, n) != 0)
			continue;
		if (*rates[i].to > 0)
			return fail(FAIL_USAGE, "%.*s appears twice", (int)n - 1, word);
		if (read_number("rate in GFLOP/s", word + n, 1e-3, 1e9, rates[i].to) < 0)
			return fail_in("%.*s", (int)n - 1, word);
		*rates[i].to *= 1e9;
		return 1;
	}
	return 0;
}

/* Parse a word after the numbers. */
static int
parse_extra(struct host *h, const char *word)
{
	int rate = parse_rate(h, word);

	if (rate != 0)
		return rate < 0 ? -1 : 0;
	if (strcmp(word, "gpu") == 0)
		return h->gpu++ ? fail(FAIL_USAGE, "gpu appears twice") : 0;
	if (strcmp(word, "spare") == 0)
		return h->spare++ ? fail(FAIL_USAGE, "spare appears twice") : 0;
	if (strncmp(word, "addr=", 5) != 0)
		return fail(FAIL_USAGE, "'%.60s' is unknown: give gpu, addr=ADDRESS, spare, or row=, rows=, attend= with GFLOP/s", word);
	if (!is_name(word + 5) || strlen(word + 5) >= sizeof(h->address) || strcmp(word + 5, "spare") == 0)
		return fail(FAIL_USAGE, "'%.60s' has no valid address: a host's name or a number like 10.0.0.1", word);
	snprintf(h->address, sizeof(h->address), "%s", word + 5);
	return 0;
}

static int
read_host(struct hosts *s, char *line)
{
	struct host *h = &s->h[s->n];
	char *word[WORDS], *save, *w = strtok_r(line, " \t\r", &save);
	double cores, gib, rate;
	int n = 0;

	for (; w; w = strtok_r(NULL, " \t\r", &save)) {
		if (n == WORDS)
			return fail(FAIL_USAGE, "more than %d words", n);
		word[n++] = w;
	}
	if (n == 0 || *word[0] == '#')
		return 0;
	if (s->n == HOSTS_MAX)
		return fail(FAIL_USAGE, "more than %d hosts", HOSTS_MAX);
	if (n < 4)
		return fail(FAIL_USAGE, "%d words: give NAME CORES MEMORY-GiB BANDWIDTH-GB/s [addr=ADDRESS] [spare] ...", n);
	memset(h, 0, sizeof(*h));
	if (parse_name(s, h, word[0]) < 0 || read_number("number of cores", word[1], 1, 1024, &cores) < 0 ||
	    read_number("memory in GiB", word[2], 1e-3, 1e6, &gib) < 0 ||
	    read_number("memory bandwidth in GB/s", word[3], 1e-3, 1e6, &rate) < 0)
		return -1;
	h->cores = (int)cores;
	if (h->cores != cores)
		return fail(FAIL_USAGE, "'%.60s' is not a whole number of cores", word[1]);
	h->memory = gib * GIB;
	h->bandwidth = rate * 1e9;
	for (int i = 4; i < n; i++)
		if (parse_extra(h, word[i]) < 0)
			return -1;
	if (strcmp(h->address, "localhost") == 0)
		/* ZeroMQ does not bind to names */
		snprintf(h->address, sizeof(h->address), "127.0.0.1");
	s->n++;
	return 0;
}

/* Comments may follow the words of a line. */
static int
read_lines(struct hosts *s, char *text, size_t size)
{
	int n = 1;

	if (memchr(text, 0, size))
		return fail(FAIL_USAGE, "it has a NUL byte: not a text file");
	for (char *line = text, *end; line; line = end, n++) {
		if ((end = strchr(line, '\n')))
			*end++ = 0;
		line[strcspn(line, "#")] = 0;
		if (read_host(s, line) < 0)
			return fail_in("line %d", n);
	}
	return 0;
}

/* Move spare hosts to the end; otherwise keep the order. */
static int
sort_spares(struct hosts *s)
{
	struct host *sorted = mem_new(HOSTS_MAX, sizeof(*sorted));
	int n = 0;

	if (!sorted)
		return -1;
	for (int spare = 0; spare < 2; spare++)
		for (int i = 0; i < s->n; i++)
			if (s->h[i].spare == spare)
				sorted[n++] = s->h[i];
	free(s->h);
	s->h = sorted;
	while (s->n > 0 && s->h[s->n - 1].spare) {
		s->n--;
		s->spares++;
	}
	return s->n > 0 ? 0 : fail(FAIL_USAGE, s->spares ? "all hosts are spares" : "no host is given");
}

int
hosts_open(struct hosts *s, const char *path)
{
	struct buf b = {0};
	int r;

	*s = (struct hosts){.h = mem_new(HOSTS_MAX, sizeof(struct host))};
	if (!s->h)
		return -1;
	r = io_file(path, &b, FILE_MAX);
	if (r == 0 && (r = read_lines(s, (char *)b.p, b.n) < 0 ? -1 : sort_spares(s)) < 0)
		fail_in("'%s'", path);
	buf_free(&b);
	return r;
}

void
hosts_close(struct hosts *s)
{
	free(s->h);
	*s = (struct hosts){0};
}
