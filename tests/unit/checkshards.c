/* What processes that learn save: state that is loaded again, and the new checkpoint. */
/* check: yes */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "learn/assemble.h"
#include "learn/control.h"
#include "learn/save.h"
#include "learnline.h"
#include "point.h"
#include "weights/folder_file.h"
#include "weights/layout.h"
#include "weights/round.h"
#include "weights/shard_file.h"

static char scratch[] = "/tmp/checkshards.XXXXXX";
static char base[100];                  /* the folder at hand in it */

/* A path in that folder, in one of 64 buffers. */
__attribute__((format(printf, 1, 2))) static const char *
in(const char *fmt, ...)
{
	static char paths[64][600];
	static int next;
	char *to = paths[next++ % 64];
	int n = snprintf(to, sizeof(paths[0]), "%s/", base);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(to + n, sizeof(paths[0]) - (size_t)n, fmt, ap);
	va_end(ap);
	return to;
}

static const char *
folder(const char *name)
{
	const char *path = in("%s", name);

	(void)mkdir(path, 0777);
	return path;
}

static int
failed_with(int r, int status, const char *words)
{
	if (r < 0 && fail_status() == status && strstr(fail_text(), words))
		return 1;
	if (r == 0)
		fail(FAIL_DATA, "it did not fail");
	return 0;
}

static int
same_files(const char *a, const char *b)
{
	struct buf p = {0}, q = {0};
	int same = io_file(a, &p, 1 << 30) == 0 && io_file(b, &q, 1 << 30) == 0 && p.n == q.n &&
	    memcmp(p.p, q.p, p.n) == 0;

	if (!same)
		fail(FAIL_DATA, "'%s' and '%s' differ", a, b);
	buf_free(&p);
	buf_free(&q);
	return same;
}

/* Whether each file of folder a is in b with the same bytes, but weights where they may differ; the
 * number of files in *n. */
static int
same_folders(const char *a, const char *b, int weights, int *n)
{
	char x[4096], y[4096];
	const struct dirent *e;
	DIR *d = opendir(a);
	int same = d != NULL;

	*n = 0;
	while (same && (e = readdir(d))) {
		/* (results of the golden models are no files of theirs) */
		if (e->d_name[0] == '.' || strcmp(e->d_name, "expected.safetensors") == 0 ||
		    strcmp(e->d_name, "gradients.safetensors") == 0)
			continue;
		++*n;
		if (io_path(x, sizeof(x), a, e->d_name) < 0 ||
		    io_path(y, sizeof(y), b, e->d_name) < 0)
			same = 0;
		else if (weights || !strstr(e->d_name, "safetensors"))
			same = same_files(x, y);
	}
	if (d)
		closedir(d);
	return same;
}

static int
learn_a_step(struct line *s, uint64_t t)
{
	struct frame_step step = step_of(t);

	add_gradients(s);
	return line_step(s, &step);
}

/* --- a model --- */

static int
same_weights(const struct line *a, const char *dir)
{
	struct line b;
	int same = line_open(&b, dir, 1) == 0;

	for (size_t i = 0; same && i < a->learn.nparams; i++) {
		const struct mat *v = &a->learn.params[i]->mat, *w = &b.learn.params[i]->mat;

		same = memcmp(v->data, w->data, (size_t)v->rows * dtype_row(v->dtype, v->cols)) ==
		    0 && (!v->scale || memcmp(v->scale, w->scale, fp8_blocks((size_t)v->rows) *
		    (size_t)v->scale_cols * sizeof(float)) == 0);
	}
	line_close(&b);
	return same;
}

