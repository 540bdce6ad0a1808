/* A line of TAP for each check, with the last message of fail() where it does not hold. */
#ifndef DS_POINT_H
#define DS_POINT_H

#include <stdio.h>

#include "base/fail.h"

static int points, failures;

static void
point(int ok, const char *what)
{
	points++;
	failures += !ok;
	printf("%sok %d - %s\n", ok ? "" : "not ", points, what);
	if (!ok)
		printf("# %s\n", fail_text());
}

#endif
