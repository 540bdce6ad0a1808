/*
 * Tests which links between hosts can be established: a program on each host binds where processes
 * of the plan would bind, and connects where they would connect, by plain TCP, while none of them
 * runs.
 */
#ifndef DS_PROBE_H
#define DS_PROBE_H

#define PROBE_WORD "unreachable"        /* start of the message that lists unreachable ends */

/*
 * Bind each end "@tcp://ADDRESS:PORT" and connect each "tcp://HOST:PORT", for at most so many
 * seconds or until all have met a peer. Both sides send 16 KiB, so that a path that loses large
 * packets fails. Returns 0, or -1 and the message (FAIL_SYSTEM) "unreachable N N ...": the indexes
 * of the ends without a peer.
 */
int probe_run(const char *seconds, char **ends, int n);

#endif
