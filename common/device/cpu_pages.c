#include "device/cpu_pages.h"

#include <string.h>

struct mat
cpu_page(const struct kv_shape *kv, const void *page, int g, int values, int rows)
{
	ptrdiff_t key = (ptrdiff_t)g * CACHE_PAGE * kv_numbers(kv);
	int own = values && !kv->shared;

	return (struct mat){.data = (const float *)page + key + (own ?
	    CACHE_PAGE * (ptrdiff_t)kv->key : 0), .rows = rows, .cols = own ? kv->value : kv->key,
	    .dtype = F32};
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
cpu_gather(const struct kv_shape *kv, const void *page, int g, int values, const struct seen *s,
    float *to)
{
	const int32_t *at = s->chosen;
	int n = s->to;
	struct mat m = cpu_page(kv, page, g, values, n);
	const float *from = m.data;

	if (n == 0 || at[n - 1] - at[0] == n - 1) {
		m.data = from + (n ? at[0] % CACHE_PAGE : 0) * (ptrdiff_t)m.cols;
		return m;
	}
	for (ptrdiff_t i = 0; i < n; i++)
		memcpy(to + i * m.cols, from + at[i] % CACHE_PAGE * (ptrdiff_t)m.cols,
		    (size_t)m.cols * sizeof(*to));
	m.data = to;
	return m;
}
