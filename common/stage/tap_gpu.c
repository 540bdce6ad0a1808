#include "stage/tap_gpu.h"

#include "device/device.h"

int
tap_gpu_copy(const struct stage *s, enum tap tap, struct frame *f, int layer, int rank, const uint64_t *shape,
    const float *from)
{
	struct device *d = s->gpu;
	size_t bytes = sizeof(*from);
	float *to;

	if (tap_add(&to, s->taps, tap, f, layer, rank, shape) < 0)
		return -1;
	for (int i = 0; i < rank; i++)
		bytes *= shape[i];
	if (!to || bytes == 0)
		return 0;
	if (d->lib->download(d->gpu, to, from, bytes) < 0)
		return device_fail(d, "a tap");
	return device_wait(d);
}
