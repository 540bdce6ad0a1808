/* checkexport MODEL DIR: writes the tokenizer of a model as files of a folder, and prints what a GGUF file says of it. */
/* Without arguments, a check: nothing to do. The shell tests compare its files. */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/io.h"
#include "token/export.h"

static void
put(const char *dir, const char *name, const struct buf *b)
{
	char path[4096];
	FILE *f;

	if (io_path(path, sizeof(path), dir, name) < 0)
		die_failed();
	f = fopen(path, "w");
	if (!f || fwrite(b->p, 1, b->n, f) != b->n || fclose(f) != 0)
		die(3, "cannot write '%s'", path);
}

int
main(int argc, char **argv)
{
	struct export e = {0};
	struct buf b = {0};

	program = "checkexport";
	if (argc != 3) {
		printf("1..0 # SKIP checkexport MODEL DIR\n");
		return 0;
	}
	if (export_open(&e, argv[1]) < 0 || export_tokenizer(&e, &b) < 0)
		die_failed();
	put(argv[2], "tokenizer.json", &b);
	b.n = 0;
	if (export_settings(&e, &b) < 0)
		die_failed();
	put(argv[2], "tokenizer_config.json", &b);
	printf("%s %zu %zu %d %d", e.pre ? e.pre->name : "none", e.n, e.nmerges, e.add_bos, e.add_eos);
	for (int i = 0; i < GGUF_IDS; i++)
		printf(" %lld", (long long)e.ids[i]);
	printf(" %zu\n", e.template ? strlen(e.template) : 0);
	buf_free(&b);
	export_close(&e);
	return 0;
}
