#include <stdlib.h>
#include <unistd.h>

#include "base/fail.h"
#include "launch/learn_internal.h"
#include "launch/script.h"

/* As learning_newest finds it.  A state that is being written has another name. */
static const char newest[] =
"\n"
"# stages go on from the newest state\n"
"set --\n"
"newest=$(ls \"$state\" 2>/dev/null | grep '^step-[0-9]*$' | sort -t - -k 2 -n | tail -n 1)\n"
"[ -z \"$newest\" ] || set -- --state \"$state/$newest\"\n"
"\n";

static const char streams[] =
"mkfifo \"$dir/back\" || exit 3\n"
"exec 4>&1               # for metrics\n"
"\n";

/* The driver writes frames into the pipe to ds-embed.  The shell opens the way back, so that the
 * other programs end also if the driver refuses its options. */
static const char driver[] = " 3>&1 >&4 5<\"$dir/back\"";

/* Later runs, in another folder, mean the same files. */
static int
change_folder(struct buf *to)
{
	char *here = getcwd(NULL, 0);
	int r;

	if (!here)
		return fail(FAIL_SYSTEM, "cannot find the current folder:");
	r = buf_addf(to, "cd -- ") < 0 || script_quote(to, here) < 0 ||
	    buf_addf(to, " || exit 3\n") < 0 ? -1 : 0;
	free(here);
	return r;
}

int
learn_script(struct buf *to, const struct learn_launch *l, const char *state)
{
	static const struct learn_ends e = {.feed = "feed", .loop_in = "loop", .loop_out = "loop",
	    .back_in = "back", .back_out = "back to", .more = "more"};
	const struct script_word words[] = {{l->plan.model, "\"$model\""},
	    {e.feed, "/dev/fd/3"}, {e.back_in, "/dev/fd/5"},
	    {e.loop_in, "\"$dir/loop\""}, {e.loop_out, "\"$dir/loop\""},
	    {e.back_out, "\"$dir/back\""}, {state, "\"$state\""}, {e.more, "\"$@\""}};
	struct plan plan;
	int r = learn_plan(&plan, l, &e);

	if (r == 0)
		r = script_begin(to, l->dir, l->plan.model) < 0 || change_folder(to) < 0 ||
		    (state && (script_assign(to, "state", state, "") < 0 ||
		    buf_addf(to, "%s", newest) < 0)) ||
		    buf_addf(to, "%s%s%s", state ? "" : "set --\n", script_folder,
		    streams) < 0 ? -1 : 0;
	for (int i = 0; i < plan.n && r == 0; i++)
		r = script_command(to, &plan.commands[i], words,
		    sizeof(words) / sizeof(*words)) < 0 ||
		    buf_addf(to, "%s%s", i == 0 ? driver : "",
		    i < plan.n - 1 ? " |\n" : "\n") < 0 ? -1 : 0;
	plan_free(&plan);
	return r < 0 ? -1 : buf_addf(to, "%s", script_status);
}
