/*
 * ds-dump: what is in a stream of frames.
 */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "options.h"
#include "inspect/dump/dump.h"
#include "inspect/file_kind.h"

static const char help[] =
"usage: ds-dump [-f FORMAT] [--tensor NAMES] [--dir DIR] [--allow-none]\n"
"               [-i FROM ...] [-o TO] [-v] [FROM ...]\n"
"\n"
"Prints frames as text, or writes their tensors in the formats of other tools.\n"
"FROM can also be a safetensors file, such as gradients.\n"
"\n"
"  -f FORMAT         text: a line per frame and per tensor (the default)\n"
"                    json: a line per frame, with its data\n"
"                    ids: the token ids, a line per span\n"
"                    csv: a line per element, after a header line\n"
"                    npy: concatenated arrays, for numpy.load\n"
"                    safetensors: the tensors of one frame\n"
"                    trace: times of ds-embed --trace, for Chrome and Perfetto\n"
"  --tensor NAMES    these tensors: NAME,NAME or NAME@LAYER (all)\n"
"  --dir DIR         write a file per frame to DIR, not to standard output\n"
"  --allow-none      exit with status 0 even if nothing was printed\n"
"  -i, --input FROM  same as FROM: streams, read in order (standard input)\n"
"  -o, --output TO   output file (standard output)\n"
"  -v                print a summary at the end\n"
"  -V, -h            print the version; print this text\n";

enum { TENSOR = 256, DIR, ALLOW_NONE };

static int allow_none;

static const struct option longs[] = {
	{"tensor", required_argument, NULL, TENSOR},
	{"dir", required_argument, NULL, DIR},
	{"allow-none", no_argument, NULL, ALLOW_NONE},
	{0}
};

static int
own_option(int c, const char *arg, void *to)
{
	struct dump *d = to;
	int format;

	if (c == TENSOR)
		return select_option(&d->select, "--tensor", arg);
	if (c == DIR) {
		d->dir = arg;
		return 0;
	}
	if (c == ALLOW_NONE) {
		allow_none = 1;
		return 0;
	}
	format = dump_format_parse(arg);
	d->format = (enum dump_format)format;
	return format < 0 ? -1 : 0;
}

/* Print the frames of all streams: 0, or -1 and a message.  */
static int
dump(struct dump *d, struct link *in)
{
	struct frame f;
	int r;

	frame_init(&f);
	while ((r = link_receive(in, &f)) > 0) {
		r = dump_frame(d, &f, (unsigned long long)in->frames);
		if (r == 0 && (fflush(d->to) != 0 || ferror(d->to)))
			r = fail(FAIL_SYSTEM, "cannot write:");
		else if (r == 0 && f.op == OP_ERROR)
			r = stage_upstream(&f, in);
		if (r < 0)
			break;
	}
	frame_free(&f);
	return r;
}

/* Print files of tensors in place of streams: 0, or -1 and a message.  */
static int
dump_files(struct dump *d, const struct options *o)
{
	for (int i = 0; i < o->nfrom; i++) {
		if (file_kind(o->from[i]) != FILE_SAFETENSORS)
			return fail(FAIL_USAGE, "'%s' is no safetensors file: give frames or "
			    "files of tensors, not both", o->from[i]);
		if (dump_file(d, o->from[i]) < 0)
			return -1;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	static struct dump d;
	struct options o = {.help = help, .letters = "f:", .longs = longs, .own = own_option, .to = &d,
	    .streams = 1, .max_in = LINKS_MAX, .max_out = 1};
	struct link in = {0};
	int r, files;

	d.to = stdout;
	options_parse(&o, argc, argv);
	if (d.dir && o.nout)
		die(FAIL_USAGE, "--dir '%s' and -o '%s': give one of them", d.dir, o.out[0]);
	files = file_kind(o.from[0]) == FILE_SAFETENSORS;
	if (!files && link_open_all(&in, o.from, o.nfrom) < 0)
		die_failed();
	if (o.nout && strcmp(o.out[0], "-") != 0 && !(d.to = fopen(o.out[0], "we")))
		die(FAIL_SYSTEM, "cannot open '%s':", o.out[0]);
	if (!files && dump_begin(&d) < 0)
		die_failed();
	r = files ? dump_files(&d, &o) : dump(&d, &in);
	dump_end(&d);
	if (r < 0)
		die_failed();
	if (fclose(d.to) != 0)
		die(FAIL_SYSTEM, "cannot write:");
	if (o.verbose && files)
		warn("%d files, %llu tensors printed", o.nfrom, d.tensors);
	else if (o.verbose)
		warn("%llu frames, %llu bytes", (unsigned long long)in.frames, (unsigned long long)in.bytes);
	if (!allow_none && dump_check(&d) < 0)
		die_failed();
	dump_free(&d);
	return !files && link_close(&in) < 0 ? FAIL_SYSTEM : 0;
}
