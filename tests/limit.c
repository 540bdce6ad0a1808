/*
 * limit SECONDS COMMAND [ARG...]: runs a command, and ends it with all that it started when it has used SECONDS of
 * processor time, or when it has waited for SECONDS without using a twentieth of one processor.
 *
 * A loaded machine makes a command slower, but not its processor time longer: timeout(1), which counts
 * the clock, would fail a test because of other work.  The exit status is the command's, 128 + N after signal N, or
 * 124 at the limit, after a line that says which of the two it was.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct process {
	pid_t pid, parent;
	double used;                    /* seconds, with those of children that it waited for */
	int ours;
};

static struct process *processes;
static int nprocesses, room;
static volatile sig_atomic_t asked;     /* a signal that came for us */

static void
ask(int sig)
{
	asked = sig;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One process of /proc; one that ended meanwhile is left out. */
static void
read_process(pid_t pid)
{
	struct process *p;
	unsigned long t[4];
	char path[64], text[1024], *after;
	size_t n;
	int parent;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (!(f = fopen(path, "r")))
		return;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	after = strrchr(text, ')');     /* a command's name may hold anything */
	if (!after || sscanf(after, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
	    &parent, &t[0], &t[1], &t[2], &t[3]) != 5)
		return;
	if (nprocesses == room) {
		room = room ? 2 * room : 256;
		if (!(processes = realloc(processes, (size_t)room * sizeof(*processes))))
			_exit(125);
	}
	p = &processes[nprocesses++];
	*p = (struct process){pid, parent, (double)(t[0] + t[1] + t[2] + t[3]) / (double)sysconf(_SC_CLK_TCK), 0};
}

/* All descendants of this process, which orphans become the children of: their processor time. */
static double
look(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	struct rusage u;
	double used;
	int found = 1;

	nprocesses = 0;
	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			read_process((pid_t)atoi(e->d_name));
	if (d)
		closedir(d);
	while (found) {
		found = 0;
		for (int i = 0; i < nprocesses; i++) {
			int ours = processes[i].parent == getpid();

			for (int j = 0; j < nprocesses && !ours; j++)
				ours = processes[j].ours && processes[j].pid == processes[i].parent;
			found |= ours && !processes[i].ours;
			processes[i].ours |= ours;
		}
	}
	getrusage(RUSAGE_CHILDREN, &u);         /* of those that were waited for */
	used = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
	for (int i = 0; i < nprocesses; i++)
		used += processes[i].ours ? processes[i].used : 0;
	return used;
}

static void
end_all(int sig)
{
	look();
	for (int i = 0; i < nprocesses; i++)
		if (processes[i].ours) {
			kill(processes[i].pid, sig);
			kill(processes[i].pid, SIGCONT);
		}
}

/* End all descendants: politely, and after two seconds for good. */
static void
stop(void)
{
	end_all(SIGTERM);
	for (int i = 0; i < 40; i++) {
		struct timespec t = {0, 50000000};

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return;
		nanosleep(&t, NULL);
	}
	end_all(SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

/*
 * Seconds until the next look.  A look reads all of /proc.  All processors together cannot reach
 * the limit before, and a command that hangs is ended an eighth of it later at most.
 */
static double
pause_after(double used, double limit)
{
	double pause = (limit - used) / (double)sysconf(_SC_NPROCESSORS_ONLN);

	if (pause > limit / 8)
		pause = limit / 8;
	return pause < 0.25 ? 0.25 : pause;
}

static int
status_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Until the command ends: its status; or 124. */
static int
watch(pid_t command, double limit)
{
	double since = now(), then = 0;         /* the window of waiting: when it began, what had been used */
	double next = since + pause_after(0, limit);
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		const struct timespec a_while = {0, 250000000};
		double used, t;
		int status;
		pid_t pid;

		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == command) {
				/* (so that the processor time of others that ended counts) */
				while (waitpid(-1, NULL, WNOHANG) > 0)
					;
				return status_of(status);
			}
		if (asked) {
			end_all(asked);
			return 128 + asked;
		}
		sigtimedwait(&child, NULL, &a_while);
		t = now();
		if (t < next)
			continue;
		used = look();
		next = t + pause_after(used, limit);
		if (used >= limit) {
			fprintf(stderr, "# limit: ended after %g s of processor time: %g s is the limit\n", used, limit);
			return 124;
		}
		if (used - then >= limit / 20) {
			since = t;
			then = used;
		} else if (t - since >= limit) {
			fprintf(stderr, "# limit: ended after %g s of waiting, in which it used %.2f s of processor time\n",
			    t - since, used - then);
			return 124;
		}
	}
}

int
main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = ask};
	double limit = argc > 2 ? atof(argv[1]) : 0;
	sigset_t child;
	pid_t pid;
	int status;

	if (limit <= 0) {
		fputs("usage: limit SECONDS COMMAND [ARG...]\n", stderr);
		return 125;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	if ((pid = fork()) < 0) {
		perror("limit: cannot fork");
		return 125;
	}
	if (pid == 0) {
		sigprocmask(SIG_UNBLOCK, &child, NULL);
		signal(SIGINT, SIG_DFL);        /* a shell ignores these two in what it starts by & */
		signal(SIGQUIT, SIG_DFL);
		execvp(argv[2], argv + 2);
		fprintf(stderr, "limit: cannot run '%s': %s\n", argv[2], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	status = watch(pid, limit);
	if (status == 124)
		stop();
	return status;
}
