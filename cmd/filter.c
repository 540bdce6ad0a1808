#include "filter.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/fail.h"
#include "stage/failed.h"

void
filter_links(struct filter *f)
{
	struct options *o = &f->o;

	if (o->nin == 0 && o->max_in > 0 && !o->streams)
		o->in[o->nin++] = "-";
	if (o->nout == 0 && o->max_out > 0)
		o->out[o->nout++] = "-";
	f->stage.in = f->in;
	f->stage.out = f->out;
	f->stage.nout = o->nout;
	if (o->streams) {
		o->nin = 1;     /* one link reads them all */
		if (link_open_all(&f->in[0], o->from, o->nfrom) < 0)
			die_failed();
	}
	for (int i = 0; i < o->nin && !o->streams; i++)
		if (link_open(&f->in[i], o->in[i], LINK_IN) < 0)
			die_failed();
	for (int i = 0; i < o->nout; i++)
		if (link_open(&f->out[i], o->out[i], LINK_OUT) < 0)
			die_failed();
	f->stage.nin = o->nin;
}

void
filter_fail(struct filter *f)
{
	int status;

	(void)stage_fail(f->out, f->o.nout, program);
	status = fail_status();
	for (int i = 0; i < f->o.nin; i++)
		(void)link_close(&f->in[i]);    /* first: in a loop of links a program downstream
						 * may wait for this one */
	for (int i = 0; i < f->o.nout; i++)
		(void)link_close(&f->out[i]);   /* waits until the error frame is out */
	exit(status);
}

void
filter_ready(struct filter *f)
{
	if (f->o.ready < 0)
		return;
	if (write(f->o.ready, "\n", 1) != 1)
		die(FAIL_SYSTEM, "cannot write to the descriptor of -r %d:", f->o.ready);
	close(f->o.ready);
}

int
filter_close(struct filter *f, int status)
{
	unsigned long long in = 0;

	for (int i = 0; i < f->o.nin; i++)
		in += f->in[i].frames;
	if (f->o.verbose && status == 0)
		warn("%llu frames in, %llu out", in, (unsigned long long)f->out[0].frames);
	for (int i = 0; i < f->o.nin; i++) {
		if (status == 0 && link_unread(&f->in[i])) {
			warn("%s: another stream follows the end frame, and is left unread: "
			    "give a file with one stream", f->in[i].name);
			status = FAIL_SYSTEM;
		}
		(void)link_close(&f->in[i]);
	}
	for (int i = 0; i < f->o.nout; i++)
		if (link_close(&f->out[i]) < 0 && status == 0) {
			warn("%s", fail_text());
			status = fail_status();
		}
	pool_free(f->stage.pool);
	return status == 0 ? failed_status() : status;
}

int
filter_run(struct filter *f, stage_fn *fn, void *arg)
{
	if (stage_run(&f->in[0], f->out, f->o.nout, fn, arg, f->stage.device) == 0)
		return filter_close(f, 0);
	fail_print();
	return filter_close(f, fail_status());
}
