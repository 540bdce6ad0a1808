/*
 * Descriptors and signals of a process that starts others.
 */
#ifndef DS_STREAMS_H
#define DS_STREAMS_H

#include <signal.h>

/* The descriptors 0, 1 and 2 are there, so that no pipe gets their numbers.  texts: the prompts are
 * given, standard input is not needed.  0, or -1 and a message. */
int streams_check(int texts);

/* Signals are read, not caught: a signalfd of SIGCHLD and of those that end us and that our parent has not set to
 * be ignored.  The mask as it was goes to *mask.  -1 and a message. */
int streams_signals(sigset_t *mask);

/* A pipe, if it is wanted, otherwise -1 and -1: 0, or -1 and a message. */
int streams_pipe(int fd[2], int wanted);

/* Close it, if it is open, and make it -1. */
void streams_shut(int *fd);

#endif
