/*
 * Shell scripts that run a plan. The three kinds differ in how they start a program on its host.
 */
#include "plan/write.h"

#include <stdio.h>
#include <string.h>

#include "launch/script.h"

/* Common start: $run is a folder, descriptor 3 the prompts. */
static const char begin[] =
"# the model's chat is the default; -w: text that the model continues\n"
"chat=-c\n"
"if [ \"${1-}\" = -w ]; then\n"
"\tchat=\n"
"\tshift\n"
"fi\n";

/*
 * If a program fails, all end: its status goes to $dir/failed, and a signal to the script, which
 * waits. Signals may arrive at any time: while the folder is created, or before a started program
 * is in $jobs. A forked shell loses signals that its parent traps, so the shell of a program is
 * sent USR2, and sets its trap for TERM after its forks.
 */
static const char jobs[] =
"jobs= stopped= from= n=0 cr=$(printf '\\r')\n"
"stop() {\n"
"\t[ \"$stopped\" ] || jobs=\"$jobs $!\"     # (the last one may be missing)\n"
"\tstopped=1\n"
"\t[ -z \"$jobs\" ] || kill -s USR2 $jobs 2>/dev/null\n"
"\tjobs=\n"
"}\n"
"late=\n"
"trap 'late=129' HUP\n"
"trap 'late=130' INT\n"
"trap 'late=143' TERM\n"
"trap stop USR1\n"
"dir=$(mktemp -d \"${TMPDIR:-/tmp}/ds-plan.XXXXXX\") || exit \"${late:-3}\"\n"
"trap 's=$?; trap \"rm -rf \\\"\\$dir\\\"; exit $s\" HUP INT TERM; stop; wait; rm -rf \"$dir\"' EXIT\n"
"trap 'exit 129' HUP\n"
"trap 'exit 130' INT\n"
"trap 'exit 143' TERM\n"
"[ -z \"$late\" ] || exit \"$late\"\n"
"\n"
"# tell: the lines of a program on another host, the host in front of each; ssh ends its own by CR\n"
"tell() {\n"
"\twhile IFS= read -r said || [ \"$said\" ]; do\n"
"\t\tprintf '%s: %s\\n' \"$from\" \"${said%\"$cr\"}\" >&2\n"
"\t\t: >\"$dir/told.$n\"\n"
"\tdone\n"
"}\n"
"\n"
"# run NAME COMMAND...: in the background, on host $from or here; if it fails, all the others have to end too\n"
"run() {\n"
"\t[ -z \"$stopped\" ] || return\n"
"\tn=$((n + 1))\n"
"\t{\n"
"\t\tname=${from:+$from: }$1 ended= child= watch= told=\n"
"\t\tshift\n"
"\t\ttrap 'ended=1; kill \"$child\" 2>/dev/null' USR2\n"
"\t\tif [ \"$from\" ]; then\n"
"\t\t\tmkfifo \"$dir/said.$n\" && exec 5<>\"$dir/said.$n\" 6<\"$dir/said.$n\" 7>\"$dir/said.$n\" 5<&-\n"
"\t\t\t{ exec <&6 3<&- 6<&- 7>&-; tell; } &       # (exec: the shell keeps no copy of 7)\n"
"\t\t\ttold=$!\n"
"\t\t\t\"$@\" <&3 3<&- 2>&7 6<&- 7>&- &\n"
"\t\t\tchild=$!\n"
"\t\t\texec 6<&- 7>&-\n"
"\t\telse\n"
"\t\t\t\"$@\" <&3 3<&- &\n"
"\t\t\tchild=$!\n"
"\t\t\tif [ -e \"$dir/alive\" ]; then         # (by ssh: it ends when the script is gone)\n"
"\t\t\t\t{ cat <\"$dir/alive\"; [ ! -e \"$dir/alive\" ] || kill \"$child\"; } >/dev/null 2>&1 3<&- &\n"
"\t\t\t\twatch=$!\n"
"\t\t\tfi\n"
"\t\tfi\n"
"\t\ttrap 'ended=1; kill \"$child\" 2>/dev/null' TERM\n"
"\t\t[ -z \"$ended\" ] || kill \"$child\" 2>/dev/null\n"
"\t\twait \"$child\" 2>/dev/null\n"
"\t\tstatus=$?\n"
"\t\t[ -z \"$watch\" ] || kill \"$watch\" 2>/dev/null\n"
"\t\t[ -z \"$ended\" ] || wait \"$child\" 2>/dev/null\n"
"\t\t[ -z \"$told\" ] || wait \"$told\"\n"
"\t\tif [ -z \"$ended\" ] && [ $status -ne 0 ]; then\n"
"\t\t\tif [ $status -gt 128 ] && [ $status -le 192 ]; then\n"
"\t\t\t\techo \"$name: killed by signal $((status - 128))\" >&2\n"
"\t\t\telif [ \"$from\" ] && [ ! -e \"$dir/told.$n\" ]; then\n"
"\t\t\t\techo \"$name: ended with status $status without a message\" >&2\n"
"\t\t\tfi\n"
"\t\t\t[ $status -le 128 ] || status=3\n"
"\t\t\techo $status >>\"$dir/failed\"\n"
"\t\t\t# the others end by themselves and may report the cause; the script ends the rest\n"
"\t\t\t{ sleep 8; [ ! -e \"$dir/failed\" ] || kill -s USR1 $$; } >/dev/null 2>&1 3<&- &\n"
"\t\tfi\n"
"\t} 4<&- &\n"
"\tjobs=\"$jobs $!\"\n"
"}\n"
"\n";

