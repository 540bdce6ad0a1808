#include "supervise/reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "link/link.h"

/* The tcp:// endpoint in word i of a command line, or NULL. */
static const char *
endpoint(const struct plan_line *l, int i)
{
	const char *w = l->words[i];

	if (i == 0 || (strcmp(l->words[i - 1], "-i") != 0 && strcmp(l->words[i - 1], "-o") != 0))
		return NULL;
	if (strncmp(w, "nccl:", 5) == 0)
		w += 5;
	return strncmp(w + (*w == '@' || *w == '>'), "tcp://", 6) == 0 ? w : NULL;
}

/* "{beta}" or "{beta}:5611" in an endpoint. */
static const char *
host_part(const char *e)
{
	return e + (*e == '@' || *e == '>') + 6;
}

/* How well a bound endpoint w matches a connecting endpoint c: 0 not, 2 by host name, 1 by port
 * only (another name of the host, or a proxy). */
static int
fits(const struct planfile *p, int host, const char *w, const char *c)
{
	const char *wport = strrchr(w, ':'), *cport = strrchr(c, ':'), *at = host_part(c);
	size_t n = strlen(p->hosts[host].name);

	if (*w != '@' || *c == '@' || strcmp(wport, cport) != 0)
		return 0;
	if (*at != '{')
		return 1;
	return strncmp(at + 1, p->hosts[host].name, n) == 0 && at[n + 1] == '}' ? 2 : 0;
}

/* Add the link of an endpoint c that connects, if another host binds its peer. */
static int
add(struct reach *r, int from, int line, const char *c)
{
	const struct planfile *p = r->plan;
	struct reach_link l = {.from = from, .to = -1, .from_line = line, .connects = c};
	int best = 0;

	for (int k = 0; k < p->nlines; k++)
		for (int i = 1; i < p->lines[k].nwords; i++) {
			const char *w = endpoint(&p->lines[k], i);
			int how = w ? fits(p, p->lines[k].host, w, c) : 0;

			if (how <= best)
				continue;
			best = how;
			l.to = p->lines[k].host;
			l.to_line = k;
			l.waits = w;
		}
	if (best == 0 || l.to == from)
		return 0;
	if (mem_grow(&r->l, &r->cap, (size_t)r->n + 1, sizeof(*r->l)) < 0)
		return -1;
	r->l[r->n++] = l;
	return 0;
}

int
reach_open(struct reach *r, const struct planfile *plan)
{
	const char *driver[] = {plan->feed, plan->take};

	*r = (struct reach){.plan = plan};
	for (int i = 0; i < 2; i++)
		if (strncmp(driver[i] + (*driver[i] == '>'), "tcp://", 6) == 0 && add(r, plan->nhosts, -1, driver[i]) < 0)
			return -1;
	for (int k = 0; k < plan->nlines; k++)
		for (int i = 1; i < plan->lines[k].nwords; i++) {
			const char *e = endpoint(&plan->lines[k], i);

			if (e && *e != '@' && add(r, plan->lines[k].host, k, e) < 0)
				return -1;
		}
	return 0;
}

void
reach_close(struct reach *r)
{
	free(r->l);
	*r = (struct reach){0};
}

void
reach_reset(struct reach *r)
{
	for (int i = 0; i < r->n; i++)
		r->l[i].broken = r->l[i].accused = 0;
}

/* 1 if the text begins with this endpoint. */
static int
names(const struct reach *r, const char *text, const char *e, const char *const *address)
{
	struct buf b = {0};
	int yes = planfile_fill(&b, r->plan, e, address) == 0 && strncmp(text, (char *)b.p, b.n) == 0 && text[b.n] == ':';

	buf_free(&b);
	return yes;
}

void
reach_accuse(struct reach *r, int line, const char *text, const char *const *address)
{
	if (link_lost(text) != LOST_UNHEARD)
		return;
	for (int i = 0; i < r->n; i++) {
		struct reach_link *l = &r->l[i];

		if ((l->from_line == line && names(r, text, l->connects, address)) ||
		    (l->to_line == line && names(r, text, l->waits, address)))
			l->accused = 1;
	}
}

/* Count the neighbours of a host and the unreachable ones; peers[p] becomes 1 or 2 for these. */
static void
look_around(const struct reach *r, int host, int accused, char *peers, int *all, int *cut)
{
	memset(peers, 0, (size_t)r->plan->nhosts + 1);
	*all = *cut = 0;
	for (int i = 0; i < r->n; i++) {
		const struct reach_link *l = &r->l[i];
		int peer = l->from == host ? l->to : l->to == host ? l->from : -1, bad = accused ? l->accused : l->broken;

		if (peer < 0)
			continue;
		*all += peers[peer] == 0;
		*cut += bad && peers[peer] < 2;
		peers[peer] = bad ? 2 : peers[peer] ? peers[peer] : 1;
	}
}

static void
name_peers(const struct reach *r, const char *peers, int cut, char *text, size_t size)
{
	int said = 0;
	size_t n = 0;

	*text = 0;
	for (int i = 0; i <= r->plan->nhosts && n < size; i++) {
		if (peers[i] < 2)
			continue;
		said++;
		n += (size_t)snprintf(text + n, size - n, "%s%s", said == 1 ? "" : said == cut ? " and " : ", ",
		    i == r->plan->nhosts ? "this host" : r->plan->hosts[i].name);
	}
}

int
reach_culprit(const struct reach *r, int accused, int *peers, char *text, size_t size)
{
	int hosts = r->plan->nhosts + 1, best = -1, most = 0, worst = 0;
	char *around = mem_new((size_t)hosts, 1);

	for (int h = 0; h < hosts && around; h++) {
		int all, cut;

		look_around(r, h, accused, around, &all, &cut);
		if (cut == 0 || (cut == all) < worst || ((cut == all) == worst && cut <= most))
			continue;
		worst = cut == all;
		most = cut;
		best = h;
		if (text)
			name_peers(r, around, cut, text, size);
	}
	free(around);
	if (peers)
		*peers = most;
	return best;
}

void
reach_excuse(struct reach *r, int host)
{
	for (int i = 0; i < r->n; i++)
		if (r->l[i].from == host || r->l[i].to == host)
			r->l[i].broken = r->l[i].accused = 0;
}
