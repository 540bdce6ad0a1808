#include "plan/write.h"

#include "base/fail.h"
#include "launch/planfile.h"
#include "launch/script.h"
#include "link/address.h"

/* The line that binds: the receiver, except that the driver, which opens no port, connects. */
static int
binder(const struct lines *o, int wire)
{
	return o->wire[wire].to == DRIVER ? o->wire[wire].from : o->wire[wire].to;
}

/* 1 if every host that may bind has a numeric address. */
static int
all_numbers(const struct hosts *h)
{
	for (int i = 0; i < h->n + h->spares; i++)
		if (!address_is_number(h->h[i].address))
			return 0;
	return 1;
}

/* Append the address between tcp:// and the port. */
static int
address(struct buf *to, const struct writing *w, enum format format, int host, int binds)
{
	const struct host *h = &w->hosts->h[host];

	if (binds && (format == FORMAT_SLURM || (format == FORMAT_PLAN && !all_numbers(w->hosts)) ||
	    (format == FORMAT_SSH && !address_is_number(h->address))))
		return buf_addc(to, '*');
	if (format == FORMAT_PLAN)
		return buf_addf(to, "{%s}", h->name);
	if (format == FORMAT_SLURM)
		return buf_addf(to, "$node%d", host);
	return buf_addf(to, "%s", h->address);
}

int
write_end(struct buf *to, const struct writing *w, enum format format, int wire, int binds)
{
	const struct wire *p = &w->lines->wire[wire];
	const char *quote = format == FORMAT_PLAN ? "" : "\"";

	if (buf_addf(to, "%s%s", quote, binds ? "@" : "") < 0)
		return -1;
	if (p->port == 0 && format == FORMAT_SLURM && !binds && (p->from == DRIVER || p->to == DRIVER))
		/* the batch script has no host's $run */
		return buf_addf(to, "ipc://$run.%s/%d%s", w->hosts->h[0].name, wire, quote);
	if (p->port == 0)
		return buf_addf(to, "ipc://%s/%d%s", format == FORMAT_PLAN ? "{run}" : "$run", wire, quote);
	if (buf_addf(to, "tcp://") < 0 || address(to, w, format, w->lines->line[binder(w->lines, wire)].host, binds) < 0)
		return -1;
	return buf_addf(to, ":%d%s", p->port, quote);
}

int
write_keys(struct buf *to, const struct writing *w)
{
	if (w->key && (buf_addf(to, " --key ") < 0 || script_quote(to, w->key) < 0))
		return -1;
	if (w->peers && (buf_addf(to, " --peers ") < 0 || script_quote(to, w->peers) < 0))
		return -1;
	return w->unsafe ? buf_addf(to, " --unsafe") : 0;
}

int
write_line(struct buf *to, const struct writing *w, enum format format, int line)
{
	const struct lines *o = w->lines;
	const struct line *l = &o->line[line];
	int ports = 0, r = buf_add(to, l->text.p, l->text.n);

	for (int i = 0; i < l->nin; i++)
		ports |= o->wire[l->in[i]].port;
	for (int i = 0; i < l->nout; i++)
		ports |= o->wire[l->out[i]].port;
	if (r == 0 && ports)
		r = write_keys(to, w);
	for (int i = 0; i < l->nin && r == 0; i++)
		r = buf_addf(to, " -i ") < 0 ? -1 : write_end(to, w, format, l->in[i], 1);
	for (int i = 0; i < l->nout && r == 0; i++)
		r = buf_addf(to, " -o ") < 0 ? -1 : write_end(to, w, format, l->out[i], binder(o, l->out[i]) == line);
	return r;
}

/* Append the endpoint that the driver connects to. */
static int
driver_line(struct buf *to, const struct writing *w, const char *word, int feed)
{
	const struct lines *o = w->lines;

	for (int i = 0; i < o->nwires; i++)
		if ((feed ? o->wire[i].from : o->wire[i].to) == DRIVER)
			return buf_addf(to, "%s ", word) < 0 || write_end(to, w, FORMAT_PLAN, i, 0) < 0 ? -1 : buf_addc(to, '\n');
	return 0;
}

static int
check_word(const char *option, const char *word)
{
	int c = word ? planfile_misfit(word) : 0;

	if (c == 0)
		return 0;
	if (c == '{' || c == '}')
		return fail(FAIL_USAGE, "%s '%s': a plan cannot hold '%c': give another, or -f sh, ssh or slurm", option, word, c);
	return fail(FAIL_USAGE, "%s '%s': a plan cannot hold the control character 0x%02x: give another, or -f sh, ssh or slurm",
	    option, word, c);
}

/* Check that ds-run can read the plan. */
static int
check_plan(const struct buf *text)
{
	struct planfile p = {0};
	int r = buf_add(&p.text, text->p, text->n) < 0 || buf_addc(&p.text, 0) < 0 ? -1 : 0;

	if (r == 0) {
		p.text.n--;
		if ((r = planfile_parse(&p, "to be")) < 0)
			(void)fail(FAIL_USAGE, "ds-run cannot read this plan: %s", fail_text());
	}
	planfile_free(&p);
	return r;
}

int
write_plan(struct buf *to, const struct writing *w, const char *report)
{
	const struct hosts *hosts = w->hosts;
	int r = check_word("-m", w->model) < 0 || check_word("--sample", w->sample) < 0 || check_word("--key", w->key) < 0 ||
	    check_word("--peers", w->peers) < 0 || buf_addf(to, "%splan 1\n", report) < 0 ? -1 : 0;

	for (int i = 0; i < hosts->n + hosts->spares && r == 0; i++)
		r = buf_addf(to, "host %s %s%s\n", hosts->h[i].name, hosts->h[i].address, hosts->h[i].spare ? " spare" : "");
	if (r == 0)
		r = driver_line(to, w, "feed", 1);
	for (int i = 0; i < w->lines->n && r == 0; i++)
		if (buf_addf(to, "run %s ", hosts->h[w->lines->line[i].host].name) < 0 ||
		    write_line(to, w, FORMAT_PLAN, i) < 0 || buf_addc(to, '\n') < 0)
			r = -1;
	return r < 0 || driver_line(to, w, "take", 0) < 0 ? -1 : check_plan(to);
}