static const char over[] =
"\n"
"[ -z \"$stopped\" ] || stop\n"
"until wait; do :; done\n";

static const char verdict[] =
"[ ! -e \"$dir/failed\" ] || exit \"$(sort -n \"$dir/failed\" | head -n 1)\"\n";

static const char local[] =
"run=$dir\n"
"exec 3<&0\n"
"\n";

/*
 * By ssh, each program's standard input ends when the script is gone for any reason; then the
 * program is killed. The only writer of that FIFO is the script itself.
 */
static const char remote[] =
"run=$dir\n"
"exec 3<&0\n"
"mkfifo \"$dir/alive\" || exit 3\n"
"exec 4<>\"$dir/alive\"\n"
"rsh=${DS_RSH:-ssh}\n"
"set -f          # its words are split at blanks, and nothing else\n"
"for word in \"${DS_PRECISION-}\" \"${DS_CACHE_TYPE-}\" \"${DS_VERBOSE-}\"; do\n"
"\tcase $word in *[!a-z0-9]*)\n"
"\t\techo 'DS_PRECISION, DS_CACHE_TYPE and DS_VERBOSE have letters and digits' >&2; exit 2 ;; esac\n"
"done\n"
"\n"
"# on ADDRESS HOST NAME COMMAND: a program there, which does not outlive this script.  All programs of a host share\n"
"# a folder; the last one removes it, also if the output of its shell has no reader left (PIPE).\n"
"# (twice mkdir: a program that ends at this moment may remove the folder)\n"
"# (KILL: a program that was just forked loses a signal that the shell has a trap for)\n"
"on() {\n"
"\tfrom=$2\n"
"\trun \"$3\" sh -c 'exec 4<&-; exec \"$@\" <\"$0\"' \"$dir/alive\" $rsh \"$1\" \"\n"
"\t\tPATH=$there\\$PATH run=\\${TMPDIR:-/tmp}/${dir##*/}.$2\n"
"\t\texport DS_PRECISION=${DS_PRECISION-} DS_CACHE_TYPE=${DS_CACHE_TYPE-}\n"
"\t\texport DS_VERBOSE=${DS_VERBOSE-}\n"
"\t\ttrap : PIPE; child= end=; trap 'end=1; [ -z \\\"\\$child\\\" ] || kill -KILL \\$child' HUP INT TERM\n"
"\t\tumask 077; mkdir \\\"\\$run.on.\\$\\$\\\" || exit 3\n"
"\t\tmkdir -p \\\"\\$run\\\" 2>/dev/null || mkdir -p \\\"\\$run\\\" || exit 3\n"
"\t\texec 3<&0\n"
"\t\t$4 </dev/null 3<&- & child=\\$!\n"
"\t\t[ -z \\\"\\$end\\\" ] || kill -KILL \\$child\n"
"\t\t{ cat <&3; [ ! -d \\\"\\$run.on.\\$\\$\\\" ] || kill -KILL \\$child; } >/dev/null 2>&1 & exec 3<&-\n"
"\t\twait \\$child 2>/dev/null; status=\\$?; wait \\$child 2>/dev/null\n"
"\t\tkill \\$! 2>/dev/null; rmdir \\\"\\$run.on.\\$\\$\\\"\n"
"\t\tls -d \\\"\\$run\\\".on.* >/dev/null 2>&1 || rm -rf \\\"\\$run\\\" 2>/dev/null\n"
"\t\texit \\$status\"\n"
"\tfrom=\n"
"}\n"
"\n";