/* Without a step the checkpoint is the source; with one it has the weights of the process. */
static void
check_assemble(const char *dir)
{
	struct line s;
	int n = 0, opened = line_open(&s, dir, 2) == 0;
	const char *out = in("out");

	printf("# %s\n", dir);
	point(opened && learn_save(&s.learn, SAVE_WEIGHTS, folder("shards"), 0) == 0 &&
	    learn_assemble(&s.model, in("shards"), out) == 0 && same_folders(dir, out, 1, &n) &&
	    n > 1, "a run that changes nothing reproduces all files");
	point(opened && learn_a_step(&s, 1) == 0 &&
	    learn_save(&s.learn, SAVE_WEIGHTS, in("shards"), 0) == 0 &&
	    learn_assemble(&s.model, in("shards"), out) == 0 && same_folders(dir, out, 0, &n) &&
	    same_weights(&s, out) && access(in("out.part"), F_OK) < 0,
	    "after a step it has the weights of the process, in the place of the last");
	line_close(&s);
}

/* Three steps, and one with two more from its state. */
static void
check_state(const char *dir)
{
	struct line a, b;
	int r = line_open(&a, dir, 2) == 0 && line_open(&b, dir, 1) == 0 &&
	    learn_a_step(&a, 1) == 0 && learn_save(&a.learn, SAVE_STATE, folder("state"), 0) == 0;

	point(r && learn_load(&b.learn, in("state")) == 0 && same_lines(&a, &b),
	    "a state that is loaded has the same masters, moments and weights");
	for (uint64_t t = 2; r && t <= 3; t++) {
		struct frame_step step = step_of(t);

		add_gradients(&a);
		copy_gradients(&b, &a);
		r = line_step(&a, &step) == 0 && line_step(&b, &step) == 0;
	}
	point(r && same_lines(&a, &b), "and so has all that follows");
	line_close(&a);
	line_close(&b);
}

static void
check_gradients(const char *dir)
{
	struct line s;
	struct shards g = {0};
	const struct param *p = NULL;
	const void *data;
	int r = line_open(&s, dir, 1) == 0;

	add_gradients(&s);
	r = r && learn_save(&s.learn, SAVE_GRADIENTS, folder("gradients"), 3) == 0 &&
	    shards_open(&g, in("gradients"), s.model.weights.id, SAVE_GRADIENTS) == 0;
	for (size_t i = 0, left = 0; r && i < s.learn.nparams; i++) {
		const struct tensor_entry *t;

		p = s.learn.params[i];
		left += p->shared != SHARED_NONE || p->role == ROLE_ROUTER_BIAS;
		t = shards_find(&g, p->name, &data);
		if (!t || p->shared != SHARED_NONE)
			r = !t && (p->shared != SHARED_NONE || p->role == ROLE_ROUTER_BIAS);
		for (size_t j = 0; t && j < p->n; j++)
			r = r && ((const float *)data)[j] == (float)((double)p->acc[j] *
			    (0x1p-40 / 3));
		r = r && g.names.n + left <= s.learn.nparams;
	}
	point(r && p, "gradients are the sums by their weight, without shared ones");
	shards_close(&g);
	line_close(&s);
}

/* --- a model with all dtypes --- */

/* What a tensor becomes: scales BF16, matrices that are not quantized F16, vectors F32. */
static enum dtype
other_dtype(const struct tensor_entry *t)
{
	size_t n;

	if (t->dtype != BF16)
		return layout_is_scale(t->name, &n) ? BF16 : (enum dtype)t->dtype;
	return t->rank == 2 ? F16 : F32;
}

/* The bytes of t as that dtype, to be freed. */
static unsigned char *
converted(const struct tensor_file *f, const struct tensor_entry *t, size_t *bytes)
{
	size_t n = (size_t)(t->end - t->begin) / dtype_size((enum dtype)t->dtype);
	struct mat row = {.data = f->map.p + t->begin, .rows = 1, .cols = (int)n,
	    .dtype = (enum dtype)t->dtype};
	enum dtype to = other_dtype(t);
	float *x = mem_raw(n, sizeof(*x));
	unsigned char *out = mem_raw(n, sizeof(*x));

	*bytes = n * dtype_size(to);
	if (x && out && to != row.dtype) {
		kernels_named("ref")->row(x, &row, 0);
		round_row(out, x, (int)n, to, NULL);
	} else if (out) {
		memcpy(out, row.data, *bytes);
	}
	free(x);
	return out;
}

