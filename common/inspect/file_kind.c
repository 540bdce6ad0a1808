#include "inspect/file_kind.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "frame/frame.h"

#define HEAD 9          /* bytes: the length of a safetensors header, and its first character */

static int
ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);

	return n > k && strcmp(s + n - k, with) == 0;
}

static size_t
read_head(const char *path, unsigned char head[HEAD])
{
	struct stat st;
	FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "re") : NULL;
	size_t n = f ? fread(head, 1, HEAD, f) : 0;

	if (f)
		fclose(f);
	return n;
}

enum file_kind
file_kind(const char *path)
{
	unsigned char head[HEAD];

	if (read_head(path, head) == HEAD) {
		if (frame_begins(head, HEAD) == 0)
			return FILE_FRAMES;
		if (memcmp(head, "\x93NUMPY", 6) == 0)
			return FILE_NPY;
		if (head[HEAD - 1] == '{')
			return FILE_SAFETENSORS;
	}
	return ends(path, ".safetensors") ? FILE_SAFETENSORS :
	    ends(path, ".npy") ? FILE_NPY : FILE_FRAMES;
}
