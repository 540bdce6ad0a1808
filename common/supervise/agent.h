/*
 * The agent of ds-run on a host: starts the processes that its supervisor names, reports their ends, and
 * kills them all when it is told to, or when the supervisor is gone or silent.
 *
 * The two speak in lines of words (words.h), the supervisor on the agent's standard input:
 *
 *	hello VERSION SECONDS WAIT PRECISION VERBOSE    answered by: ready VERSION; SECONDS of silence mean that the other
 *				is gone, and for WAIT seconds a link may wait for its other end (DS_WAIT);
 *				PRECISION is that of processes that are not given another (DS_PRECISION);
 *				or by: unfit TEXT, where no process could be started on this host
 *	file NAME               make a file of that name in {run}
 *	lines TEXT ...          add lines to it
 *	run N WORD ...          start process N; {run} is a folder of this start's own
 *	stop                    kill all, remove the folder; answered by: stopped
 *	alive                   answered by: alive
 *
 * and the agent on its standard output, besides those answers:
 *
 *	ended N BLAME STATUS TEXT       process N has ended (struct verdict), BLAME 0: well; or it has been
 *				stopped by a signal for SECONDS, which is as bad
 *
 * What the processes say goes to the agent's standard error.
 */
#ifndef DS_AGENT_H
#define DS_AGENT_H

/* Be the agent until the supervisor is gone; programs are looked for in dir first (NULL: in PATH alone).
 * The exit status; nothing that was started is left. */
int agent_run(const char *dir);

#endif
