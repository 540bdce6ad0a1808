#include "link/zmq/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/mem.h"
#include "link/zmq/libzmq.h"
#include "link/link.h"

#define FILE_MAX (1u << 20)

/* Read a text file; `mode` are the permission bits that it must not have. */
static int
load(const char *path, mode_t mode, const char *why, struct buf *b)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r;
	struct stat s;

	if (fd < 0 || fstat(fd, &s) < 0) {
		/* a file that is missing or not readable will not be there on a retry */
		r = fail(errno == ENOENT || errno == ENOTDIR || errno == EACCES ? FAIL_USAGE : FAIL_SYSTEM, "cannot open '%s':", path);
	} else if (!S_ISREG(s.st_mode)) {
		r = fail(FAIL_USAGE, "'%s' is not a file", path);
	} else if (s.st_mode & mode) {
		r = fail(FAIL_USAGE, "'%s' has mode %04o: %s", path, (unsigned)s.st_mode & 07777, why);
	} else {
		r = io_slurp(fd, b, FILE_MAX) < 0 ? fail_in("%s", path) : 0;
	}
	if (fd >= 0)
		close(fd);
	return r < 0 ? -1 : buf_addc(b, 0);
}

/* Parse a key of 40 letters at s, which has n characters. Returns 0 or -1. */
static int
parse(const char *s, size_t n, unsigned char key[KEY_BYTES])
{
	static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
	char text[KEY_TEXT + 1];

	if (n != KEY_TEXT)
		return -1;
	memcpy(text, s, n);
	text[n] = 0;
	return strspn(text, letters) == n && zmq_z85_decode(key, text) ? 0 : -1;
}

static int
parse_key(const char *path, const char *text, struct keys *k)
{
	unsigned char (*to[])[KEY_BYTES] = {&k->public, &k->secret};
	static const char *const names[] = {"public ", "secret "};

	for (int i = 0; i < 2; i++) {
		const char *line = strstr(text, names[i]);

		if (!line || (line != text && line[-1] != '\n') || parse(line + 7, strcspn(line + 7, "\r\n"), *to[i]) < 0)
			return fail(FAIL_DATA, "'%s' has no line '%sKEY': create it with ds-keygen", path, names[i]);
	}
	return 0;
}

static int
parse_peers(const char *path, const char *text, struct keys *k)
{
	size_t cap = 0, line = 0;

	for (const char *s = text; *s; s += strcspn(s, "\n"), s += *s == '\n') {
		line++;
		if (strspn(s, " \t\r") == strcspn(s, "\n"))
			continue;
		if (mem_grow(&k->allowed, &cap, k->nallowed + 1, sizeof(*k->allowed)) < 0)
			return -1;
		if (parse(s, strcspn(s, " \t\r\n"), k->allowed[k->nallowed]) < 0)
			return fail(FAIL_DATA, "'%s', line %zu: a line begins with a public key of %d letters", path, line, KEY_TEXT);
		k->nallowed++;
	}
	return k->nallowed > 0 ? 0 : fail(FAIL_DATA, "'%s' has no keys", path);
}

static int
keys_read(struct keys *k)
{
	struct buf b = {0};
	int r;

	r = load(link_settings.key, 077, "a secret key must be readable by its owner only: chmod 600", &b);
	if (r == 0)
		r = parse_key(link_settings.key, (char *)b.p, k);
	if (b.p)
		explicit_bzero(b.p, b.n);
	b.n = 0;
	if (r == 0 && link_settings.peers) {
		r = load(link_settings.peers, 022, "others may write to it", &b);
		if (r == 0)
			r = parse_peers(link_settings.peers, (char *)b.p, k);
	} else if (r == 0) {
		k->allowed = &k->public;
		k->nallowed = 1;
	}
	buf_free(&b);
	return r;
}

int
keys_get(const struct keys **k)
{
	static struct keys keys;

	*k = NULL;
	if (!link_settings.key)
		return link_settings.peers ? fail(FAIL_USAGE, "--peers requires --key FILE (ds-keygen makes one)") : 0;
	if (keys.nallowed == 0 && keys_read(&keys) < 0)
		return -1;
	*k = &keys;
	return 0;
}

int
key_make(const char *path, char public[KEY_TEXT + 1])
{
	char secret[KEY_TEXT + 1], text[128];
	int fd, r;

	if (libzmq_load() < 0)
		return -1;
	if (zmq_curve_keypair(public, secret) < 0)
		return fail(FAIL_SYSTEM, "cannot make a key: %s", zmq_strerror(zmq_errno()));
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		return fail(FAIL_SYSTEM, "cannot create '%s':", path);
	snprintf(text, sizeof(text), "public %s\nsecret %s\n", public, secret);
	r = fchmod(fd, 0600) < 0 ? fail(FAIL_SYSTEM, "'%s':", path) : io_write(fd, text, strlen(text));
	explicit_bzero(text, sizeof(text));
	explicit_bzero(secret, sizeof(secret));
	if (close(fd) < 0 && r == 0)
		r = fail(FAIL_SYSTEM, "cannot write:");
	if (r < 0) {
		(void)unlink(path);
		return fail_in("%s", path);
	}
	return 0;
}
