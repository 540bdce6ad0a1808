/* The parts of the library: each puts its functions into the table. */
#ifndef DS_GPU_PARTS_H
#define DS_GPU_PARTS_H

extern "C" {
#include "gpu.h"
}

void device_part(struct gpu_lib *l);
void nccl_part(struct gpu_lib *l);
void vector_part(struct gpu_lib *l);
void route_part(struct gpu_lib *l);
void products_part(struct gpu_lib *l);
void attend_part(struct gpu_lib *l);
void peak_part(struct gpu_lib *l);

#endif
