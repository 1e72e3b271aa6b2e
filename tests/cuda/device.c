/* A device that computes nothing: what onnxruntime's CUDA provider needs of CUDA, cuBLAS and cuDNN to open a graph and
 * to run it. Memory is the host's and is counted, as copies and launches are; results are whatever memory held.
 *
 * What is not here does nothing and returns success: see stand_in.py. Arguments that do not matter are left out, which
 * the calling conventions of x86-64 and of 64-bit Arm allow.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, DEVICE_MEMORY = 2 };
enum { KINDS = 5, MOST = 1 << 16 };

void *handle[1]; /* of whatever is created */

/* --- what tests ask and say -------------------------------------------------------------------------------------- */

static size_t capacity = (size_t)1 << 36, used, peak;
static long copies[KINDS];
static size_t bytes[KINDS];

static struct { void *address; size_t size; } blocks[MOST];
static struct { const void *function; const char *name; long launches; } kernels[MOST];
static int block_count, kernel_count;

void stand_in_has(size_t bytes) { capacity = bytes; }
size_t stand_in_used(void) { return used; }
size_t stand_in_peak(void) { return peak; }
long stand_in_copies(int kind) { return copies[kind]; }
size_t stand_in_bytes(int kind) { return bytes[kind]; }

long stand_in_launches(const char *part_of_name) {
    long found = 0;
    for (int k = 0; k < kernel_count; k++)
        if (strstr(kernels[k].name, part_of_name)) found += kernels[k].launches;
    return found;
}

void stand_in_reset(void) {
    peak = used;
    memset(copies, 0, sizeof copies);
    memset(bytes, 0, sizeof bytes);
    for (int k = 0; k < kernel_count; k++) kernels[k].launches = 0;
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

int cudaMalloc(void **made, size_t size) {
    *made = NULL;
    if (used + size > capacity || block_count == MOST) return OUT_OF_MEMORY;
    *made = aligned_alloc(512, (size + 511) / 512 * 512);
    blocks[block_count].address = *made;
    blocks[block_count++].size = size;
    used += size;
    peak = used > peak ? used : peak;
    return SUCCESS;
}

int cudaFree(void *address) {
    for (int k = 0; address && k < block_count; k++)
        if (blocks[k].address == address) {
            used -= blocks[k].size;
            blocks[k] = blocks[--block_count];
            free(address);
            return SUCCESS;
        }
    return SUCCESS;
}

int cudaMemGetInfo(size_t *left, size_t *all) {
    *all = capacity;
    *left = capacity - used;
    return SUCCESS;
}

int cudaMallocHost(void **made, size_t size) {
    *made = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    return SUCCESS;
}

int cudaHostAlloc(void **made, size_t size) { return cudaMallocHost(made, size); }

int cudaFreeHost(void *address) {
    free(address);
    return SUCCESS;
}

int cudaHostRegister(void *address, size_t size, unsigned flags) { return SUCCESS; }
int cudaHostUnregister(void *address) { return SUCCESS; }

int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    copies[kind]++;
    bytes[kind] += size;
    memmove(to, from, size);
    return SUCCESS;
}

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind) { return cudaMemcpy(to, from, size, kind); }

int cudaMemset(void *to, int value, size_t size) {
    memset(to, value, size);
    return SUCCESS;
}

int cudaMemsetAsync(void *to, int value, size_t size) { return cudaMemset(to, value, size); }

struct pointer { int type, device; void *on_device, *on_host; };

int cudaPointerGetAttributes(struct pointer *found, const char *address) {
    memset(found, 0, sizeof *found);
    for (int k = 0; k < block_count; k++) {
        const char *start = blocks[k].address;
        if (start <= address && address < start + blocks[k].size) found->type = DEVICE_MEMORY;
    }
    return SUCCESS;
}

/* --- the device -------------------------------------------------------------------------------------------------- */

static const char NAME[] = "a stand-in";

/* The beginning of `cudaDeviceProp`; the rest is not asked for. */
struct properties {
    char name[256], uuid[16], luid[8];
    unsigned luid_mask;
    size_t memory, shared_memory;
    int registers, warp;
    size_t pitch;
    int threads, block[3], grid[3];
    size_t constant_memory;
    int major, minor;
    size_t texture[2];
    int multiprocessors;
};

int cudaGetDeviceProperties(struct properties *found) {
    memset(found, 0, sizeof *found);
    strcpy(found->name, NAME);
    found->memory = capacity;
    found->shared_memory = 48 << 10;
    found->registers = 1 << 16;
    found->warp = 32;
    found->threads = found->block[0] = found->block[1] = 1024;
    found->block[2] = 64;
    found->grid[0] = INT32_MAX;
    found->grid[1] = found->grid[2] = UINT16_MAX;
    found->major = 9;
    found->multiprocessors = 132;
    return SUCCESS;
}

