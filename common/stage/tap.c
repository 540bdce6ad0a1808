#include "stage/tap.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"

int
tap_parse(uint64_t *on, const struct tap *taps, const char *text)
{
	for (const char *p = text;; p++) {
		size_t n = strcspn(p, ","), i = 0;

		while (taps[i].name && (strlen(taps[i].name) != n || memcmp(taps[i].name, p, n) != 0))
			i++;
		if (!taps[i].name)
			return fail(FAIL_USAGE, "--tap '%.*s' is not known; --tap '?' lists those that are", (int)n, p);
		*on |= (uint64_t)1 << i;
		p += n;
		if (*p == '\0')
			return 0;
	}
}

void
tap_list(const struct tap *taps)
{
	for (; taps->name; taps++)
		printf("%-16s %s\n", taps->name, taps->what);
}

struct tensor *
tap_add(const struct tap *t, struct frame *f, int layer, enum dtype dtype, int rank, const uint64_t *shape)
{
	char name[80];

	if (layer < 0)
		snprintf(name, sizeof(name), "%s", t->name);
	else
		snprintf(name, sizeof(name), "%s@%d", t->name, layer);
	return frame_add(f, name, dtype, rank, shape);
}
