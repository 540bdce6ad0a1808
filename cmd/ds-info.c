/* ds-info: what a checkpoint is.  */
#include <stdio.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "options.h"
#include "inspect/info/info.h"

static const char help[] =
"usage: ds-info -m MODEL [-l LAYERS] [-v] [--json]\n"
"               [--manifest [--full] | --check FILE] [-t THREADS]\n"
"\n"
"Describes a checkpoint: shapes, parameters, storage format of its weights,\n"
"bytes of each layer, and missing files.\n"
"\n"
"  -m, --model MODEL      checkpoint folder or GGUF file (or DS_MODEL)\n"
"  -l, --layers LAYERS    layers to show and check: " RANGES_SYNTAX " (all)\n"
"  -v                     print each layer on its own line\n"
"  --json                 print JSON\n"
"  --manifest             print a fingerprint of each tensor, from samples\n"
"  --full                 with --manifest: from all bytes\n"
"  --check FILE           print the tensors that differ from this manifest\n"
"  -t, --threads THREADS  reader threads (all cores)\n"
"  -V, -h                 print the version; print this text\n";

enum { JSON = 256, MANIFEST, FULL, CHECK };

static const struct option longs[] = {{"json", no_argument, NULL, JSON}, {"manifest", no_argument, NULL, MANIFEST},
    {"full", no_argument, NULL, FULL}, {"check", required_argument, NULL, CHECK}, {0}};

struct given {
	int json, manifest, full;
	const char *check;
};

static int
own_option(int c, const char *arg, void *to)
{
	struct given *g = to;

	if (c == CHECK)
		g->check = arg;
	else
		*(c == JSON ? &g->json : c == MANIFEST ? &g->manifest : &g->full) = 1;
	return 0;
}

static void
check_options(const struct given *g, const struct options *o)
{
	options_require_model(o);
	if (g->full && !g->manifest)
		die(FAIL_USAGE, "--full is for --manifest; --check reads what the manifest's samples cover");
	if (g->json + g->manifest + (g->check != NULL) > 1)
		die(FAIL_USAGE, "--json, --manifest and --check do not go together: give one");
}

static struct pool *
threads(const struct options *o)
{
	struct pool *p = pool_new(o->threads);

	if (!p)
		die_failed();
	return p;
}

static void
write_manifest(const struct options *o, int full)
{
	struct pool *pool = threads(o);
	struct buf text = {0};

	if (info_manifest(&text, o->model, o->layers, full, pool) < 0)
		die_failed();
	output_print(&text);
	pool_free(pool);
}

static int
check_manifest(const struct options *o, const char *path)
{
	struct pool *pool = threads(o);
	long n = 0, bad = info_check(stdout, o->model, o->layers, path, pool, &n);

	if (bad < 0)
		die_failed();
	output_close();
	pool_free(pool);
	if (bad > 0)
		warn("'%s': %ld of %ld tensors are not those of '%s'", o->model, bad, n, path);
	else if (o->verbose)
		warn("'%s': %ld tensors are those of '%s'", o->model, n, path);
	return bad > 0;
}

int
main(int argc, char **argv)
{
	static struct info info;
	struct given g = {0};
	struct options o = {.help = help, .longs = longs, .own = own_option, .to = &g};

	options_parse(&o, argc, argv);
	check_options(&g, &o);
	if (g.check)
		return check_manifest(&o, g.check);
	if (g.manifest) {
		write_manifest(&o, g.full);
		return 0;
	}
	if (info_open(&info, o.model, o.layers) < 0)
		die_failed();
	info.each = o.verbose;
	if ((g.json ? info_json : info_text)(stdout, &info) < 0)
		die_failed();
	output_close();
	if (info.nmissing > 0)
		die(FAIL_DATA, "'%s' lacks %zu of %zu files", o.model, info.nmissing, info.nfiles);
	info_close(&info);
	return 0;
}
