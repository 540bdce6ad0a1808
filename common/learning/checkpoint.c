/*
 * What a run keeps: STATE/step-N has the masters and moments after step N, and state.json, by which
 * a run that goes on knows that it is the same run.  A state is complete once it has this name:
 * before, it is step-N.part.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/commit.h"
#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "base/lock.h"
#include "learn/assemble.h"
#include "learning/learning_internal.h"
#include "weights/folder_file.h"

#define STATE_MAX (1 << 20)

/* --- names --- */

/* The N of "step-N", or with `part` of "step-N.part"; 0: another name. */
static uint64_t
step_of(const char *name, int part)
{
	char again[64];
	uint64_t n = strncmp(name, "step-", 5) == 0 ? strtoull(name + 5, NULL, 10) : 0;

	snprintf(again, sizeof(again), "step-%llu%s", (unsigned long long)n, part ? ".part" : "");
	return strcmp(again, name) == 0 ? n : 0;
}

static void
name_state(char to[PATH_MAX], const char *folder, uint64_t step, const char *end)
{
	snprintf(to, PATH_MAX, "%s/step-%llu%s", folder, (unsigned long long)step, end);
}

/* The newest complete state, 0: none.  0, or -1 and a message. */
static int
find_newest(const char *folder, uint64_t *step)
{
	DIR *d = opendir(folder);
	struct dirent *e;

	*step = 0;
	if (!d)
		return errno == ENOENT ? 0 : fail(FAIL_SYSTEM, "cannot read '%s':", folder);
	while ((e = readdir(d))) {
		uint64_t n = step_of(e->d_name, 0);

		*step = n > *step ? n : *step;
	}
	closedir(d);
	return 0;
}

int
learning_newest(const struct learning_options *o, char *to, size_t size)
{
	uint64_t step = 0;
	char path[PATH_MAX];

	*to = 0;
	if (!o->state || find_newest(o->state, &step) < 0)
		return o->state ? -1 : 0;
	if (step == 0)
		return 0;
	name_state(path, o->state, step, "");
	if (strlen(path) >= size)
		return fail(FAIL_SYSTEM, "'%s': the path is too long", path);
	strcpy(to, path);
	return 0;
}

/* --- state.json --- */

static int
put(struct buf *b, const char *key, const char *text)
{
	if (buf_addf(b, "%s", b->n > 1 ? ",\n" : "") < 0 || json_quote(b, key, strlen(key)) < 0 ||
	    buf_addf(b, ": ") < 0)
		return -1;
	return json_quote(b, text, strlen(text));
}

static int
describe(const struct run *r, struct buf *b)
{
	struct setting s[SETTINGS_MAX];
	int n = settings_list(r, s);

	if (buf_addc(b, '{') < 0 || put(b, "model", r->model.weights.id) < 0 ||
	    put(b, "data", r->data) < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (put(b, s[i].name, s[i].text) < 0)
			return -1;
	return buf_addf(b, "}\n");
}

static int
write_state(const struct run *r, const char *folder)
{
	char path[PATH_MAX];
	struct buf b = {0};
	int e = describe(r, &b) < 0 || io_path(path, sizeof(path), folder, STATE_FILE) < 0 ||
	    folder_file_write(folder, STATE_FILE, b.p, b.n) < 0 ? -1 : commit_sync(path);

	buf_free(&b);
	return e;
}

/* Compare a key with what this run has. */
static int
same(const cJSON *o, const char *key, const char *text)
{
	const char *was = NULL;

	if (json_string(o, key, JSON_REQUIRED, &was) < 0)
		return -1;
	return strcmp(was, text) == 0 ? 0 :
	    fail(FAIL_DATA, "it was made with %s %.200s, now it is %.200s: "
	    "give the same options and records, or another --state", key, was, text);
}

int
checkpoint_resume(struct run *r)
{
	struct setting s[SETTINGS_MAX];
	char folder[PATH_MAX], path[PATH_MAX];
	int n = settings_list(r, s), e;
	cJSON *o;

	if (learning_newest(r->o, folder, sizeof(folder)) < 0)
		return -1;
	if (!*folder)
		return 0;
	if (io_path(path, sizeof(path), folder, STATE_FILE) < 0 ||
	    !(o = json_load(path, STATE_MAX)))
		return -1;
	e = same(o, "model", r->model.weights.id) < 0 || same(o, "data", r->data) < 0 ? -1 : 0;
	for (int i = 0; i < n && e == 0; i++)
		e = same(o, s[i].name, s[i].text);
	cJSON_Delete(o);
	r->step = r->saved = step_of(strrchr(folder, '/') + 1, 0);
	if (e == 0 && r->step > r->steps)
		e = fail(FAIL_DATA, "it has more steps than the %llu of this run: give another "
		    "--state", (unsigned long long)r->steps);
	return e < 0 ? fail_in("'%s'", folder) : 0;
}

/* --- saving --- */

int
checkpoint_ask(struct run *r, enum save what, const char *folder, double weight)
{
	char whole[PATH_MAX];
	struct frame f;
	int e;

	if (!realpath(folder, whole))
		return fail(FAIL_SYSTEM, "cannot find '%s':", folder);
	frame_init(&f);
	f.op = OP_SAVE_WEIGHTS;
	f.step = (struct frame_step){.weight = weight, .what = what, .folder = whole};
	f.changed = 1;
	e = pipeline_send(&r->pipe, &f) < 0 ||
	    pipeline_await(&r->pipe, OP_SAVE_WEIGHTS, &f) < 0 ? -1 : 0;
	frame_free(&f);
	return e;
}

/* Remove all states but that of `step`, and what was not completed. */
static void
remove_others(const char *folder, uint64_t step)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	char path[PATH_MAX];

	while (d && (e = readdir(d))) {
		uint64_t n = step_of(e->d_name, 0);

		if ((n != 0 && n != step) || step_of(e->d_name, 1) != 0)
			if (io_path(path, sizeof(path), folder, e->d_name) == 0)
				shard_folder_remove(path);
	}
	if (d)
		closedir(d);
}

