#include "device/cpu_pages.h"

#include <string.h>

#include "cpu/cpu.h"

struct mat
cpu_page(const struct kv_rows *r, const struct kv_shape *kv, const void *page, int g, int values,
    int rows)
{
	size_t at = (size_t)g * CACHE_PAGE * (size_t)kv_numbers(kv);
	int own = values && !kv->shared;

	at += own ? CACHE_PAGE * (size_t)kv->key : 0;
	return (struct mat){.data = (const char *)page + at * dtype_size(r->dtype), .rows = rows,
	    .cols = own ? kv->value : kv->key, .dtype = r->dtype};
}

void
cpu_store(const struct kv_rows *r, void *page, ptrdiff_t at, const float *x, int n)
{
	uint16_t *to = (uint16_t *)page + at;

	if (r->dtype == F32)
		memcpy((float *)page + at, x, (size_t)n * sizeof(*x));
	else
		for (int i = 0; i < n; i++)
			to[i] = (uint16_t)(bits_of_float(bf16_of_float(x[i])) >> 16);
}

int
cpu_chosen(const struct kv_rows *r, int t)
{
	return r->chosen && r->pos[t] >= (uint32_t)r->topk;
}

/* Where in a list of chosen positions [n] those begin that are in this page or after it. */
static int
chosen_from(const int32_t *chosen, int n, int page)
{
	int low = 0, high = n;

	while (low < high) {
		int middle = (low + high) / 2;

		if (chosen[middle] < page * CACHE_PAGE)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct seen
cpu_sees(const struct kv_rows *r, int t, int page)
{
	int64_t to = (int64_t)r->pos[t] + 1 - (int64_t)page * CACHE_PAGE, from = to - r->window;

	if (cpu_chosen(r, t)) {
		const int32_t *chosen = r->chosen + (ptrdiff_t)t * r->topk;
		int first = chosen_from(chosen, r->topk, page);

		return (struct seen){0, chosen_from(chosen, r->topk, page + 1) - first,
		    chosen + first};
	}
	return (struct seen){r->window == 0 || from < 0 ? 0 : from < CACHE_PAGE ? (int)from :
	    CACHE_PAGE, to < 0 ? 0 : to < CACHE_PAGE ? (int)to : CACHE_PAGE, NULL};
}

int
cpu_first_page(const struct kv_rows *r, int t)
{
	int64_t from = (int64_t)r->pos[t] + 1 - r->window;

	return r->window == 0 || from < 0 ? 0 : (int)(from / CACHE_PAGE);
}

struct mat
cpu_gather(const struct kv_rows *r, const struct kv_shape *kv, const void *page, int g, int values,
    const struct seen *s, void *to)
{
	const int32_t *at = s->chosen;
	int n = s->to;
	struct mat m = cpu_page(r, kv, page, g, values, n);
	ptrdiff_t row = (ptrdiff_t)dtype_row(m.dtype, m.cols);
	const char *from = m.data;

	if (n == 0 || at[n - 1] - at[0] == n - 1) {
		m.data = from + (n ? at[0] % CACHE_PAGE : 0) * row;
		return m;
	}
	for (ptrdiff_t i = 0; i < n; i++)
		memcpy((char *)to + i * row, from + at[i] % CACHE_PAGE * row, (size_t)row);
	m.data = to;
	return m;
}
