/* ds-draft: new tokens in, the same with guesses of the next ones out.  */
#include "stage_main.h"

#include <string.h>

#include "base/fail.h"

static const char help[] =
"usage: ds-draft -m MODEL [--by KIND] [--guesses N] [--precision P]\n"
"                [--cache-type TYPE] [--manifest FILE] [--huge-pages]\n"
"                [-i FROM] [-o TO ...] [-t THREADS] [-d DEVICE] [-r FD] [-v]\n"
"\n"
"Guesses the next tokens of each sequence, so that one pass can yield several.\n"
"ds-sample verifies the guesses: the output is the same as without them.\n"
"\n"
HELP_MODEL
"  --by KIND              mtp: by the model's prediction layer (default);\n"
"                         prompt: by what followed the last tokens before\n"
"  --guesses N            most guesses for a sequence, 1 to 16 (1)\n"
HELP_PRECISION HELP_CACHE_TYPE HELP_MANIFEST HELP_HUGE HELP_FROM HELP_TO HELP_THREADS
HELP_DEVICE HELP_REST;

enum { BY = 256, GUESSES };

static int
own(int c, const char *arg, void *to)
{
	struct draft_options *o = &((struct stage_options *)to)->drafts;
	long n;

	if (c == GUESSES) {
		if (options_int("--guesses", arg, 1, GUESSES_MAX, &n) < 0)
			return -1;
		o->guesses = (int)n;
		return 0;
	}
	return draft_by_name(arg, &o->by) == 0 ? 0 :
	    fail(FAIL_USAGE, "--by '%s': give mtp or prompt", arg);
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"by", 1, NULL, BY},
	    {"guesses", 1, NULL, GUESSES}, {0}};
	struct stage_options given = {.drafts = {DRAFT_MTP, 1}};

	return stage_main(STAGE_DRAFT,
	    &(struct options){.help = help, .longs = longs, .own = own,
	    .to = &given}, &given, argc, argv);
}
