/* A libnvidia-ml.so.1 that plays the machine described in the file that the variable STANDIN_NVML names.
 *
 * One `key value` in a line; what stands after a `gpu` line describes that GPU, after a `slice` line that slice of it:
 *
 *     driver 580.82.07           cuda 13000                 hang 60 (seconds, in nvmlInit)
 *     error NAME CODE            the function NAME returns CODE, such as `error nvmlInitWithFlags 9`
 *     gpu NVIDIA H100            uuid GPU-1    memory 85899345920    capability 9.0    mig 1    fabric 3
 *     slice MIG 1g.5gb           uuid MIG-1    memory 5100273664
 *
 * A GPU without `mig` or `fabric` does not support them, and one without `memory` does not tell.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { GPUS = 16, SLICES = 7, ERRORS = 16, TEXT = 96 };

struct device {
    char name[TEXT], uuid[TEXT];
    unsigned long long memory;
    int major, minor, mig, fabric, slice_count;
    struct device *slices;
};

static struct device gpus[GPUS], slices[GPUS][SLICES];
static struct { char name[TEXT]; int code; } errors[ERRORS];
static char driver[TEXT] = "580.82.07";
static int cuda = 13000, gpu_count, error_count, seconds, users;

static void read_machine(void) {
    char line[256], key[32], value[TEXT];
    const char *path = getenv("STANDIN_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    struct device *device = NULL, *gpu = NULL;

    if (!file) {
        fprintf(stderr, "the stand-in NVML needs a machine: STANDIN_NVML\n");
        abort();
    }
    gpu_count = error_count = 0;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%31s %95[^\n]", key, value) != 2)
            continue;
        if (!strcmp(key, "driver"))
            snprintf(driver, sizeof driver, "%s", value);
        else if (!strcmp(key, "cuda"))
            cuda = atoi(value);
        else if (!strcmp(key, "hang"))
            seconds = atoi(value);
        else if (!strcmp(key, "error") && error_count < ERRORS) {
            sscanf(value, "%95s %d", errors[error_count].name, &errors[error_count].code);
            error_count++;
        } else if (!strcmp(key, "gpu") && gpu_count < GPUS) {
            gpu = device = &gpus[gpu_count];
            *gpu = (struct device){.mig = -1, .fabric = -1, .slices = slices[gpu_count++]};
            snprintf(gpu->name, TEXT, "%s", value);
        } else if (!strcmp(key, "slice") && gpu && gpu->slice_count < SLICES) {
            device = &gpu->slices[gpu->slice_count++];
            *device = (struct device){.mig = -1, .fabric = -1};
            snprintf(device->name, TEXT, "%s", value);
        } else if (device && !strcmp(key, "uuid"))
            snprintf(device->uuid, TEXT, "%s", value);
        else if (device && !strcmp(key, "memory"))
            device->memory = strtoull(value, NULL, 10);
        else if (device && !strcmp(key, "capability"))
            sscanf(value, "%d.%d", &device->major, &device->minor);
        else if (device && !strcmp(key, "mig"))
            device->mig = atoi(value);
        else if (device && !strcmp(key, "fabric"))
            device->fabric = atoi(value);
        else {
            fprintf(stderr, "the stand-in NVML does not know this: %s", line);
            abort();
        }
    }
    fclose(file);
}

/* What the description lets `function` return in place of its answer. */
static int failure(const char *function) {
    for (int each = 0; each < error_count; each++)
        if (!strcmp(errors[each].name, function))
            return errors[each].code;
    return !users && strncmp(function, "nvmlInit", 8) ? UNINITIALIZED : SUCCESS;
}

#define ANSWER(condition, code, statement) \
    do { \
        int failed = failure(__func__); \
        if (failed) \
            return failed; \
        if (!(condition)) \
            return code; \
        statement; \
        return SUCCESS; \
    } while (0)

static int put(char *buffer, unsigned size, const char *text) {
    return (unsigned)snprintf(buffer, size, "%s", text) < size ? SUCCESS : INSUFFICIENT_SIZE;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    read_machine();
    sleep((unsigned)seconds);
    ANSWER(1, 0, users++);
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) { ANSWER(1, 0, users--); }

const char *nvmlErrorString(int code) {
    static char text[64];
    snprintf(text, sizeof text, "stand-in error %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) { ANSWER(1, 0, return put(version, size, driver)); }

int nvmlSystemGetCudaDriverVersion_v2(int *version) { ANSWER(version, INVALID_ARGUMENT, *version = cuda); }

int nvmlDeviceGetCount_v2(unsigned *count) { ANSWER(count, INVALID_ARGUMENT, *count = (unsigned)gpu_count); }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device) {
    ANSWER(index < (unsigned)gpu_count, INVALID_ARGUMENT, *device = &gpus[index]);
}

int nvmlDeviceGetName(struct device *device, char *name, unsigned size) {
    ANSWER(device, INVALID_ARGUMENT, return put(name, size, device->name));
}

int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned size) {
    ANSWER(device, INVALID_ARGUMENT, return put(uuid, size, device->uuid));
}

struct memory { unsigned long long total, free, used; };

int nvmlDeviceGetMemoryInfo(struct device *device, struct memory *memory) {
    ANSWER(device->memory, NOT_SUPPORTED, *memory = ((struct memory){device->memory, device->memory, 0}));
}

int nvmlDeviceGetCudaComputeCapability(struct device *device, int *major, int *minor) {
    ANSWER(device->major, NOT_SUPPORTED, (*major = device->major, *minor = device->minor));
}

int nvmlDeviceGetMigMode(struct device *device, unsigned *now, unsigned *pending) {
    ANSWER(device->mig >= 0, NOT_SUPPORTED, *now = *pending = (unsigned)device->mig);
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *count) {
    ANSWER(device->mig >= 0, NOT_SUPPORTED, *count = SLICES);
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index, struct device **slice) {
    ANSWER(index < (unsigned)device->slice_count, NOT_FOUND, *slice = &device->slices[index]);
}

struct fabric { unsigned char cluster[16]; int status; unsigned clique, state; };

int nvmlDeviceGetGpuFabricInfo(struct device *device, struct fabric *info) {
    ANSWER(device->fabric >= 0, NOT_SUPPORTED, *info = (struct fabric){.state = (unsigned)device->fabric});
}
