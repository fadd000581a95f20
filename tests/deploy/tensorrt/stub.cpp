// Stands in for NVIDIA's native library, so that the real Python bindings can be imported and
// called. Each symbol answers with an object whose every virtual function answers with that object:
// what goes in is checked by the bindings. The object lies at an address whose low 32 bits are
// SAYS, so that every count and bool that comes out is 0 (no) or 1 (yes), and every text is empty.
// Where SAYS is -1 there is no object and each symbol answers null, as TensorRT does on a GPU that
// it cannot start on. Compiled with -DANSWERS=... (one entry a symbol, see bindings.py) and
// -DSAYS=...; no TensorRT header is used.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <typeinfo>

struct Tag {
  virtual ~Tag() {}
};
static char* const base = reinterpret_cast<char*>(0x600000000000);
static const int page = 4096, slots = 1024;

extern "C" void* generic_answer() { return base + SAYS; }

static const bool ready = [] {
  if (SAYS < 0) return false;
  void* got = mmap(base, 4 * page, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (got != base) abort();
  void** table = reinterpret_cast<void**>(base + page);
  table[-2] = nullptr;  // offset to top
  table[-1] = const_cast<std::type_info*>(&typeid(Tag));
  for (int i = 0; i < slots; ++i) table[i] = reinterpret_cast<void*>(&generic_answer);
  void* object[] = {table, base + SAYS};  // the second is its implementation: itself
  std::memcpy(base + SAYS, object, sizeof object);
  return true;
}();
#define ANSWER(name) \
  extern "C" void* name() { return ready ? base + SAYS : nullptr; }
ANSWERS
