#include "frame/at.h"

#include <string.h>

#define AT_ROW(at, name, layered) [at] = {name, layered},

static const struct {
	const char *name;
	int layered;
} stages[AT_COUNT] = {[AT_NONE] = {"", 0}, AT_STAGES(AT_ROW) [AT_OTHER] = {"", 0},
    AT_BACK_STAGES(AT_ROW)};

const char *
at_name(enum at at)
{
	return stages[at].name;
}

int
at_layered(enum at at)
{
	return stages[at].layered;
}

enum at
at_parse(const char *text, size_t n)
{
	for (enum at a = AT_NONE + 1; a < AT_COUNT; a++)
		if (a != AT_OTHER && strlen(stages[a].name) == n &&
		    memcmp(text, stages[a].name, n) == 0)
			return a;
	return AT_OTHER;
}

void
at_next(enum at *at, int *layer, int layers)
{
	enum at next = *at + 1 < AT_OTHER ? *at + 1 : AT_NONE + 1;

	if (!at_layered(*at)) {
		*layer = at_layered(next) ? 0 : -1;
	} else if (!at_layered(next) && ++*layer < layers) {
		while (at_layered(next - 1))
			next--;
	}
	*at = next;
}

void
at_back_next(enum at *at, int *layer, int layers)
{
	enum at next = *at < AT_LEARN ? *at + 1 : *at;

	if (at_layered(*at) && !at_layered(next) && --*layer >= 0)
		while (at_layered(next - 1))
			next--;
	if (!at_layered(next))
		*layer = -1;
	else if (!at_layered(*at))
		*layer = layers - 1;
	*at = next;
}

void
at_previous(enum at *at, int *layer)
{
	enum at before = *at - 1;
	int leaves = at_layered(before) && !at_layered(*at), enters = at_layered(*at) &&
	    !at_layered(before);

	if ((leaves || enters) && --*layer >= 0) {
		while (at_layered(before + 1))
			before++;
	} else if (leaves) {
		while (at_layered(before))
			before--;
	}
	if (!at_layered(before))
		*layer = -1;
	*at = before;
}
