/*
 * The hosts that a model may be spread over, from a file: a line each,
 *	NAME CORES MEMORY-GiB BANDWIDTH-GB/s [gpu] [addr=ADDRESS] [spare] [row=GFLOP/s] [rows=GFLOP/s] [attend=GFLOP/s]
 */
#ifndef DS_HOSTS_H
#define DS_HOSTS_H

#include <stdint.h>

#define HOSTS_MAX 256

struct host {
	char name[64];
	char address[256];              /* the name, if the line gives no other */
	int cores;
	double memory;                  /* bytes */
	double bandwidth;               /* bytes/s that its memory is read with */
	double row, rows;               /* multiply-adds and such, a second, of all cores: products of weights with one row, and with many */
	double attend;                  /* ... and of attention over the cache; each 0: not given */
	int gpu;                        /* memory and bandwidth are those of a GPU, which computes */
	int spare;                      /* has no part in the plan until a host fails */
};

struct hosts {
	struct host *h;                 /* [n + spares], the spare ones last */
	int n, spares;
};

/* 0, or -1 and a message that names the file and the line (FAIL_USAGE; FAIL_DATA: it cannot be read).  hosts_close frees. */
int hosts_open(struct hosts *s, const char *path);
void hosts_close(struct hosts *s);

/* Can only the host itself reach this address? */
int address_is_local(const char *address);

/* Is it a number, at which ZeroMQ can wait? */
int address_is_number(const char *address);

#endif
