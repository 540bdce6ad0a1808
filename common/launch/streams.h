/*
 * Descriptors and signals of a process that starts others.
 */
#ifndef DS_STREAMS_H
#define DS_STREAMS_H

#include <signal.h>

/* Make sure that descriptors 0, 1 and 2 are open, so that no pipe gets their numbers. texts:
 * standard input is not needed. Returns 0, or -1 and a message. */
int streams_check(int texts);

/* Block SIGCHLD and the signals that would end us, unless our parent ignores them, and return a
 * signalfd for them, or -1 and a message. *mask is the previous mask. */
int streams_signals(sigset_t *mask);

/* Make a pipe if `wanted`, otherwise set both ends to -1. Returns 0, or -1 and a message. */
int streams_pipe(int fd[2], int wanted);

/* Close *fd, unless it is -1, and set it to -1. */
void streams_shut(int *fd);

#endif
