/* Stands in for the CUDA driver under a real pycuda: memory of this process, work done at once.
   A call without a current context, or with memory of another, is refused as the driver would.
   What is not here answers "no error"; bindings.py adds those names. */
#include <stdlib.h>
#include <string.h>

enum { OK = 0, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, ILLEGAL_ADDRESS = 700 };

static __thread int depth;
static int broken, retained, buffers, pinned, lost;
static size_t room = (size_t)1 << 30;

void fake_break(int on) { broken = on; }
void fake_room(size_t bytes) { room = bytes; }
int fake_left(void) { return buffers + pinned + retained; }
int fake_holds(void) { return retained; }
int fake_lost(void) { return lost; } /* what was allocated when the primary context ended */
int fake_depth(void) { return depth; }

#define CHECK                             \
  if (broken) return ILLEGAL_ADDRESS;     \
  if (depth < 1) return INVALID_CONTEXT;

int cuDeviceGetCount(int* n) { *n = 1; return OK; }
int cuDeviceGet(int* device, int i) { *device = i; return OK; }
int cuDeviceGetName(char* name, int size, int device) { strncpy(name, "Stub GPU", size); return OK; }
int cuDeviceComputeCapability(int* major, int* minor, int device) { *major = 9; *minor = 0; return OK; }
int cuDriverGetVersion(int* version) { *version = 13000; return OK; }
int cuGetErrorString(int code, const char** text) { *text = "stub error"; return OK; }
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = &retained; ++retained; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) {
  if (--retained == 0) lost += buffers + pinned;
  return OK;
}
int cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }
int cuCtxPushCurrent_v2(void* context) { ++depth; return OK; }
int cuCtxPopCurrent_v2(void** context) {
  if (depth < 1) return INVALID_CONTEXT;
  *context = &retained; --depth; return OK;
}
int cuCtxSynchronize(void) { CHECK return OK; }
int cuCtxGetDevice(int* device) { *device = 0; return OK; }
int cuMemAlloc_v2(unsigned long long* address, size_t size) {
  CHECK
  if (size > room) return OUT_OF_MEMORY;
  ++buffers; *address = (unsigned long long)malloc(size); return OK;
}
int cuMemFree_v2(unsigned long long address) { CHECK --buffers; free((void*)address); return OK; }
int cuMemHostAlloc(void** memory, size_t size, unsigned flags) {
  CHECK
  ++pinned; *memory = malloc(size); return OK;
}
int cuMemAllocHost_v2(void** memory, size_t size) { return cuMemHostAlloc(memory, size, 0); }
int cuMemFreeHost(void* memory) { CHECK --pinned; free(memory); return OK; }
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t size, void* stream) {
  CHECK
  memcpy((void*)to, from, size); return OK;
}
int cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t size, void* stream) {
  CHECK
  memcpy(to, (void*)from, size); return OK;
}
int cuStreamCreate(void** stream, unsigned flags) {
  CHECK
  *stream = malloc(1); return flags == 1 ? OK : 1; /* non-blocking, or refused */
}
int cuStreamDestroy_v2(void* stream) { free(stream); return OK; }
int cuStreamSynchronize(void* stream) { CHECK return OK; }
int cuEventCreate(void** event, unsigned flags) {
  CHECK
  *event = malloc(1); return flags == 1 ? OK : 1; /* who waits sleeps, or refused */
}
int cuEventDestroy_v2(void* event) { free(event); return OK; }
int cuEventRecord(void* event, void* stream) { CHECK return stream ? OK : 1; }
int cuEventSynchronize(void* event) { CHECK return OK; }
