/*
 * The agent of ds-run on a host. It starts the processes that the supervisor names, reports their
 * ends, and kills all of them if it is told to, or if the supervisor exits or goes silent.
 *
 * Both sides write lines of words (words.h). The supervisor, on the agent's standard input:
 *
 *	hello VERSION SECONDS WAIT PRECISION CACHE_TYPE VERBOSE
 *		SECONDS of silence mean that the other side is gone; a link waits WAIT seconds for
 *		its peer (DS_WAIT); PRECISION and CACHE_TYPE are the defaults of processes
 *		(DS_PRECISION, DS_CACHE_TYPE; '' is none). Answer:
 *		ready VERSION, or unfit TEXT if no process can be started on this host
 *	file NAME               create a file of that name in {run}
 *	lines TEXT ...          append lines to it
 *	run N WORD ...          start process N; {run} is a folder for this start
 *	stop                    kill all, remove the folder; answer: stopped
 *	alive                   answer: alive
 *
 * The agent, on its standard output, besides these answers:
 *
 *	ended N BLAME STATUS TEXT
 *		process N has ended (struct verdict; BLAME 0: success), or a signal has stopped it
 *		for SECONDS
 *
 * Messages of processes go to the agent's standard error.
 */
#ifndef DS_AGENT_H
#define DS_AGENT_H

/* Run as the agent until the supervisor has gone. Programs are searched in dir first (NULL: in
 * PATH only). Returns the exit status; no process is left. */
int agent_run(const char *dir);

#endif
