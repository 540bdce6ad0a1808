/* ds-info: what a checkpoint is. */
#include <stdio.h>

#include "base/fail.h"
#include "options.h"
#include "tool/info.h"

static const char help[] =
"usage: ds-info -m MODEL [-l LAYERS] [--json]\n"
"\n"
"Describes a checkpoint: shapes, parameters, how its weights are stored, the\n"
"bytes of each layer, and files that are missing.\n"
"\n"
"  -m MODEL    checkpoint folder (or DS_MODEL)\n"
"  -l LAYERS   the layers to show, and whose files to miss: 3, 0-20 or 0-2,5 (all)\n"
"  --json      the same as JSON\n"
"  -V, -h      version, this text\n";

static const struct option longs[] = {{"json", no_argument, NULL, 256}, {0}};

static int
own_option(int c, const char *arg, void *to)
{
	(void)c;
	(void)arg;
	*(int *)to = 1;
	return 0;
}

int
main(int argc, char **argv)
{
	static struct info info;
	int json = 0;
	struct options o = {.help = help, .longs = longs, .own = own_option, .to = &json};

	options_parse(&o, argc, argv);
	if (!o.model)
		die(FAIL_USAGE, "no model: give -m MODEL or set DS_MODEL");
	if (info_open(&info, o.model, o.layers) < 0 || (json ? info_json : info_text)(stdout, &info) < 0)
		die_failed();
	if (fclose(stdout) != 0)
		die(FAIL_SYSTEM, "standard output: cannot write:");
	if (info.nmissing > 0)
		die(FAIL_DATA, "'%s' lacks %zu of %zu files", o.model, info.nmissing, info.nfiles);
	info_close(&info);
	return 0;
}
