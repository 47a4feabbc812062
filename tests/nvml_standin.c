/* libnvidia-ml for a machine without a GPU: one GPU, and what the environment says of it. The structures are written
   from NVML's reference, so that the sizes, versions and gaps that the Python package sends are those of a driver. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, VERSION_MISMATCH = 25 };

typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
    unsigned int gpuInstanceId;
    unsigned int computeInstanceId;
} ProcessInfo; /* nvmlProcessInfo_v2_t */

typedef struct {
    unsigned int version;
    unsigned long long total, reserved, free, used;
} MemoryV2; /* nvmlMemory_v2_t */

typedef struct {
    unsigned long long total, free, used;
} MemoryV1; /* nvmlMemory_t */

_Static_assert(sizeof(ProcessInfo) == 24, "nvmlProcessInfo_v2_t");
_Static_assert(sizeof(MemoryV2) == 40, "nvmlMemory_v2_t");

static unsigned long long number(const char *name, unsigned long long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

int nvmlInitWithFlags(unsigned int flags) { (void)flags; return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stand-in"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device)
{
    static int gpu;
    *device = &gpu;
    return index ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons)
{
    (void)device;
    *reasons = 0;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned int *now, unsigned int *next)
{
    (void)device;
    *now = *next = (unsigned int)number("STANDIN_MIG", 0);
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, ProcessInfo *infos)
{
    unsigned int room = *count, others = (unsigned int)number("STANDIN_OTHERS", 0);
    (void)device;
    *count = 1 + others;
    if (!infos || room < *count)
        return INSUFFICIENT_SIZE;
    for (unsigned int at = 0; at < *count; at++) {
        memset(&infos[at], 0xff, sizeof infos[at]);
        infos[at].pid = at ? 1000000 + at : (unsigned int)number("STANDIN_PID", 0);
        infos[at].usedGpuMemory = at ? 1 : number("STANDIN_HELD", ~0ull);
    }
    return SUCCESS;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned int *count, ProcessInfo *infos)
{
    (void)device;
    (void)infos;
    *count = 0;
    return SUCCESS;
}

#ifndef BEFORE_510
int nvmlDeviceGetMemoryInfo_v2(void *device, MemoryV2 *memory)
{
    (void)device;
    if (memory->version != (sizeof *memory | 2u << 24))
        return VERSION_MISMATCH;
    memory->total = 85899345920ull;
    memory->reserved = 600000000ull;
    memory->used = number("STANDIN_USED", 0);
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
#endif

int nvmlDeviceGetMemoryInfo(void *device, MemoryV1 *memory)
{
    (void)device;
    memory->total = 85899345920ull;
    memory->used = number("STANDIN_USED", 0) + 1;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
