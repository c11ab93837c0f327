// Host memory as device memory: see host_memory.h.
#include "device/host_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include "base/checked_math.h"

namespace ferry {
namespace {

// The number in a one-line file of the control group; "max" or no such file: -1.
int64_t read_number(const char* path) {
  std::ifstream file(path);
  int64_t value = -1;
  return file >> value ? value : -1;
}

// The number behind `key` in a file of "key number" lines; -1 if there is none.
int64_t read_field(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string name, line;
  int64_t value = -1;
  while (file >> name) {
    if (name == key && file >> value) return value;
    std::getline(file, line);
  }
  return -1;
}

}  // namespace

MemoryInfo host_memory_info() {
  const int64_t page = sysconf(_SC_PAGESIZE);
  MemoryInfo info{.total_bytes = sysconf(_SC_PHYS_PAGES) * page,
                  .free_bytes = sysconf(_SC_AVPHYS_PAGES) * page};
  // The page cache counts as free: weights are mapped, and their pages can be dropped.
  const int64_t available_kib = read_field("/proc/meminfo", "MemAvailable:");
  if (available_kib >= 0) info.free_bytes = available_kib * 1024;
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max");
  const int64_t used = read_number("/sys/fs/cgroup/memory.current");
  const int64_t cached = read_field("/sys/fs/cgroup/memory.stat", "file");
  if (limit > 0 && used >= 0 && limit < info.total_bytes) {
    const int64_t left = limit - used + std::max<int64_t>(cached, 0);
    info = {.total_bytes = limit, .free_bytes = std::clamp<int64_t>(left, 0, info.free_bytes)};
  }
  return info;
}

Result<Buffer> allocate_host_memory(int64_t bytes, std::shared_ptr<const void> owner) {
  CHECK(bytes >= 0);
  const size_t size = static_cast<size_t>(round_up(std::max<int64_t>(bytes, 1), 4096));
  const int64_t free_bytes = host_memory_info().free_bytes;
  void* data = MAP_FAILED;
  if (bytes <= free_bytes) {
    data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  if (data == MAP_FAILED) {
    return out_of_memory("{} bytes of memory asked for, {} free", bytes, free_bytes);
  }
  std::shared_ptr<void> memory(
      data, [size, owner = std::move(owner)](void* address) { munmap(address, size); });
  return Buffer{.owner = std::move(memory), .data = data, .bytes = bytes};
}

Weight weight_in_place(const HostWeight& weight) {
  const quant::StorageFormat& format = *weight.format;
  CHECK(weight.rows > 0 && weight.cols > 0 && weight.cols % format.block_elements == 0);
  CHECK(static_cast<int64_t>(weight.data.size()) == format.bytes_for(weight.rows * weight.cols));
  const bool scaled = !weight.scale.empty();
  if (scaled) {
    CHECK(static_cast<int64_t>(weight.scale.size()) ==
          ceil_div(weight.rows, weight.scale_rows) * ceil_div(weight.cols, weight.scale_cols));
  }
  return {.view = {.format = weight.format,
                   .data = weight.data.data(),
                   .rows = weight.rows,
                   .cols = weight.cols,
                   .row_bytes = format.bytes_for(weight.cols),
                   .scale = scaled ? weight.scale.data() : nullptr,
                   .scale_rows = scaled ? weight.scale_rows : 0,
                   .scale_cols = scaled ? weight.scale_cols : 0},
          .storage = weight.keep_alive};
}

}  // namespace ferry
