/*
 * ds-dump: what is in a stream of frames.
 */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "options.h"
#include "tool/dump.h"

static const char help[] =
	"usage: ds-dump [-f FORMAT] [-i FROM] [-o TO] [-v]\n"
	"\n"
	"Prints frames as text.\n"
	"\n"
	"  -f FORMAT   text: a line for each frame and each tensor;\n"
	"              json: a line for each frame, with its data; ids: the tokens (text)\n"
	HELP_FROM
	"  -o TO       the file to print to (standard output)\n"
	"  -v          say at the end how many frames and bytes came\n"
	"  -V, -h      version, this text\n";

static int
own_option(int c, const char *arg, void *to)
{
	int format = c == 'f' ? dump_format_parse(arg) : -1;

	*(int *)to = format;
	return format < 0 ? -1 : 0;
}

/* Print frames until `end`: 0, or -1 and a message. */
static int
dump(struct link *in, FILE *to, enum dump_format format)
{
	struct frame f;
	int r;

	frame_init(&f);
	while ((r = link_receive(in, &f)) > 0) {
		r = dump_frame(to, &f, (unsigned long long)in->frames, format);
		if (r == 0 && (fflush(to) != 0 || ferror(to)))
			r = fail(FAIL_SYSTEM, "cannot write:");
		else if (r == 0 && f.op == OP_ERROR)
			r = stage_upstream(&f);
		if (r < 0)
			break;
	}
	frame_free(&f);
	return r;
}

int
main(int argc, char **argv)
{
	int format = DUMP_TEXT;
	struct options o = {.help = help, .letters = "f:", .own = own_option, .to = &format,
	    .max_in = 1, .max_out = 1};
	FILE *to = stdout;
	struct link in;

	options_parse(&o, argc, argv);
	if (link_open(&in, o.nin ? o.in[0] : "-", LINK_IN) < 0)
		die_failed();
	if (o.nout && strcmp(o.out[0], "-") != 0 && !(to = fopen(o.out[0], "we")))
		die(FAIL_SYSTEM, "cannot open '%s':", o.out[0]);
	if (dump(&in, to, (enum dump_format)format) < 0)
		die_failed();
	if (fclose(to) != 0)
		die(FAIL_SYSTEM, "cannot write:");
	if (o.verbose)
		warn("%llu frames, %llu bytes", (unsigned long long)in.frames, (unsigned long long)in.bytes);
	return link_close(&in) < 0 ? FAIL_SYSTEM : 0;
}