int
checkpoint_shards(char to[PATH_MAX], const char *path)
{
	if (snprintf(to, PATH_MAX, "%s.shards", path) < PATH_MAX)
		return 0;
	return fail(FAIL_SYSTEM, "'%s': the path is too long", path);
}

/* What has that name is a file, or nothing: it is replaced. */
static int
check_gradients(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 || S_ISREG(st.st_mode) ? 0 :
	    fail(FAIL_USAGE, "--gradients '%.200s' is no file: name a file", path);
}

/* Make the folder of states, where no other run may save while this one does. */
static int
lock_state(struct run *r)
{
	const char *folder = r->o->state;

	if (mkdir(folder, 0777) < 0 && errno != EEXIST)
		return fail(FAIL_SYSTEM, "cannot create '%s':", folder);
	if (access(folder, W_OK | X_OK) < 0)
		return fail(FAIL_SYSTEM, "cannot write to '%s':", folder);
	r->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return r->lock < 0 ? fail(FAIL_SYSTEM, "cannot open '%s':", folder) :
	    lock_file(r->lock, folder);
}

/* A state in the result would go with it when the next one replaces it. */
static int
check_apart(const struct learning_options *o)
{
	char state[PATH_MAX], out[PATH_MAX];
	size_t n;

	if (!realpath(o->state, state) || !realpath(o->out, out))
		return 0;       /* there is no result yet */
	n = strlen(out);
	if (strncmp(state, out, n) != 0 || (state[n] && state[n] != '/'))
		return 0;
	return fail(FAIL_USAGE, "--state '%.200s' is in the folder of the result: name another one",
	    o->state);
}

int
checkpoint_check(struct run *r)
{
	const struct learning_options *o = r->o;
	const char *path = r->out;
	char shards[PATH_MAX];

	if (o->dry_run && path && check_gradients(path) < 0)
		return -1;
	if (path && (lock_path(&r->out_lock, path) < 0 || checkpoint_shards(shards, path) < 0 ||
	    shard_folder_make(shards) < 0))
		return -1;
	if (path)
		shard_folder_remove(shards);
	if (o->dry_run)
		return 0;
	if (o->state && (lock_state(r) < 0 || check_apart(o) < 0))
		return -1;
	return assemble_check(&r->model, o->out);
}

static int
save_state(struct run *r)
{
	const char *folder = r->o->state;
	char part[PATH_MAX], whole[PATH_MAX];

	name_state(part, folder, r->step, ".part");
	name_state(whole, folder, r->step, "");
	if (shard_folder_make(part) == 0 && checkpoint_ask(r, SAVE_STATE, part, 0) == 0 &&
	    write_state(r, part) == 0 && commit_file(part, whole) == 0) {
		r->saved = r->step;
		remove_others(folder, r->step);
		return 0;
	}
	shard_folder_remove(part);      /* a full disk needs it */
	return -1;
}

static int
save_weights(struct run *r)
{
	char shards[PATH_MAX];
	int e;

	if (checkpoint_shards(shards, r->o->out) < 0)
		return -1;
	e = shard_folder_make(shards) < 0 || checkpoint_ask(r, SAVE_WEIGHTS, shards, 0) < 0 ||
	    learn_assemble(&r->model, shards, r->o->out) < 0 ? -1 : 0;
	shard_folder_remove(shards);
	return e;
}

int
checkpoint_save(struct run *r)
{
	if (r->o->state && r->saved != r->step && save_state(r) < 0)
		return -1;
	return save_weights(r);
}