static const char slurm[] =
"[ $# -eq 2 ] || { echo \"usage: sbatch SCRIPT [-w] PROMPTS ANSWERS\" >&2; exit 2; }\n"
"prompts=$1 answers=$2 try=${SLURM_RESTART_COUNT:-0}\n"
"export run=\"${TMPDIR:-/tmp}/ds-plan.$SLURM_JOB_ID.$try\" path\n"
"tr '\\n' '\\0' <\"$prompts\" >\"$dir/prompts\" || exit 1\n"
"exec 3<\"$dir/prompts\"\n"
"\n"
"# the plan's hosts are the nodes of the allocation, in turn if there are fewer\n"
"set -- $(scontrol show hostnames \"$SLURM_JOB_NODELIST\")\n"
"node() { n=$1; shift; eval \"echo \\${$((n % $# + 1))}\"; }\n";

static const char step[] =
"\n"
"# step NODE HOST NAME COMMAND: a program there, as a step of the job\n"
"step() {\n"
"\tfrom=\"$2 (node $1)\"\n"
"\trun \"$3\" srun --overlap --nodes=1 --ntasks=1 --nodelist=\"$1\" --job-name=\"${3%% *}\" --input=none --quiet --export=ALL \\\n"
"\t\tsh -c 'PATH=$path$PATH run=$run.$1; umask 077; mkdir -p \"$run\" && eval \"exec $2\"' sh \"$2\" \"$4\"\n"
"\tfrom=\n"
"}\n"
"\n";

/* A lost step may be retried; a program's complaint about its data may not. */
static const char again[] =
"srun --overlap --nodes=$nodes --ntasks=$nodes --quiet --export=ALL sh -c 'rm -rf \"$run\".*'\n"
"if [ ! -e \"$dir/failed\" ]; then\n"
"\tmv -- \"$answers.part\" \"$answers\"\n"
"\texit\n"
"fi\n"
"rm -f -- \"$answers.part\"\n"
"status=$(sort -n \"$dir/failed\" | head -n 1)\n"
"if [ \"$status\" -ge 3 ] && [ \"$try\" -lt 3 ]; then\n"
"\techo \"job $SLURM_JOB_ID: failed with status $status, requeued: restart $((try + 1)) of 3\" >&2\n"
"\trm -rf \"$dir\"\n"
"\tscontrol requeue \"$SLURM_JOB_ID\" && exec sleep 600        # until Slurm ends it\n"
"fi\n"
"exit \"$status\"\n";

