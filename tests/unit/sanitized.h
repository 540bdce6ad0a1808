/* With sanitizers, which find no more in repetitions of one path, there are fewer. */
#ifndef DS_SANITIZED_H
#define DS_SANITIZED_H

#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#endif