int cudaDeviceGetAttribute(int *value, int attribute) {
    static const struct { int attribute, value; } known[] = {
        {1, 1024}, {8, 48 << 10}, {10, 32}, {16, 132}, {39, 2048}, {75, 9}, {76, 0}, {81, 228 << 10}, {97, 227 << 10}};
    *value = 1;
    for (unsigned k = 0; k < sizeof known / sizeof *known; k++)
        if (known[k].attribute == attribute) *value = known[k].value;
    return SUCCESS;
}

int cudaGetDeviceCount(int *count) { return *count = 1, SUCCESS; }
int cudaGetDevice(int *number) { return *number = 0, SUCCESS; }
int cudaDriverGetVersion(int *version) { return *version = VERSION, SUCCESS; }
int cudaRuntimeGetVersion(int *version) { return *version = VERSION, SUCCESS; }
int cuDriverGetVersion(int *version) { return *version = VERSION, SUCCESS; }
int cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int *device, int number) { return *device = number, SUCCESS; }
int cuDeviceGetName(char *name, int size) { return strncpy(name, NAME, size), SUCCESS; }
int cuInit(unsigned flags) { return SUCCESS; }
const char *cudaGetErrorString(int error) { return error == OUT_OF_MEMORY ? "out of memory" : "an error"; }

/* --- kernels, streams, recordings -------------------------------------------------------------------------------- */

void **__cudaRegisterFatBinary(void) { return handle; }

void __cudaRegisterFunction(void **binary, const void *function, char *on_device, const char *name) {
    if (kernel_count == MOST) return;
    kernels[kernel_count].function = function;
    kernels[kernel_count++].name = name;
}

int cudaLaunchKernel(const void *function) {
    for (int k = 0; k < kernel_count; k++)
        if (kernels[k].function == function) kernels[k].launches++;
    return SUCCESS;
}

int __cudaLaunchKernel(const void *function) { return cudaLaunchKernel(function); }
int cudaLaunchCooperativeKernel(const void *function) { return cudaLaunchKernel(function); }
int cudaLaunchKernelExC(const void *configuration, const void *function) { return cudaLaunchKernel(function); }
int __cudaGetKernel(const void **kernel, const void *function) { return *kernel = function, SUCCESS; }
int cudaLaunchHostFunc(void *stream, void (*function)(void *), void *data) { return function(data), SUCCESS; }

struct function { size_t shared, constant, local; int threads; };

int cudaFuncGetAttributes(struct function *found) {
    memset(found, 0, sizeof *found);
    found->threads = 1024;
    return SUCCESS;
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks) { return *blocks = 2, SUCCESS; }

static int nothing(void) { return SUCCESS; }

int cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version, uint64_t flags, int *status) {
    *function = (void *)nothing;
    *status = SUCCESS;
    return SUCCESS;
}

static int capturing;

int cudaStreamBeginCapture(void) { return capturing = 1, SUCCESS; }
int cudaStreamIsCapturing(void *stream, int *is) { return *is = capturing, SUCCESS; }
int cudaStreamEndCapture(void *stream, void **graph) { return capturing = 0, *graph = handle, SUCCESS; }
int cudaGraphInstantiate(void **executable) { return *executable = handle, SUCCESS; }

/* --- cuBLAS and cuDNN -------------------------------------------------------------------------------------------- */

int cublasGetMathMode(void *library, int *mode) { return *mode = 0, SUCCESS; }
size_t cudnnGetVersion(void) { return 91900; }

/* cuDNN's heuristics know one way to do everything, without notes, knobs or scratch memory. */
enum { INT64 = 3, DESCRIPTOR = 15, INT32 = 23, KNOBS = 302 };

int cudnnBackendCreateDescriptor(int kind, void **made) { return *made = calloc(1, 256), SUCCESS; }

int cudnnBackendDestroyDescriptor(void *made) {
    free(made);
    return SUCCESS;
}

int cudnnBackendGetAttribute(void *of, int attribute, int type, int64_t most, int64_t *count, void *values) {
    size_t size = type == INT64 ? 8 : type == INT32 ? 4 : 0;
    int64_t found = type == DESCRIPTOR ? attribute != KNOBS : size && values ? most : 0;
    if (size && values) memset(values, 0, most * size);
    if (count) *count = found;
    return SUCCESS;
}
