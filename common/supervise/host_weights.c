#include "supervise/host_weights.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"
#include "launch/script.h"
#include "link/address.h"
#include "stage/stages.h"

#define SECONDS 15.0    /* time limit for the manifest, so that starts are not delayed */
#define THREADS_MAX 16
#define LINES_EACH 100  /* lines of the manifest in one order to an agent */

/* What processes map: layers, and tensors outside of layers. */
struct coverage {
	struct layers layers;
	int embed, head, draft;
	const struct config *config;
};

static const char *
name_of(const struct plan_line *l)
{
	const char *slash = strrchr(l->words[0], '/');

	return slash ? slash + 1 : l->words[0];
}

/* The value of an option given as a separate word, or NULL. */
static const char *
value_of(const struct plan_line *l, const char *option)
{
	for (int i = 1; i + 1 < l->nwords; i++)
		if (strcmp(l->words[i], option) == 0)
			return l->words[i + 1];
	return NULL;
}

/* Add what a process maps; 1 if it maps anything. A wrong command line is reported when it
 * starts. */
static int
cover_line(struct coverage *n, const struct plan_line *l)
{
	const struct stage_program *p = stage_find(name_of(l));
	struct layers own;

	if (!p || !p->weights)
		return 0;
	n->embed |= p->at == AT_EMBED;
	n->head |= p->at == AT_HEAD;
	if (p->at == AT_DRAFT)          /* what its layer lacks, it shares with the model */
		n->draft = n->embed = n->head = 1;
	if (at_layered(p->at) && layers_parse(&own, value_of(l, "-l"), n->config->num_layers) == 0)
		for (int k = 0; k < n->config->num_layers; k++)
			n->layers.has[k] |= own.has[k];
	return 1;
}

static int
is_covered(const struct coverage *n, const char *name)
{
	int layer = weight_layer(n->config, name);
	struct weight w;

	if (layer >= 0)
		return layer < n->config->num_layers ? n->layers.has[layer] : n->draft;
	return n->head || (n->embed && weight_named(&w, n->config, name) && w.row->role == ROLE_EMBED);
}

static int
wants_tensor(void *arg, const struct tensor_entry *t)
{
	return is_covered(arg, t->name);
}

int
host_weights_apply(const struct host_weights *w, const struct plan_line *l, const char *address)
{
	const char *model = value_of(l, "-m");
	struct coverage n = {.config = &w->config};
	char *path;
	int same;

	if (!w->model || value_of(l, "--manifest") || !cover_line(&n, l))
		return 0;
	if (!model || w->given || !address_is_local(address))
		return 1;
	path = realpath(model, NULL);
	same = path && strcmp(path, w->model) == 0;
	free(path);
	return !same;
}

/* 1 if the process may run where its weights must be compared. */
static int
may_apply(const struct host_weights *w, const struct planfile *p, const struct plan_line *l)
{
	for (int i = 0; i < p->nhosts; i++)
		if ((i == l->host || p->hosts[i].spare) && host_weights_apply(w, l, p->hosts[i].address))
			return 1;
	return 0;
}

static struct pool *
make_pool(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return pool_new(n < 1 ? 1 : n < THREADS_MAX ? n : THREADS_MAX);
}

static int
make_manifest(struct host_weights *w, struct coverage *n, const char *model)
{
	const struct manifest_sample sample = {.pieces = MANIFEST_PIECES, .bytes = MANIFEST_PIECE, .seconds = SECONDS};
	struct pool *pool = make_pool();
	struct model m = {0};
	size_t lacking = 0, all = 0;
	int r = !pool || model_open(&m, model) < 0 ||
	    manifest_write(&w->text, &m.weights, sample, wants_tensor, n, pool, &lacking, &all) < 0 ? -1 : 0;

	if (r == 0 && lacking > 0)
		warn("%zu of %zu tensors of the hosts are not compared: %s", lacking, all, fail_text());
	model_close(&m);
	if (pool)
		pool_free(pool);
	return r < 0 ? -1 : buf_addc(&w->text, 0);
}

/* Check that a file is a manifest and read its text. */
static int
read_manifest(struct host_weights *w, const char *path)
{
	struct manifest f;

	if (manifest_open(&f, path) < 0)
		return -1;
	manifest_close(&f);
	w->given = 1;
	return io_file(path, &w->text, MANIFEST_BYTES_MAX);
}

int
host_weights_open(struct host_weights *w, const struct planfile *p, const char *model, const char *manifest)
{
	struct coverage n = {0};
	int lines = 0;

	*w = (struct host_weights){0};
	if (manifest && read_manifest(w, manifest) < 0)
		return -1;
	if (!(w->model = realpath(model, NULL)) || config_load(&w->config, model) < 0) {
		host_weights_close(w);  /* ds-tokenize reports what is wrong with it */
		return 0;
	}
	n.config = &w->config;
	if (manifest)
		return 0;
	for (int i = 0; i < p->nlines; i++)
		if (may_apply(w, p, &p->lines[i]))
			lines += cover_line(&n, &p->lines[i]);
	if (lines > 0 && make_manifest(w, &n, model) == 0)
		return 0;
	if (lines > 0)
		warn("the hosts' weights are not compared: %s", fail_text());
	host_weights_close(w);
	return 0;
}

void
host_weights_close(struct host_weights *w)
{
	free(w->model);
	buf_free(&w->text);
	*w = (struct host_weights){0};
}

/* Append a line of the manifest to the orders, several per order. */
static int
send_lines(struct buf *to, int number, const char *line, size_t n)
{
	char text[2048];

	snprintf(text, sizeof(text), "%.*s", (int)n, line);
	if (buf_addf(to, "%s", number % LINES_EACH ? " " : number ? "\nlines " : "lines ") < 0)
		return -1;
	return script_quote(to, text);
}

/* Whether a process maps the tensor of a manifest line, whose name is the last word. */
static int
covers_line(const struct coverage *n, const char *line, const char *end)
{
	char name[WEIGHT_NAME_MAX];

	for (int i = 0; i < 3; i++)
		line = strchr(line, ' ') + 1;
	snprintf(name, sizeof(name), "%.*s", (int)(end - line), line);
	return is_covered(n, name);
}

int
host_weights_send(struct buf *to, const struct host_weights *w, const struct planfile *p, int host, const char *address)
{
	const char *end, *line = (const char *)w->text.p;
	struct coverage n = {.config = &w->config};
	int lines = 0, sent = 0, r;

	for (int i = 0; i < p->nlines; i++)
		if (p->lines[i].host == host && host_weights_apply(w, &p->lines[i], address))
			lines += cover_line(&n, &p->lines[i]);
	if (lines == 0)
		return 0;
	r = buf_addf(to, "file %s\n", WEIGHTS_FILE);
	for (int i = 0; r == 0 && (end = strchr(line, '\n')); i++, line = end + 1)
		if (i < 3 || covers_line(&n, line, end))
			r = send_lines(to, sent++, line, (size_t)(end - line));
	return r < 0 ? -1 : buf_addc(to, '\n');
}
