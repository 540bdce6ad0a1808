/*
 * The hosts available to a model, from a file with one line each:
 *	NAME CORES MEMORY-GiB BANDWIDTH-GB/s [gpu] [addr=ADDRESS] [spare]
 *	    [row=GFLOP/s] [rows=GFLOP/s] [attend=GFLOP/s]
 */
#ifndef DS_HOSTS_H
#define DS_HOSTS_H

#include <stdint.h>

#define HOSTS_MAX 256

struct host {
	char name[64];
	char address[256];              /* the name by default */
	int cores;
	double memory;                  /* in bytes */
	double bandwidth;               /* read bandwidth of its memory, bytes/s */
	/* operations/s of all cores: products of weights with one row; with many; 0: not given */
	double row, rows;
	double attend;                  /* the same for attention over the cache */
	int gpu;                        /* 1: a GPU computes; memory and bandwidth are the GPU's */
	int spare;                      /* 1: unused until a host fails */
};

struct hosts {
	struct host *h;                 /* [n + spares] spares last */
	int n, spares;
};

/* Read a hosts file. Returns 0, or -1 and a message with the file and line (FAIL_USAGE;
 * FAIL_DATA if it cannot be read). Call hosts_close in either case. */
int hosts_open(struct hosts *s, const char *path);
void hosts_close(struct hosts *s);

#endif
