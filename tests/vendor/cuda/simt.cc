// Fibres, barriers and checked memory: see simt.h. A fibre is entered for the first time by
// swapcontext(), after that by longjmp(), which unlike the former makes no system call.
#include "vendor/cuda/simt.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <cstdio>
#include <memory>
#include <vector>

namespace emulated::simt {
namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kStackStep = 17 * 64;
constexpr int64_t kSharedBytes = 48 << 10;  // what a block may have without asking for more
constexpr int kWarpLanes = 32;
constexpr int kMostThreads = 1024;
constexpr int kLaunchFailed = 719;
constexpr int kIllegalAddress = 700;
constexpr int kMisalignedAddress = 716;

enum class State { kReady, kAtBlock, kAtWarp, kReturned };

struct Fibre {
  ~Fibre() {
    if (stack != nullptr) munmap(stack, kStackBytes);
  }
  jmp_buf resume{};
  void* stack = nullptr;
  bool entered = false;  // its loop is waiting for the next block
  State state = State::kReady;
  int64_t shared_used = 0;
  Together what = Together::kNothing;  // that it waits for its warp with
  Given given[2] = {};                 // by turns
  int turn = 0;
  struct Copy {
    void* to;
    const void* from;  // nullptr: zeros
    int bytes;
  };
  std::vector<Copy> copies;  // not waited for
  Place place;
};

// What one thread of the host runs.
struct Machine {
  std::array<Fibre, kMostThreads> fibres;
  Fibre* current = nullptr;
  int num_threads = 0;
  jmp_buf scheduler{};
  ucontext_t scheduler_context{};
  std::vector<char> shared;
  const Kernel* kernel = nullptr;
  const void* params = nullptr;
  Memory* memory = nullptr;
  int status = 0;
  Accesses accesses;
  struct Piece {
    const char* begin = nullptr;
    const char* end = nullptr;
  };
  Piece pieces[16];  // found before, in this launch
  unsigned next_piece = 0;
  uint64_t random = 1;
};

thread_local std::unique_ptr<Machine> own_machine;
thread_local Machine* machine = nullptr;  // of this thread, once it launches

std::vector<const Kernel*>& kernels() {
  static std::vector<const Kernel*> all;
  return all;
}

// Runs one thread of a block after the other; never returns.
void fibre_loop() {
  while (true) {
    machine->kernel->run(machine->params);
    if (!machine->current->copies.empty()) fail(kLaunchFailed, "copies that nobody waited for");
    machine->current->state = State::kReturned;
    if (_setjmp(machine->current->resume) == 0) _longjmp(machine->scheduler, 1);
  }
}

void enter(Fibre& fibre) {
  machine->current = &fibre;
  if (_setjmp(machine->scheduler) != 0) return;
  if (fibre.entered) _longjmp(fibre.resume, 1);
  fibre.entered = true;
  if (fibre.stack == nullptr) {
    fibre.stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (fibre.stack == MAP_FAILED) std::abort();
  }
  // Tops of stacks that lie a power of two apart would fall on the same lines of the cache.
  const auto index = static_cast<size_t>(&fibre - machine->fibres.data());
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fibre.stack;
  context.uc_stack.ss_size = kStackBytes - index % 64 * kStackStep;
  context.uc_link = nullptr;
  makecontext(&context, fibre_loop, 0);
  swapcontext(&machine->scheduler_context, &context);
}

void leave(State state) {
  machine->current->state = state;
  if (_setjmp(machine->current->resume) == 0) _longjmp(machine->scheduler, 1);
}

void give_up(int status, const char* why) {
  std::fprintf(stderr, "emulated device: %s in %s\n", why, machine->kernel->name);
  if (machine->status == 0) machine->status = status;
}

// Lets those go on whose group has all come; whether there were any.
bool release(int first, int last, State waiting) {
  int come = 0, returned = 0;
  for (int i = first; i < last; ++i) {
    come += machine->fibres[i].state == waiting;
    returned += machine->fibres[i].state == State::kReturned;
  }
  if (come == 0) return false;
  if (returned > 0) give_up(kLaunchFailed, "some threads wait, others have returned");
  if (come < last - first) return false;
  for (int i = first; i < last && waiting == State::kAtWarp; ++i) {
    if (machine->fibres[i].what != machine->fibres[first].what) {
      give_up(kLaunchFailed, "lanes of a warp wait for different things");
    }
  }
  for (int i = first; i < last; ++i) machine->fibres[i].state = State::kReady;
  return true;
}

uint32_t random() {
  machine->random = machine->random * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(machine->random >> 33);
}

void run_block() {
  for (int i = 0; i < machine->num_threads; ++i) {
    machine->fibres[i].state = State::kReady;
    machine->fibres[i].shared_used = 0;
    machine->fibres[i].turn = 0;
    machine->fibres[i].copies.clear();
  }
  std::fill(machine->shared.begin(), machine->shared.end(), '\xFF');
  machine->accesses.begin_block();
  while (machine->status == 0) {
    bool ran = false;
    int returned = 0;
    // From anywhere, upwards or downwards: a missing barrier must not go unnoticed for long.
    const auto threads = static_cast<uint32_t>(machine->num_threads);
    const uint32_t start = random() % threads, step = random() % 2 == 0 ? 1 : threads - 1;
    for (uint32_t j = 0; j < threads && machine->status == 0; ++j) {
      Fibre& fibre = machine->fibres[(start + j * step) % threads];
      if (fibre.state == State::kReady) {
        ran = true;
        enter(fibre);
      }
      returned += fibre.state == State::kReturned;
    }
    if (machine->status != 0 || returned == machine->num_threads) return;
    bool released = ran;
    for (int i = 0; i < machine->num_threads; i += kWarpLanes) {
      released |= release(i, std::min(i + kWarpLanes, machine->num_threads), State::kAtWarp);
    }
    if (release(0, machine->num_threads, State::kAtBlock)) {
      released = true;
      machine->accesses.begin_interval();
    }
    if (!released) give_up(kLaunchFailed, "threads wait for each other");
  }
}

}  // namespace