static int
write_types(const struct tensor_file *f, struct shard_file *s, const char *dir)
{
	int r = 0;

	for (size_t i = 0; i < f->n; i++) {
		struct tensor_entry t = f->tensors[i];

		snprintf(t.dtype_text, sizeof(t.dtype_text), "%s", dtype_name(other_dtype(&t)));
		t.end = t.begin + (t.end - t.begin) / dtype_size((enum dtype)t.dtype) *
		    dtype_size(other_dtype(&t));
		r |= shard_file_add_copy(s, &t);
		s->list[i].dtype = dtype_name(other_dtype(&f->tensors[i]));
	}
	r |= shard_file_create(s, dir, "model.safetensors");
	for (size_t i = 0; r == 0 && i < f->n; i++) {
		size_t bytes;
		unsigned char *p = converted(f, &f->tensors[i], &bytes);

		r = p ? shard_file_write(s, s->list[i].at, p, bytes) : -1;
		free(p);
	}
	return r;
}

static int
make_types(const char *dir)
{
	static const char from[] = "tests/golden/v3-fp8-odd";
	struct shard_file s = {.fd = -1};
	struct tensor_file f = {0};
	char path[200];
	int r;

	snprintf(path, sizeof(path), "%s/model.safetensors", from);
	r = tensor_file_open(&f, path) < 0 || write_types(&f, &s, dir) < 0 ||
	    folder_file_copy(from, dir, "config.json") < 0 ? -1 : 0;
	shard_file_close(&s);
	tensor_file_close(&f);
	return r;
}

/* --- what is wrong with it --- */

static int
cut_file(const char *path, off_t by)
{
	struct stat st;

	return stat(path, &st) == 0 && truncate(path, st.st_size - by) == 0 ? 0 :
	    fail(FAIL_SYSTEM, "cannot truncate '%s':", path);
}

static void
check_state_errors(struct line *s)
{
	const char *dir = folder("bad"), *file = in("bad/all.safetensors");
	struct line other;
	struct param *p = s->learn.params[2];
	int cols = p->cols;

	point(failed_with(learn_load(&s->learn, dir), FAIL_DATA, "has no *.safetensors"),
	    "a folder without shards is refused");
	point(line_open(&other, "tests/golden/qwen3", 1) == 0 &&
	    learn_save(&other.learn, SAVE_STATE, dir, 0) == 0 &&
	    failed_with(learn_load(&s->learn, dir), FAIL_DATA, "dspipe.model is '"),
	    "the state of another model is refused");
	line_close(&other);
	point(learn_save(&s->learn, SAVE_WEIGHTS, dir, 0) == 0 &&
	    failed_with(learn_load(&s->learn, dir), FAIL_DATA, "must be 'state'"),
	    "weights are no state");
	s->learn.step = 6;
	point(learn_save(&s->learn, SAVE_STATE, dir, 0) == 0 &&
	    rename(file, in("bad/a.safetensors")) == 0, "a state of step 6 is made");
	s->learn.step = 5;
	point(learn_save(&s->learn, SAVE_STATE, dir, 0) == 0 &&
	    failed_with(learn_load(&s->learn, dir), FAIL_DATA, ": it is of step "),
	    "a shard of another step is refused");
	(void)unlink(in("bad/a.safetensors"));
	p->cols = 0;
	point(learn_save(&s->learn, SAVE_STATE, dir, 0) == 0, "a state of another shape is made");
	p->cols = cols;
	point(failed_with(learn_load(&s->learn, dir), FAIL_DATA, ".master' is F32 ["),
	    "and is refused");
	p->owner = 0;
	point(learn_save(&s->learn, SAVE_STATE, dir, 0) == 0 &&
	    failed_with(learn_load(&s->learn, dir), FAIL_DATA, "no file has tensor '"),
	    "a tensor that is missing is named");
	p->owner = 1;
	point(cut_file(file, 5) == 0 &&
	    failed_with(learn_load(&s->learn, dir), FAIL_DATA, "its header claims"),
	    "a truncated shard is refused");
	p->master[3] = INFINITY;
	point(learn_save(&s->learn, SAVE_STATE, dir, 0) == 0 &&
	    failed_with(learn_load(&s->learn, dir), FAIL_DATA, "inf, which no step makes"),
	    "numbers that are not finite are refused");
	point(failed_with(learn_save(&s->learn, SAVE_STATE, in("none"), 0), FAIL_SYSTEM,
	    "cannot create"), "a folder that is missing is an error");
}

