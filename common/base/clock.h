/*
 * The time that passes.
 */
#ifndef DS_CLOCK_H
#define DS_CLOCK_H

double clock_now(void);         /* seconds, on a clock that only goes forward */
double clock_thread(void);      /* seconds that the calling thread has had of a processor */

#endif