static int
add(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

static int
add_word(struct buf *to, const char *word)
{
	return script_quote(to, word) < 0 ? -1 : buf_addc(to, ' ');
}

/* Append the function that starts a program and its arguments for the host. */
static int
write_prefix(struct buf *to, const struct writing *w, enum format format, int host)
{
	const struct host *h = &w->hosts->h[host];

	if (format == FORMAT_SH)
		return add(to, "run ");
	if (format == FORMAT_SLURM)
		return buf_addf(to, "step \"$node%d\" ", host) < 0 ? -1 : add_word(to, h->name);
	return add(to, "on ") < 0 || add_word(to, h->address) < 0 ? -1 : add_word(to, h->name);
}

/* Append a program. On another host a shell parses the command again, so it is one word here. */
static int
write_program(struct buf *to, const struct writing *w, enum format format, int i)
{
	const struct line *l = &w->lines->line[i];
	struct buf text = {0};
	int r = write_prefix(to, w, format, l->host) < 0 || add_word(to, l->label) < 0 || write_line(&text, w, format, i) < 0 ||
	    buf_addc(&text, 0) < 0 ? -1 : 0;

	if (r == 0)
		r = format == FORMAT_SH ? add(to, (char *)text.p) : script_quote(to, (char *)text.p);
	buf_free(&text);
	return r < 0 ? -1 : buf_addc(to, '\n');
}

/* Append the driver's own program at the prompts or at the tokens. */
static int
write_own(struct buf *to, const struct writing *w, enum format format, int feed)
{
	int wire = 0, r;

	while ((feed ? w->lines->wire[wire].from : w->lines->wire[wire].to) != DRIVER)
		wire++;
	r = buf_addf(to, "run ds-%stokenize ds-%stokenize -m \"$model\" $chat%s", feed ? "" : "de", feed ? "" : "de",
	    feed && format == FORMAT_SLURM ? " -0" : "");
	if (r == 0 && w->lines->wire[wire].port)
		r = write_keys(to, w);
	if (r == 0)
		r = buf_addf(to, feed ? " -o " : " -i ") < 0 ? -1 : write_end(to, w, format, wire, 0);
	if (r == 0)
		r = buf_addf(to, "%s\n", format == FORMAT_SLURM ? feed ? "" : " >\"$answers.part\"" : feed ? " -- \"$@\"" : "");
	return r;
}

static int
write_nodes(struct buf *to, const struct writing *w)
{
	int r = 0;

	for (int i = 0; i < w->hosts->n && r == 0; i++)
		r = buf_addf(to, "export node%d=$(node %d \"$@\")\n", i, i);
	return r < 0 ? -1 : buf_addf(to, "nodes=$#\n");
}

/* Append the assignments of PATH, here and, as a word for the remote shell, on other hosts. */
static int
write_path(struct buf *to, const struct writing *w, enum format format)
{
	struct buf there = {0};
	int r;

	if (w->programs && (script_quote(&there, w->programs) < 0 || buf_addc(&there, ':') < 0))
		return -1;
	r = buf_addc(&there, 0) < 0 || buf_addf(to, "path=%s\n", (char *)there.p) < 0 ? -1 : 0;
	if (r == 0 && format == FORMAT_SSH)
		r = buf_addf(to, "there=") < 0 || script_quote(to, (char *)there.p) < 0 || buf_addc(to, '\n') < 0 ? -1 : 0;
	buf_free(&there);
	return r < 0 ? -1 : buf_addf(to, "PATH=$path$PATH\n\n%s\n", begin);
}

static int
write_start(struct buf *to, const struct writing *w, enum format format)
{
	if (buf_addf(to, "model=") < 0 || script_quote(to, w->model) < 0 || buf_addc(to, '\n') < 0 || write_path(to, w, format) < 0)
		return -1;
	if (format == FORMAT_SH)
		return add(to, local);
	if (format == FORMAT_SSH)
		return add(to, remote);
	return add(to, slurm) < 0 || write_nodes(to, w) < 0 ? -1 : add(to, step);
}

int
write_script(struct buf *to, const struct writing *w, enum format format, const char *report)
{
	int r;

	r = buf_addf(to, "#!/bin/sh\n");
	if (r == 0 && format == FORMAT_SLURM)
		r = buf_addf(to, "#SBATCH --job-name=ds-plan --requeue --open-mode=append\n#SBATCH --nodes=%d --ntasks-per-node=1\n",
		    w->hosts->n);
	if (r == 0)
		r = buf_addf(to, "%s\n", report);
	if (r == 0)
		r = add(to, jobs) < 0 ? -1 : write_start(to, w, format);
	if (r == 0)
		r = write_own(to, w, format, 1);
	for (int i = 0; i < w->lines->n && r == 0; i++)
		r = write_program(to, w, format, i);
	if (r == 0)
		r = write_own(to, w, format, 0);
	if (r == 0)
		r = add(to, over);
	return r < 0 ? -1 : add(to, format == FORMAT_SLURM ? again : verdict);
}
