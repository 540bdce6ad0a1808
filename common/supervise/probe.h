/*
 * Which links between hosts could be made: a program on each host waits where programs of a plan would wait, and
 * connects where they would connect, by plain TCP, while none of them runs.
 */
#ifndef DS_PROBE_H
#define DS_PROBE_H

#define PROBE_WORD "unreachable"        /* begins the message that lists what could not be reached */

/*
 * For so many seconds at most, or until all have met: wait at each endpoint "@tcp://ADDRESS:PORT", connect to each
 * "tcp://HOST:PORT".  Both sides send 16 KiB, so that a path that loses large packets counts as broken.
 * 0, or -1 and the message (FAIL_SYSTEM) "unreachable N N ...", the numbers of ends that met no peer, from 0.
 */
int probe_run(const char *seconds, char **ends, int n);

#endif
