/*
 * Within programs with sanitizers: they start and end sooner.
 *
 * When a program starts, ASan looks up each function of libc that it replaces.  93 of them are none
 * of glibc's, or only of its old versions, and for each of these dlsym(3) prints a message.  That
 * is half of the time of a start: 1.3 ms, and 380 of 500 page faults.  With --wrap=dlsym, what no
 * library has is not searched for.
 *
 * At the end, LSan looks for pointers in all variables, and 5 MB of these are the sanitizers' own:
 * a table of stacks and so on, most of it never used.  It leaves out the range that
 * GetAllocatorGlobalRange tells.
 *
 * The first free(3) or realloc(3) clears 528 KB of variables that are zeros: 129 page faults, a
 * tenth of the time of a small stage.  The system can do so without touching the pages.
 *
 * Some of this runs before ASan has its shadow, so it is compiled without sanitizers.  If gcc's
 * libasan has another order or other names, all is as it would be without this file.
 */
#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlsym(void *handle, const char *name);

/* What an entry of the dynamic section points to.  (ld.so adds the library's address, except in
 * the vDSO, where it can't write.) */
static const void *
entry(const struct link_map *m, ElfW(Sxword) tag)
{
	for (const ElfW(Dyn) *d = m->l_ld; d->d_tag != DT_NULL; d++) {
		ElfW(Addr) at = d->d_un.d_ptr;

		if (d->d_tag == tag)
			return (const void *)(at < m->l_addr ? at + m->l_addr : at);
	}
	return NULL;
}

static int
same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Does it have the name, in a version that a lookup without one finds?  1 also if it can't be told.
 * `hash` is that of the GNU tables. */
static int
has(const struct link_map *m, const char *name, uint32_t hash)
{
	const struct { uint32_t buckets, first, words, shift; } *table = entry(m, DT_GNU_HASH);
	const ElfW(Sym) *symbols = entry(m, DT_SYMTAB);
	const ElfW(Half) *versions = entry(m, DT_VERSYM);
	const char *names = entry(m, DT_STRTAB);
	const uint32_t *buckets, *chain;

	if (!table || !symbols || !names)
		return 1;
	buckets = (const uint32_t *)((const ElfW(Addr) *)(table + 1) + table->words);
	chain = buckets + table->buckets;
	for (uint32_t i = buckets[hash % table->buckets]; i && i >= table->first; i++) {
		uint32_t other = chain[i - table->first];

		if ((other | 1) == (hash | 1) && (!versions || versions[i] < 0x8000) &&
		    same(names + symbols[i].st_name, name))
			return 1;
		if (other & 1)          /* the last one of the bucket */
			break;
	}
	return 0;
}

void *
__wrap_dlsym(void *handle, const char *name)
{
	uint32_t hash = 5381;

	if (handle != RTLD_NEXT && handle != RTLD_DEFAULT)
		return __real_dlsym(handle, name);
	for (const char *s = name; *s; s++)
		hash = 33 * hash + (unsigned char)*s;
	for (const struct link_map *m = _r_debug.r_map; m; m = m->l_next)
		if (has(m, name, hash))
			return __real_dlsym(handle, name);
	return NULL;
}

/*
 * The variables of ASan's allocator: with those that follow, up to this file's, which the linker
 * puts between the sanitizers' and the program's.
 */
#define RANGE(x) x##_ZN6__lsan23GetAllocatorGlobalRangeEPmS0_
void RANGE(__real_)(uintptr_t *begin, uintptr_t *end) __attribute__((weak));
void RANGE(__wrap_)(uintptr_t *begin, uintptr_t *end);

void
RANGE(__wrap_)(uintptr_t *begin, uintptr_t *end)
{
	static char last;

	RANGE(__real_)(begin, end);
	if (*end < (uintptr_t)&last)
		*end = (uintptr_t)&last;
}

/* Whole pages of variables that begin as zeros, which no file has, are zeros again once they are
 * given back. */
#define MEMSET(x) x##_ZN11__sanitizer15internal_memsetEPvim
void *MEMSET(__real_)(void *p, int c, size_t n) __attribute__((weak));
void *MEMSET(__wrap_)(void *p, int c, size_t n);
extern char edata, end;

void *
MEMSET(__wrap_)(void *p, int c, size_t n)
{
	uintptr_t page = 4096, begin = (uintptr_t)p;
	uintptr_t from = (begin + page - 1) & -page, to = (begin + n) & -page;

	if (c != 0 || n < 16 * page || begin < (uintptr_t)&edata + page ||
	    begin + n > (uintptr_t)&end || madvise((void *)from, to - from, MADV_DONTNEED) < 0)
		return MEMSET(__real_)(p, c, n);
	MEMSET(__real_)(p, 0, from - begin);
	MEMSET(__real_)((void *)to, 0, begin + n - to);
	return p;
}
