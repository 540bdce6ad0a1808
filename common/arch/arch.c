#include "arch/arch.h"

#include <stdio.h>
#include <string.h>

const struct arch *const archs[] = {&arch_deepseek, &arch_llama, NULL};

/* --- names --- */

/* The pattern with {l} and {e} filled in. */
static void
fill(char to[WEIGHT_NAME_MAX], const char *pattern, int layer, int expert)
{
	size_t n = 0;

	for (const char *p = pattern; *p && n + 12 < WEIGHT_NAME_MAX; ) {
		if (p[0] == '{') {
			n += (size_t)sprintf(to + n, "%d", p[1] == 'l' ? layer : expert);
			p += 3;
		} else {
			to[n++] = *p++;
		}
	}
	to[n] = 0;
}

/* A number at the beginning of name: how many digits it has, 0 if that is none. */
static size_t
number(const char *name, int *out)
{
	size_t n = 0;

	for (*out = 0; name[n] >= '0' && name[n] <= '9' && n < 8; n++)
		*out = *out * 10 + name[n] - '0';
	return n;
}

/* How far name goes as the pattern does, to the pattern's end; 0: it does not. */
static size_t
match(const char *pattern, const char *name, int *layer, int *expert)
{
	const char *at = name;

	for (const char *p = pattern; *p; ) {
		if (p[0] == '{') {
			size_t digits = number(at, p[1] == 'l' ? layer : expert);

			if (digits == 0)
				return 0;
			at += digits;
			p += 3;
		} else if (*p++ != *at++) {
			return 0;
		}
	}
	return (size_t)(at - name);
}

/* --- rows --- */

static void
set(struct weight *w, const struct config *c, const struct weight_row *row, int layer, int expert)
{
	w->row = row;
	w->layer = layer;
	w->expert = row->kind == WEIGHT_EXPERT ? expert : -1;
	w->rows = row->rows(c);
	w->cols = row->cols ? row->cols(c) : 0;
}

static int
is_layered(const struct weight_row *row)
{
	return strstr(row->name, "{l}") != NULL;
}

static int
exists(const struct weight_row *row, const struct config *c, int layer)
{
	return is_layered(row) == (layer >= 0) && (!row->exists || row->exists(c, layer));
}

int
weight_find(struct weight *w, const struct config *c, enum role role, int layer, int expert)
{
	for (const struct weight_row *row = c->arch->weights; row->name; row++)
		if (row->role == role && exists(row, c, layer)) {
			set(w, c, row, layer, expert);
			fill(w->name, row->name, layer, expert);
			return 1;
		}
	return 0;
}

/* The row after w's, and its expert: the rows of experts repeat for each of them. */
static const struct weight_row *
following(const struct weight *w, const struct config *c, int *expert)
{
	const struct weight_row *row = w->row;

	*expert = w->expert < 0 ? 0 : w->expert;
	if (row->kind != WEIGHT_EXPERT || row[1].kind == WEIGHT_EXPERT ||
	    ++*expert == c->n_routed_experts)
		return row + 1;
	while (row > c->arch->weights && row[-1].kind == WEIGHT_EXPERT)
		row--;
	return row;
}

int
weight_next(struct weight *w, const struct config *c, int layer)
{
	const struct weight_row *row = c->arch->weights;
	int expert = 0;

	if (w->row)
		row = following(w, c, &expert);
	while (row->name && !exists(row, c, layer))
		row++;
	if (!row->name)
		return 0;
	set(w, c, row, layer, expert);
	fill(w->name, row->name, layer, expert);
	return 1;
}

int
weight_named(struct weight *w, const struct config *c, const char *name)
{
	size_t n = strlen(name);

	if (n >= sizeof(w->name))
		return 0;
	for (const struct weight_row *row = c->arch->weights; row->name; row++) {
		int layer = -1, expert = -1;

		if (match(row->name, name, &layer, &expert) != n)
			continue;
		set(w, c, row, layer, expert);
		memcpy(w->name, name, n + 1);
		return 1;
	}
	return 0;
}

int
weight_layer(const struct config *c, const char *name)
{
	int layer, expert;

	return match(c->arch->layer, name, &layer, &expert) ? layer : -1;
}

enum dtype
weight_dtype(const struct weight_row *row, const struct config *c, enum dtype plain)
{
	int linear = row->kind <= WEIGHT_EXPERT;
	int quantized = row->kind == WEIGHT_HEAD ? c->quant_head :
	    row->kind == WEIGHT_LINEAR ? !c->quant_experts : linear;

	if (c->quant && quantized)
		return c->quant == 8 ? Q8 : Q4;
	if (c->fp8 && linear)
		return F8_E4M3;
	return row->kind == WEIGHT_BIAS ? F32 : plain;
}

enum weight_group
weight_group(const struct weight_row *row)
{
	return row->stage == AT_ATTN ? WEIGHTS_ATTN : row->stage == AT_ROUTE ? WEIGHTS_ROUTE :
	    row->kind == WEIGHT_EXPERT ? WEIGHTS_ROUTED : WEIGHTS_SHARED;
}
