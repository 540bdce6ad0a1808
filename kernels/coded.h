/*
 * Weights that are integers times a scale: with them, products in i8 multiply integers.  With all
 * others, they are those of f32.
 */
#ifndef DS_CODED_H
#define DS_CODED_H

#include "kernels.h"

int dtype_coded(enum dtype t);

#endif
