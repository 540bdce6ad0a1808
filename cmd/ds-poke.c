/* ds-poke: edit tensors in flight.  */
#include <string.h>

#include "base/fail.h"
#include "filter.h"
#include "inspect/poke/poke.h"

static const char help[] =
"usage: ds-poke [-l LAYERS] [--at STAGES] [--seq SEQS] [--pos POSITIONS]\n"
"           [--tensor NAMES] [--col COLUMNS] [--expert EXPERTS]\n"
"           [--scale X | --zero | --set WHAT | --add WHAT] [--by X]\n"
"           [--allow-none] [-i FROM ...] [-o TO ...] [-v] [FROM ...]\n"
"\n"
"Edits values of F32 tensors.  WHAT: number, FILE.safetensors:NAME, or @NAME[/I].\n"
"\n"
"  -l, --layers LAYERS  frames of these layers: " RANGES_SYNTAX "\n"
"  --at STAGES          at these:" AT_NAMES " ...\n"
"  --seq SEQS           rows of these sequences, in the syntax of -l\n"
"  --pos POSITIONS      rows at these positions, in the syntax of -l\n"
"  --tensor NAMES       these tensors: h,expert.w or expert.*\n"
"  --col COLUMNS        these columns of the tensors\n"
"  --expert EXPERTS     in expert.w, the weights of these experts\n"
"  --scale X            multiply by X\n"
"  --zero               replace by 0\n"
"  --set WHAT           replace by WHAT, times X of --by\n"
"  --add WHAT           add WHAT, times X of --by\n"
"  --by X               factor for --set and --add (1)\n"
"  --allow-none         exit with status 0 even if nothing was edited\n"
"  -i, --input FROM     same as FROM: streams, read in order (standard input)\n"
"  -o, --output TO      output, repeatable; each gets every frame (stdout)\n"
"  -v                   print a summary at the end\n"
"  -V, -h               print the version; print this text\n";

static const struct option longs[] = {
	{"at", 1, NULL, 256}, {"seq", 1, NULL, 257}, {"pos", 1, NULL, 258}, {"tensor", 1, NULL, 259},
	{"col", 1, NULL, 260}, {"expert", 1, NULL, 261}, {"scale", 1, NULL, 262}, {"zero", 0, NULL, 263},
	{"set", 1, NULL, 264}, {"add", 1, NULL, 265}, {"by", 1, NULL, 266}, {"allow-none", 0, NULL, 267}, {0}};

static int allow_none;

static int
own(int c, const char *arg, void *to)
{
	static const char *const names[] = {"--at", "--seq", "--pos", "--tensor", "--col", "--expert"};
	struct poke *p = to;

	switch (c) {
	case 'l':
		return select_option(&p->select, "-l", arg);
	case 262:
		return poke_operand(p, POKE_SCALE, arg);
	case 263:
		return poke_operand(p, POKE_SET, "0");
	case 264:
		return poke_operand(p, POKE_SET, arg);
	case 265:
		return poke_operand(p, POKE_ADD, arg);
	case 266:
		return options_double("--by", arg, -1e30, 1e30, &p->by);
	case 267:
		allow_none = 1;
		return 0;
	}
	return select_option(&p->select, names[c - 256], arg);
}

static int
frame(void *arg, struct frame *f, struct link *out, int nout)
{
	(void)out, (void)nout;
	return f->op == OP_NONE && poke_frame(arg, f) < 0 ? -1 : 1;
}

/* The entry of `edits`: the command line.  */
static char *
command_line(int argc, char **argv)
{
	struct buf b = {0};

	if (buf_addf(&b, "%s", program) < 0)
		die_failed();
	for (int i = 1; i < argc; i++)
		if (buf_addf(&b, " %s", argv[i]) < 0)
			die_failed();
	if (buf_addc(&b, 0) < 0)
		die_failed();
	return (char *)b.p;
}

int
main(int argc, char **argv)
{
	static struct filter f;
	static struct poke p = {.by = 1};
	int status;

	f.o = (struct options){.help = help, .letters = "l:", .longs = longs, .own = own, .to = &p,
	    .streams = 1, .max_in = LINKS_MAX, .max_out = LINKS_MAX};
	options_parse(&f.o, argc, argv);
	if (p.what != POKE_NOTHING && !p.select.names)
		die(FAIL_USAGE, "no tensor to edit: give --tensor NAMES: see %s -h", program);
	if (p.what == POKE_NOTHING && select_is_set(&p.select))
		die(FAIL_USAGE,
		    "no edit of the selected values: give --scale, --zero, --set or --add");
	p.record = command_line(argc, argv);
	filter_links(&f);
	status = filter_run(&f, frame, &p);
	if (f.o.verbose && status == 0)
		warn("%llu elements of %llu rows in %llu frames edited", p.elements, p.rows, p.frames);
	if (status == 0 && p.what != POKE_NOTHING && !allow_none &&
	    (p.elements == 0 ? select_fail_empty(&p.select, "edited") : select_check_names(&p.select)) < 0) {
		warn("%s", fail_text());
		status = fail_status();
	}
	poke_free(&p);
	return status;
}
