/*
 * Clocks.
 */
#ifndef DS_CLOCK_H
#define DS_CLOCK_H

double clock_now(void);         /* monotonic clock, in seconds */
double clock_thread(void);      /* processor time of the calling thread, in seconds */

#endif