static void
check_assemble_errors(struct line *s)
{
	const char *dir = folder("bad"), *out = in("new");
	struct param *p = s->learn.params[1];

	point(failed_with(assemble_check(&s->model, s->model.weights.dir), FAIL_USAGE,
	    "is the model that is learned from"), "the source is not overwritten");
	point(failed_with(assemble_check(&s->model, "tests/golden/v3"), FAIL_USAGE,
	    "is no result of learning"), "nor is a folder that learning did not write");
	point(failed_with(assemble_check(&s->model, in("../v3/out")), FAIL_USAGE,
	    "was learned from another model"), "nor the result of another model");
	point(failed_with(learn_assemble(&s->model, dir, out), FAIL_DATA, "must be 'weights'"),
	    "a state is no shard");
	p->owner = 0;
	point(learn_save(&s->learn, SAVE_WEIGHTS, dir, 0) == 0 &&
	    failed_with(learn_assemble(&s->model, dir, out), FAIL_DATA, "no file has tensor '"),
	    "a tensor that is missing is named");
	p->owner = 1;
	strcpy(s->learn.who, "another");
	point(learn_save(&s->learn, SAVE_WEIGHTS, dir, 0) == 0 &&
	    failed_with(learn_assemble(&s->model, dir, out), FAIL_DATA, "is in two files"),
	    "a tensor in two files is named");
	point(access(out, F_OK) < 0 && access(in("new.part"), F_OK) < 0, "nothing is left of them");
	(void)unlink(in("bad/all.safetensors"));
	point(mkdir(out, 0777) == 0 && learn_assemble(&s->model, dir, out) == 0,
	    "an empty folder is filled");
}

/* --- a full disk, a kill --- */

/* What a process may write to a file, as on a disk that is nearly full. */
static void
limit_files(rlim_t bytes)
{
	struct rlimit r;

	(void)signal(SIGXFSZ, SIG_IGN);
	(void)getrlimit(RLIMIT_FSIZE, &r);
	r.rlim_cur = bytes;
	(void)setrlimit(RLIMIT_FSIZE, &r);
}

static void
check_full(struct line *s)
{
	const char *dir = folder("full"), *out = in("last");
	int n, r = learn_save(&s->learn, SAVE_WEIGHTS, dir, 0) == 0 &&
	    learn_assemble(&s->model, dir, out) == 0 &&
	    learn_save(&s->learn, SAVE_STATE, folder("last-state"), 0) == 0;

	limit_files(50000);
	point(r && failed_with(learn_save(&s->learn, SAVE_STATE, in("last-state"), 0), FAIL_SYSTEM,
	    "cannot write"), "a full disk is an error of a shard");
	point(failed_with(learn_assemble(&s->model, dir, out), FAIL_SYSTEM, "File too large"),
	    "and of the new checkpoint");
	limit_files(RLIM_INFINITY);
	point(learn_load(&s->learn, in("last-state")) == 0 &&
	    access(in("last-state/%s.safetensors.part", s->learn.who), F_OK) < 0 &&
	    access(in("last.part"), F_OK) < 0 &&
	    same_folders(s->model.weights.dir, out, 0, &n) && same_weights(s, out),
	    "the last state and checkpoint stay");
}

