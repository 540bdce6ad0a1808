/*
 * ds-plot: pictures of runs.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "options.h"
#include "inspect/plot/plot.h"
#include "inspect/source.h"

static const char help[] =
"usage: ds-plot [-f FORMAT] [-m MODEL] [-l LAYERS] [--seq SEQS] [--pos POSITIONS]\n"
"           [--head HEADS] [-i FROM ...] [-o TO] [-v] [FROM ...]\n"
"\n"
"Plots frames as SVG.\n"
"\n"
"  -f FORMAT            norm: norm of the residual stream by layer (the default)\n"
"                       load: selected experts by layer\n"
"                       probs: attention probabilities, from the tap attn.probs\n"
"                       surprise: bits per token, from logits of all rows\n"
"                       trace: computing times of each process\n"
"  -m, --model MODEL    show the text of tokens and all experts (or DS_MODEL)\n"
"  -l, --layers LAYERS  these layers: " RANGES_SYNTAX "\n"
"  --seq SEQS           rows of these sequences, in the syntax of -l\n"
"  --pos POSITIONS      rows at these positions, in the syntax of -l\n"
"  --head HEADS         heads for probs, at most 16 (0)\n"
"  -i, --input FROM     same as FROM: streams, or folders of *.dsf (stdin)\n"
"  -o, --output TO      output file (standard output)\n"
"  -v                   print a summary at the end\n"
"  -V, -h               print the version; print this text\n";

struct given {                  /* on the command line, for open_plot */
	const char *format, *seq, *pos, *head, *layers;
};

static const struct option longs[] = {{"seq", 1, NULL, 256}, {"pos", 1, NULL, 257}, {"head", 1, NULL, 258}, {0}};

static int
own(int c, const char *arg, void *to)
{
	struct given *t = to;

	*(c == 'f' ? &t->format : c == 'l' ? &t->layers : c == 256 ? &t->seq : c == 257 ? &t->pos : &t->head) = arg;
	return 0;
}

static void
open_plot(struct plot *p, const struct given *t)
{
	if (plot_open(p, t->format) < 0 || (t->layers && select_option(&p->select, "-l", t->layers) < 0) ||
	    (t->seq && select_option(&p->select, "--seq", t->seq) < 0) ||
	    (t->pos && select_option(&p->select, "--pos", t->pos) < 0) ||
	    (t->head && ranges_parse(&p->heads, "--head", t->head) < 0))
		die_failed();
}

/* Read all sources side by side: they may be FIFOs that one pipeline fills.  0, or -1 and a
 * message.  */
static int
read_all(struct source *s, int n, struct plot *p)
{
	struct pollfd *fd = mem_new((size_t)n, sizeof(*fd));
	struct frame f;
	int open = n, r = fd ? 0 : -1;

	frame_init(&f);
	while (open > 0 && r == 0) {
		for (int i = 0; i < n; i++)
			fd[i] = (struct pollfd){.fd = source_fd(&s[i]), .events = POLLIN};
		if (poll(fd, (nfds_t)n, -1) < 0 && errno != EINTR)
			r = fail(FAIL_SYSTEM, "cannot wait for input:");
		for (int i = 0; i < n && r == 0; i++) {
			int got = fd[i].fd >= 0 && fd[i].revents ? source_next(&s[i], &f, 0) : 0;

			open -= got == -2;
			if (got == -1 || (got == 1 && plot_frame(p, &f) < 0))
				r = got == 1 ? fail_in("%s", s[i].in.name) : -1;
			frame_free(&f);         /* before the next one is read, so that memory holds
						 * one */
			frame_init(&f);
		}
	}
	free(fd);
	return r;
}

/* Draw, and write the file only if there is something to draw.  */
static void
draw(struct plot *p, const char *path)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	if (!to)
		die(FAIL_SYSTEM, "no memory for the picture:");
	if (plot_draw(p, to) < 0)
		die_failed();
	if (fclose(to) != 0)
		die(FAIL_SYSTEM, "no memory for the picture:");
	to = path && strcmp(path, "-") != 0 ? fopen(path, "we") : stdout;
	if (!to)
		die(FAIL_SYSTEM, "cannot open '%s':", path);
	if (fwrite(text, 1, n, to) < n || fclose(to) != 0)
		die(FAIL_SYSTEM, "cannot write:");
	free(text);
}

int
main(int argc, char **argv)
{
	struct source *sources;
	struct given t = {.format = "norm"};
	struct options o = {.help = help, .letters = "f:l:", .longs = longs, .own = own, .to = &t,
	    .streams = 1, .max_in = LINKS_MAX, .max_out = 1};
	struct tokenizer *tokens = NULL;
	struct config config;
	struct plot p;
	uint64_t frames = 0;
	int status = 0;

	options_parse(&o, argc, argv);
	open_plot(&p, &t);
	if (!(sources = mem_new((size_t)o.nfrom, sizeof(*sources))))
		die_failed();
	for (int i = 0; i < o.nfrom; i++)
		if (source_open(&sources[i], o.from[i]) < 0)
			die_failed();
	if (o.model && p.kind == &plot_load) {
		if (config_load(&config, o.model) < 0)
			die_failed();
		p.experts = config.n_routed_experts;
	}
	if (o.model && (p.kind == &plot_probs || p.kind == &plot_surprise) && !(p.tokens = tokens = tokenizer_open(o.model)))
		die_failed();
	if (read_all(sources, o.nfrom, &p) < 0)
		die_failed();
	for (int i = 0; i < o.nfrom; i++) {
		frames += sources[i].frames;
		if (sources[i].cut) {
			warn("%s", sources[i].cut);
			status = FAIL_SYSTEM;
		}
	}
	if (frames > 0 || status == 0)
		draw(&p, o.nout ? o.out[0] : NULL);
	if (o.verbose)
		warn("%llu frames", (unsigned long long)frames);
	for (int i = 0; i < o.nfrom; i++)
		source_close(&sources[i]);
	free(sources);
	plot_close(&p);
	tokenizer_close(tokens);
	return status;
}
