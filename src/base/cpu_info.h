// CpuInfo: what processor this is and how much of it this process may use. Read from CPUID, /proc,
// /sys and the cgroup; whatever cannot be read is 0 or empty, never an error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ferry {

// Instruction sets that the processor has *and* the operating system saves (XGETBV) and, for AMX,
// lets this process use.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool bmi2 = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_tile = false;
  bool amx_int8 = false;
  bool amx_bf16 = false;
  bool dotprod = false;  // of bytes, on AArch64
};

struct CpuInfo {
  std::string model_name;
  CpuFeatures features;
  int logical_cpus = 0;      // online
  int physical_cores = 0;    // online
  std::vector<int> allowed;  // CPU numbers in this process's affinity mask
  double cpu_quota = 0;      // CPUs that the cgroup grants; 0: no limit
  // Threads worth starting: the physical cores behind `allowed`, at most the quota; at least 1.
  int usable_cores = 1;
  int numa_nodes = 0;
  int64_t l1d_bytes = 0;  // of one core
  int64_t l2_bytes = 0;
  int64_t l3_bytes = 0;
  std::string transparent_huge_pages;  // "always", "madvise", "never"
  int64_t huge_pages_total = 0;        // reserved by the administrator
  int64_t huge_page_bytes = 0;
};

// Reads everything anew. `root` is put before every path: tests give a tree of their own.
CpuInfo read_cpu_info(const std::string& root = "");
CpuFeatures read_cpu_features();

// "0-3,8" → {0, 1, 2, 3, 8}; stops at the first thing that is not such a list.
std::vector<int> parse_cpu_list(std::string_view text);

}  // namespace ferry
