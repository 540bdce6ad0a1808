#include "launch/script.h"

#include <stdio.h>
#include <string.h>

const char script_folder[] =
"dir=$(mktemp -d \"${TMPDIR:-/tmp}/ds-run.XXXXXX\") || exit 3\n"
"trap 'rm -rf \"$dir\"' EXIT\n"
"trap 'exit 129' HUP\n"
"trap 'exit 130' INT\n"
"trap 'exit 143' TERM\n"
"mkfifo \"$dir/loop\" || exit 3\n"
"\n"
"# sh reports the status of the last program only: each one that fails writes its own to a file\n"
"run() { \"$@\" || echo $? >>\"$dir/failed\"; }\n"
"\n";

/* The same check as in keep_open. */
static const char keep[] =
"mkdir -p -- \"$keep\" || exit 3\n"
"for f in \"$keep\"/*.dsf; do\n"
"\t[ ! -e \"$f\" ] || { echo \"'$f' exists from another run: set keep to a new folder\" >&2; exit 2; }\n"
"done\n"
"for f in";

/* The same files as in keep_create. */
static const char create[] =
"; do\n"
"\tf=$keep/$f\n"
"\t(set -C; : >\"$f\") 2>/dev/null && continue\n"
"\t[ -e \"$f\" ] || { echo \"cannot make '$f'\" >&2; exit 3; }\n"
"\techo \"'$f' exists from another run: set keep to a new folder\" >&2\n"
"\texit 2\n"
"done\n";

/* The same checks as in answer_file_open. */
static const char fresh[] =
"\nif [ -f \"$out\" ] && [ -s \"$out\" ]; then\n"
"\techo \"'$out' is not empty: set out to another file\" >&2\n"
"\texit 2\n"
"fi";
static const char whole[] =
"\n: >>\"$out\" || exit 3\n"
"if [ \"$(tail -c 1 \"$out\")\" ]; then       # a torn last line\n"
"\tsed '$d' \"$out\" >\"$out.tmp\" && mv -f \"$out.tmp\" \"$out\" || exit 3\n"
"fi";
static const char copy[] = "mkfifo \"$dir/prompts\" || exit 3\n\n";
static const char votes[] = "mkfifo \"$dir/votes\" || exit 3\n\n";

/* A stage that fails by itself exits 1 or 2; those that follow exit 3 or more. */
const char script_status[] =
"\n"
"[ ! -e \"$dir/failed\" ] || exit \"$(sort -n \"$dir/failed\" | head -n 1)\"\n";

int
script_quote(struct buf *b, const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:+@%";
	int r = 0;

	if (*s && s[strspn(s, plain)] == 0)
		return buf_add(b, s, strlen(s));
	r = buf_addc(b, '\'');
	for (; *s && r == 0; s++)
		r = *s == '\'' ? buf_add(b, "'\\''", 4) : buf_addc(b, *s);
	return r < 0 ? -1 : buf_addc(b, '\'');
}

int
script_remark(struct buf *b, const char *s)
{
	int r = 0;

	for (; *s && r == 0; s++)
		r = buf_addc(b, (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
	return r;
}

int
script_command(struct buf *to, const struct command *t, const struct script_word *words, int n)
{
	int r = buf_addf(to, "run %s", t->words[0]);

	for (int i = 1; i < t->nwords && r == 0; i++) {
		int k = 0;

		while (k < n && words[k].word != t->words[i])
			k++;
		if (buf_addc(to, ' ') < 0)
			return -1;
		r = k < n ? buf_addf(to, "%s", words[k].text) : script_quote(to, t->words[i]);
	}
	return r;
}

static int
command(struct buf *b, const struct command *t, const struct plan_options *o)
{
	char kept[512] = "";
	const struct script_word words[] = {{o->model, "\"$model\""}, {o->loop_in, "\"$dir/loop\""},
	    {o->copy_in, "\"$dir/prompts\""}, {o->early ? o->votes_in : NULL, "\"$dir/votes\""},
	    {o->out, "\"$out\""}, {t->keep, kept}};

	if (t->keep)
		snprintf(kept, sizeof(kept), "\"$keep\"%s", strrchr(t->keep, '/'));
	return script_command(b, t, words, sizeof(words) / sizeof(*words));
}

static int
operands(struct buf *b, char **texts, int n)
{
	int r = n > 0 ? buf_addf(b, " --") : 0;

	for (int i = 0; i < n && r == 0; i++)
		r = buf_addc(b, ' ') < 0 ? -1 : script_quote(b, texts[i]);
	return r;
}

int
script_assign(struct buf *b, const char *name, const char *value, const char *after)
{
	if (buf_addf(b, "%s=", name) < 0 || script_quote(b, value) < 0)
		return -1;
	return buf_addf(b, "%s\n", after);
}

/* Append the folder of a kept run and its files. */
static int
keep_files(struct buf *to, const struct plan *p, const struct plan_options *o)
{
	if (script_assign(to, "keep", o->keep, "") < 0 || buf_addf(to, "%s", keep) < 0)
		return -1;
	for (int i = 0; i < p->n; i++)
		if (p->commands[i].keep && buf_addf(to, " %s",
		    strrchr(p->commands[i].keep, '/') + 1) < 0)
			return -1;
	return buf_addf(to, "%s", create);
}

int
script_begin(struct buf *to, const char *dir, const char *model)
{
	return buf_addf(to, "#!/bin/sh\n") < 0 ||
	    (dir && script_assign(to, "PATH", dir, ":$PATH") < 0) ||
	    script_assign(to, "model", model, "") < 0 ? -1 : 0;
}

int
script_write(struct buf *to, const struct plan *p, const struct plan_options *o,
    const char *dir, const char *prompts, char **texts, int ntexts)
{
	if (script_begin(to, dir, o->model) < 0 ||
	    (o->keep && keep_files(to, p, o) < 0) ||
	    (o->out && script_assign(to, "out", o->out, o->resume ? whole : fresh) < 0) ||
	    buf_addf(to, "%s%s%s", script_folder, o->jsonl ? copy : "", o->early ? votes : "") < 0)
		return -1;
	for (int i = 0; i < p->n; i++) {
		if (command(to, &p->commands[i], o) < 0 ||
		    (i == 0 && operands(to, texts, ntexts) < 0))
			return -1;
		if (i == 0 && prompts && (buf_addf(to, " <") < 0 || script_quote(to, prompts) < 0))
			return -1;
		if (i == p->n - 2 && buf_addf(to, " |\nrun tee \"$dir/loop\"") < 0)
			return -1;
		if (buf_addf(to, i < p->n - 1 ? " |\n" : o->out ? " >>\"$out\"\n" : "\n") < 0)
			return -1;
	}
	return buf_addf(to, "%s", script_status);
}