/* What is left of a process that was killed while it wrote. */
static void
check_killed(struct line *s)
{
	const char *dir = in("full"), *part = in("last.part"), *out = in("last");
	FILE *f;

	(void)mkdir(part, 0777);
	f = fopen(in("last.part/%s", "model.safetensors"), "w");
	(void)fclose(f);
	point(failed_with(learn_assemble(&s->model, dir, out), FAIL_USAGE, "last.part' exists"),
	    "a folder of that name that learning did not write is not removed");
	point(rename(in("last/%s", ASSEMBLE_MARK), in("last.part/%s", ASSEMBLE_MARK)) == 0 &&
	    failed_with(learn_assemble(&s->model, dir, out), FAIL_USAGE, "last' exists") &&
	    link(in("last.part/%s", ASSEMBLE_MARK), in("last/%s", ASSEMBLE_MARK)) == 0 &&
	    learn_assemble(&s->model, dir, out) == 0 && access(part, F_OK) < 0,
	    "what is left after a kill is replaced");
}

/* --- control frames --- */

static void
check_control(struct line *s)
{
	struct frame f = {.op = OP_NORM, .step = step_of(4)};
	const struct tensor *t;
	learn_square sum;

	add_gradients(s);
	point(learn_norm(&s->learn, 3, &sum) == 0 && learn_control(&s->learn, &f) == 0 &&
	    (t = frame_tensor(&f, GRAD_MLP_NORM)) && t->shape[0] ==
	    (uint64_t)s->model.config.num_layers && frame_other(&f, "squares"),
	    "a norm frame gets squares and the sums of norms");
	f.op = OP_STEP;
	s->learn.step = 2;
	point(failed_with(learn_control(&s->learn, &f), FAIL_DATA, "it is step 4, must be 3"),
	    "a step that is not the next one is refused");
	s->learn.step = 3;
	point(learn_control(&s->learn, &f) == 0 && s->learn.params[0]->acc[0] == 0,
	    "a step frame makes a step and clears sums");
	f.step.t++;
	frame_drop(&f, GRAD_MLP_NORM);
	point(failed_with(learn_control(&s->learn, &f), FAIL_DATA, GRAD_MLP_NORM),
	    "one without the sums is refused");
	f.op = OP_SAVE_WEIGHTS;
	f.step.folder = folder("saved");
	point(learn_control(&s->learn, &f) == 0 && frame_other(&f, "shards") &&
	    access(in("saved/%s.safetensors", s->learn.who), F_OK) == 0,
	    "a save frame writes a shard and gets its name");
	frame_free(&f);
}

int
main(void)
{
	static const char *const models[] = {"v3", "qwen2", "llama", "types"};
	struct line s;

	if (!mkdtemp(scratch)) {
		perror(scratch);
		return 1;
	}
	for (int i = 0; i < 4; i++) {
		char dir[200];

		snprintf(base, sizeof(base), "%s/%s", scratch, models[i]);
		if (mkdir(base, 0777) < 0)
			return 1;
		if (i == 3)
			point(make_types(strcpy(dir, folder("model"))) == 0,
			    "a model of all dtypes");
		else
			snprintf(dir, sizeof(dir), "tests/golden/%s", models[i]);
		check_assemble(dir);
		check_state(dir);
		check_gradients(dir);
	}
	if (line_open(&s, "tests/golden/llama", 1) == 0 && learn_a_step(&s, 1) == 0) {
		check_state_errors(&s);
		check_assemble_errors(&s);
	}
	line_close(&s);
	if (line_open(&s, "tests/golden/llama", 1) == 0) {
		check_full(&s);
		check_killed(&s);
		check_control(&s);
	}
	line_close(&s);
	snprintf(base, sizeof(base), "rm -rf %s", scratch);
	if (system(base) != 0)
		return 1;
	printf("1..%d\n", points);
	return failures > 0;
}
