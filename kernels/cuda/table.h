/* The sources of the library: each puts its functions into the table. */
#ifndef DS_GPU_TABLE_H
#define DS_GPU_TABLE_H

extern "C" {
#include "gpu.h"
}

void device_fill(struct gpu_lib *l);
void nccl_fill(struct gpu_lib *l);
void vector_fill(struct gpu_lib *l);
void route_fill(struct gpu_lib *l);
void products_fill(struct gpu_lib *l);
void attend_fill(struct gpu_lib *l);
void peak_fill(struct gpu_lib *l);

#endif
