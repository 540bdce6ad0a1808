#include "launch/tally.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

int
tally_open(struct tally *t, int fd, double asked)
{
	char path[32];

	memset(t, 0, sizeof(*t));
	t->asked = asked;
	t->first = -1;
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	t->open = link_open(&t->in, path, LINK_IN) == 0;
	close(fd);
	return t->open ? 0 : -1;
}

void
tally_question(struct tally *t)
{
	t->asked = clock_now();
	t->last = 0;
}

void
tally_count(struct tally *t, const struct frame *f)
{
	double now = clock_now();
	uint64_t tokens = 0;

	t->answers += f->op == OP_FAILED;
	if (f->op != OP_NONE || f->nspans == 0)
		return;
	for (int i = 0; i < f->nspans; i++) {
		tokens += span_tokens(&f->spans[i]);
		t->guesses += f->spans[i].n - span_tokens(&f->spans[i]);
		t->right += f->spans[i].flags & SPAN_HELD ? f->spans[i].n : 0;
		/* the sequence held all positions up to this one */
		t->answers += (f->spans[i].flags & SPAN_LAST) != 0;
		if (f->spans[i].flags & SPAN_LAST)
			t->whole += (uint64_t)f->spans[i].pos + span_tokens(&f->spans[i]);
	}
	t->generated += tokens;
	if (t->last > 0) {
		t->busy += now - t->last;
		t->timed += tokens;
	}
	if (t->first < 0)
		t->first = now - t->asked;
	t->last = now;
}

int
tally_read(struct tally *t)
{
	struct frame f;
	int r;

	frame_init(&f);
	r = link_try_receive(&t->in, &f);
	if (r == 1)
		tally_count(t, &f);
	if (r == 1 && t->dialog && dialog_add_frame(t->dialog, &f) < 0)
		r = -1;
	if (r == 1 ? f.op == OP_END : r < 0)
		tally_close(t);
	frame_free(&f);
	return r == -1 ? -1 : 0;
}

void
tally_close(struct tally *t)
{
	if (t->open)
		(void)link_close(&t->in);
	t->open = 0;
}

char *
tally_text(const struct tally *t, char *to, size_t size)
{
	uint64_t prompt = t->whole > t->generated ? t->whole - t->generated : 0;
	int n = snprintf(to, size, "%llu prompt tokens, %llu generated",
	    (unsigned long long)prompt, (unsigned long long)t->generated);

	if (t->busy > 0)
		n += snprintf(to + n, size - (size_t)n, ", %.1f tokens/s",
		    (double)t->timed / t->busy);
	if (t->first >= 0)
		n += snprintf(to + n, size - (size_t)n, ", the first after %.0f ms",
		    t->first * 1e3);
	if (t->guesses > 0)
		snprintf(to + n, size - (size_t)n, ", %llu of %llu guesses right",
		    (unsigned long long)t->right, (unsigned long long)t->guesses);
	return to;
}
