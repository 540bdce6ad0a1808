#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "options.h"

int
options_int(const char *option, const char *text, long min, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 10);
	if (errno || end == text || *end || *out < min || *out > max)
		return fail(FAIL_USAGE, "%s '%s': give an integer from %ld to %ld", option, text,
		    min, max);
	return 0;
}

int
options_double(const char *option, const char *text, double min, double max, double *out)
{
	char *end;

	*out = strtod(text, &end);
	if (end == text || *end || !(*out >= min && *out <= max))
		return fail(FAIL_USAGE, "%s '%s': give a number from %g to %g", option, text, min,
		    max);
	return 0;
}

int
options_size(const char *option, const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	int shift;

	errno = 0;
	*out = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	shift = unit ? 10 * (int)(unit - units + 1) : 0;
	if (errno || *text < '0' || *text > '9' || (*end && (!unit || end[1])) || *out == 0 ||
	    *out > UINT64_MAX >> shift)
		return fail(FAIL_USAGE, "%s '%s': give bytes, such as 1000000, 512M or 4G", option,
		    text);
	*out <<= shift;
	return 0;
}

int
options_word(const char *option, const char *text, const char *const names[], int *out)
{
	char all[200] = "";

	for (*out = 0; names[*out]; (*out)++) {
		if (strcmp(text, names[*out]) == 0)
			return 0;
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
		    !*all ? "" : names[*out + 1] ? ", " : " or ", names[*out]);
	}
	return fail(FAIL_USAGE, "%s '%s': give %s", option, text, all);
}

int
options_switch(const char *option, const char *text, int *out)
{
	*out = strcmp(text, "on") == 0;
	return *out || strcmp(text, "off") == 0 ? 0 :
	    fail(FAIL_USAGE, "%s '%s': give on or off", option, text);
}
