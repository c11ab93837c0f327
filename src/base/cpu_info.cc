#include "base/cpu_info.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <set>
#include <utility>

namespace ferry {
namespace {

constexpr int kMaxCpus = 4096;

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<int64_t> parse_int(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// "48K", "2M", "260M", as /sys writes cache sizes.
int64_t parse_size(std::string_view text) {
  const int64_t number = parse_int(text).value_or(0);
  const char unit = text.empty() ? '\0' : text.back();
  if (number < 0 || number > (int64_t{1} << 40)) return 0;
  return unit == 'K' ? number << 10 : unit == 'M' ? number << 20 : number;
}

// The number behind "key:" in a file of such lines (/proc/meminfo), as it stands there.
int64_t number_behind(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.compare(0, key.size(), key) != 0) continue;
    size_t at = key.size();
    while (at < line.size() && (line[at] == ':' || line[at] == ' ' || line[at] == '\t')) ++at;
    return parse_int(std::string_view(line).substr(at)).value_or(0);
  }
  return 0;
}

std::string read_model_name(const std::string& root) {
  std::ifstream file(root + "/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.compare(0, 10, "model name") != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

void read_caches(const std::string& root, int cpu, CpuInfo* info) {
  const std::string base =
      root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cache/index";
  for (int index = 0; index < 8; ++index) {
    const std::string folder = base + std::to_string(index);
    const int64_t level = parse_int(read_line(folder + "/level")).value_or(0);
    const int64_t bytes = parse_size(read_line(folder + "/size"));
    const bool data = read_line(folder + "/type") != "Instruction";
    if (level == 1 && data) info->l1d_bytes = bytes;
    if (level == 2) info->l2_bytes = bytes;
    if (level == 3) info->l3_bytes = bytes;
  }
}

// Distinct (package, core) pairs; a CPU whose topology is not told counts as a core.
int count_cores(const std::string& root, const std::vector<int>& cpus) {
  std::set<std::pair<int64_t, int64_t>> cores;
  for (int cpu : cpus) {
    const std::string folder =
        root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const auto package = parse_int(read_line(folder + "physical_package_id"));
    const auto core = parse_int(read_line(folder + "core_id"));
    cores.insert(package && core ? std::pair(*package, *core)
                                 : std::pair(int64_t{-1}, int64_t{cpu}));
  }
  return static_cast<int>(cores.size());
}

std::vector<int> read_affinity() {
  std::vector<int> cpus;
  cpu_set_t* set = CPU_ALLOC(kMaxCpus);
  const size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
  if (set == nullptr) return cpus;
  if (sched_getaffinity(0, bytes, set) == 0) {
    for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set)) cpus.push_back(cpu);
    }
  }
  CPU_FREE(set);
  return cpus;
}

// This process's folder in the cgroup v2 tree, and its parents: a limit may stand at any of them.
std::vector<std::string> cgroup_folders(const std::string& root) {
  std::ifstream file(root + "/proc/self/cgroup");
  std::string line, path;
  while (std::getline(file, line)) {
    if (line.compare(0, 3, "0::") == 0) path = line.substr(3);
  }
  std::vector<std::string> folders;
  while (path.size() > 1) {
    folders.push_back(root + "/sys/fs/cgroup" + path);
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  folders.push_back(root + "/sys/fs/cgroup");
  return folders;
}

double read_cpu_quota(const std::string& root) {
  double quota = 0;
  auto limit = [&](int64_t used, int64_t period) {
    if (used <= 0 || period <= 0) return;
    const double cpus = static_cast<double>(used) / static_cast<double>(period);
    quota = quota == 0 ? cpus : std::min(quota, cpus);
  };
  for (const std::string& folder : cgroup_folders(root)) {
    const std::string line = read_line(folder + "/cpu.max");  // "max 100000" or "150000 100000"
    const size_t space = line.find(' ');
    if (space == std::string::npos) continue;
    limit(parse_int(line).value_or(0), parse_int(line.substr(space + 1)).value_or(0));
  }
  const std::string v1 = root + "/sys/fs/cgroup/cpu/cpu.cfs_";
  limit(parse_int(read_line(v1 + "quota_us")).value_or(0),
        parse_int(read_line(v1 + "period_us")).value_or(0));
  return quota;
}

// "always [madvise] never" → "madvise"
std::string read_transparent_huge_pages(const std::string& root) {
  const std::string line = read_line(root + "/sys/kernel/mm/transparent_hugepage/enabled");
  const size_t open = line.find('[');
  const size_t close = line.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return "";
  return line.substr(open + 1, close - open - 1);
}

#if defined(__x86_64__) && defined(__linux__)
// Linux saves the tile registers (8 KB a thread) only for processes that ask; whoever has not asked
// dies at the first tile instruction. The answer holds for the whole process.
bool allowed_tiles() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#elif defined(__x86_64__) || defined(__i386__)
bool allowed_tiles() { return false; }
#endif

}  // namespace