Place& here() { return machine->current->place; }

void wait_for_block() { leave(State::kAtBlock); }

int lane_of_warp() {
  return static_cast<int>(machine->current - machine->fibres.data()) % kWarpLanes;
}

void give(Together what, const Given& given) {
  Fibre& me = *machine->current;
  me.what = what;
  me.turn = 1 - me.turn;
  me.given[me.turn] = given;
  leave(State::kAtWarp);
}

const Given& given_by(int lane) {
  const Fibre& me = *machine->current;
  const auto first = &me - machine->fibres.data() - lane_of_warp();
  return machine->fibres[static_cast<size_t>(first + lane)].given[me.turn];
}

void start_copy(void* shared, const void* from, int bytes) {
  const bool aligned = reinterpret_cast<uintptr_t>(shared) % static_cast<size_t>(bytes) == 0 &&
                       reinterpret_cast<uintptr_t>(from) % static_cast<size_t>(bytes) == 0;
  if (!aligned) fail(kMisalignedAddress, "misaligned");
  note(shared, bytes, Access::kWrite);
  std::memset(shared, 0xFF, static_cast<size_t>(bytes));
  machine->current->copies.push_back({shared, from, bytes});
}

void wait_for_copies() {
  for (const Fibre::Copy& copy : machine->current->copies) {
    const auto bytes = static_cast<size_t>(copy.bytes);
    note(copy.to, copy.bytes, Access::kWrite);
    if (copy.from != nullptr) note(copy.from, copy.bytes, Access::kRead);
    copy.from == nullptr ? std::memset(copy.to, 0, bytes) : std::memcpy(copy.to, copy.from, bytes);
  }
  machine->current->copies.clear();
}

void* shared_memory(int64_t bytes) {
  Fibre& me = *machine->current;
  const int64_t begin = (me.shared_used + 15) / 16 * 16;
  if (begin + bytes > kSharedBytes) fail(kLaunchFailed, "too much shared memory");
  me.shared_used = begin + bytes;
  return machine->shared.data() + begin;
}

void fail(int status, const char* why) {
  give_up(status, why);
  machine->current->entered = false;  // where it stands is never gone back to
  machine->current->state = State::kReturned;
  _longjmp(machine->scheduler, 1);
}

char* checked(const void* address, int64_t bytes) {
  const char* begin = static_cast<const char*>(address);
  for (const Machine::Piece& piece : machine->pieces) {
    if (begin >= piece.begin && begin + bytes <= piece.end) return machine->memory->inside(address);
  }
  Machine::Piece found;
  if (!machine->memory->piece_of(address, &found.begin, &found.end) || begin + bytes > found.end) {
    fail(kIllegalAddress, "an address outside of what was allocated");
  }
  machine->pieces[machine->next_piece++ % 16] = found;
  return machine->memory->inside(address);
}

void note(const void* address, int bytes, Access access) {
  if (machine == nullptr || machine->kernel == nullptr || !machine->kernel->watched) return;
  const char* at = static_cast<const char*>(address);
  const bool is_shared = at >= machine->shared.data() && at < machine->shared.data() + kSharedBytes;
  const char* device_address = is_shared ? nullptr : machine->memory->outside(at);
  if (!is_shared && device_address == nullptr) return;
  if (!is_shared) checked(device_address, bytes);
  const auto thread = static_cast<int>(machine->current - machine->fibres.data());
  const char* wrong = machine->accesses.note(thread, at, bytes, access, is_shared);
  if (wrong != nullptr) fail(kLaunchFailed, wrong);
}

void add_one(int32_t* shared) {
  note(shared, sizeof *shared, Access::kAtomic);
  ++*shared;
}

Kernel::Kernel(const char* kernel_name, size_t bytes, void (*code)(const void*), bool is_watched)
    : name(kernel_name), param_bytes(bytes), run(code), watched(is_watched) {
  kernels().push_back(this);
}

const Kernel* find_kernel(const char* name) {
  for (const Kernel* kernel : kernels()) {
    if (std::strcmp(kernel->name, name) == 0) return kernel;
  }
  return nullptr;
}

int launch(const Kernel& kernel, Dim grid, Dim block, const void* params, Memory& memory) {
  if (machine == nullptr) {
    own_machine = std::make_unique<Machine>();
    machine = own_machine.get();
  }
  ++kernel.launches;
  machine->kernel = &kernel;
  machine->params = params;
  machine->memory = &memory;
  machine->status = 0;
  machine->accesses.begin_launch();
  machine->shared.resize(kSharedBytes);
  machine->num_threads = static_cast<int>(block.x);
  for (Machine::Piece& piece : machine->pieces) piece = {};
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  const bool backwards = random() % 2 == 0;
  for (uint64_t n = 0; n < blocks && machine->status == 0; ++n) {
    const uint64_t index = backwards ? blocks - 1 - n : n;
    const Dim at = {static_cast<unsigned>(index % grid.x),
                    static_cast<unsigned>(index / grid.x % grid.y),
                    static_cast<unsigned>(index / grid.x / grid.y)};
    for (unsigned i = 0; i < block.x; ++i) machine->fibres[i].place = {{i, 0, 0}, at, block};
    run_block();
  }
  if (machine->status != 0) {
    for (Fibre& fibre : machine->fibres) fibre.entered = false;  // some stand where they waited
  }
  return machine->status;
}

}  // namespace emulated::simt