std::vector<int> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  size_t at = 0;
  auto number = [&]() -> std::optional<int> {
    const size_t start = at;
    while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) ++at;
    const auto value = parse_int(text.substr(start, at - start));
    if (!value || *value >= kMaxCpus) return std::nullopt;
    return static_cast<int>(*value);
  };
  while (true) {
    const auto first = number();
    if (!first) return cpus;
    auto last = first;
    if (at < text.size() && text[at] == '-') {
      ++at;
      last = number();
      if (!last) return cpus;
    }
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
    if (at >= text.size() || text[at] != ',') return cpus;
    ++at;
  }
}

CpuFeatures read_cpu_features() {
  CpuFeatures features;
#if defined(__x86_64__) || defined(__i386__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return features;
  const bool fma = (c & bit_FMA) != 0;
  const bool f16c = (c & bit_F16C) != 0;
  unsigned xcr_low = 0, xcr_high = 0;
  asm volatile("xgetbv" : "=a"(xcr_low), "=d"(xcr_high) : "c"(0));
  const bool os_avx = (xcr_low & 0x6) == 0x6;
  const bool os_avx512 = os_avx && (xcr_low & 0xe0) == 0xe0;
  const bool os_amx = (xcr_low & 0x60000) == 0x60000 && allowed_tiles();
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return features;
  auto has = [](unsigned word, int bit) { return ((word >> bit) & 1) != 0; };
  features.avx2 = os_avx && has(b, 5);
  features.fma = os_avx && fma;
  features.f16c = os_avx && f16c;
  features.bmi2 = has(b, 8);
  features.avx512f = os_avx512 && has(b, 16);
  features.avx512dq = os_avx512 && has(b, 17);
  features.avx512bw = os_avx512 && has(b, 30);
  features.avx512vl = os_avx512 && has(b, 31);
  features.avx512_vnni = os_avx512 && has(c, 11);
  features.amx_bf16 = os_amx && has(d, 22);
  features.amx_tile = os_amx && has(d, 24);
  features.amx_int8 = os_amx && has(d, 25);
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
    features.avx512_bf16 = os_avx512 && has(a, 5);
  }
#elif defined(__aarch64__) && defined(__linux__)
  features.dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return features;
}

CpuInfo read_cpu_info(const std::string& root) {
  CpuInfo info;
  info.model_name = read_model_name(root);
  info.features = read_cpu_features();
  const std::string cpu_folder = root + "/sys/devices/system/cpu/";
  std::vector<int> online = parse_cpu_list(read_line(cpu_folder + "online"));
  info.allowed = read_affinity();
  if (online.empty()) online = info.allowed;
  info.logical_cpus = static_cast<int>(online.size());
  info.physical_cores = count_cores(root, online);
  info.cpu_quota = read_cpu_quota(root);
  info.usable_cores = std::max(1, count_cores(root, info.allowed));
  if (info.cpu_quota > 0) {
    // A thread more than the quota would only be throttled, and its team with it.
    const int quota = std::max(1, static_cast<int>(std::floor(std::min(info.cpu_quota, 1e6))));
    info.usable_cores = std::min(info.usable_cores, quota);
  }
  info.numa_nodes =
      static_cast<int>(parse_cpu_list(read_line(root + "/sys/devices/system/node/online")).size());
  read_caches(root, online.empty() ? 0 : online.front(), &info);
  info.huge_pages_total = number_behind(root + "/proc/meminfo", "HugePages_Total");
  info.huge_page_bytes = number_behind(root + "/proc/meminfo", "Hugepagesize") << 10;
  info.transparent_huge_pages = read_transparent_huge_pages(root);
  return info;
}

}  // namespace ferry
