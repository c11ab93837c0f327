// CpuInfo: the real machine is plausible; a made-up /proc and /sys is read as it says.
#include "base/cpu_info.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace ferry {
namespace {

class FakeRoot {
 public:
  FakeRoot() : path_(testing::TempDir() + "cpu_info_" + std::to_string(getpid())) {}
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path full = path_ + file;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(CpuInfo, ParsesCpuLists) {
  EXPECT_EQ(parse_cpu_list("0"), std::vector<int>({0}));
  EXPECT_EQ(parse_cpu_list("0-3,8,10-11"), std::vector<int>({0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(parse_cpu_list(""), std::vector<int>());
  EXPECT_EQ(parse_cpu_list("x"), std::vector<int>());
  EXPECT_EQ(parse_cpu_list("1,"), std::vector<int>({1}));
  EXPECT_EQ(parse_cpu_list("3-1"), std::vector<int>());
  EXPECT_EQ(parse_cpu_list("0-99999999999999999999"), std::vector<int>());
}

TEST(CpuInfo, ThisMachineIsPlausible) {
  const CpuInfo info = read_cpu_info();
  EXPECT_GE(info.logical_cpus, 1);
  EXPECT_GE(info.physical_cores, 1);
  EXPECT_GE(info.usable_cores, 1);
  EXPECT_LE(info.usable_cores, static_cast<int>(info.allowed.size()));
#if defined(__x86_64__)
  // The compiler's own probe is a second opinion on the bits and on what the system saves.
  __builtin_cpu_init();
  EXPECT_EQ(info.features.avx2, __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(info.features.fma, __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(info.features.avx512f, __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(info.features.avx512bw, __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(info.features.avx512_vnni, __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(info.features.avx512_bf16, __builtin_cpu_supports("avx512bf16") != 0);
#endif
}

TEST(CpuInfo, ReadsAMadeUpMachine) {
  const FakeRoot root;
  root.write("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Test Processor 9\n");
  root.write("/proc/meminfo",
             "MemTotal:       1000 kB\nHugePages_Total:   7\nHugepagesize:   2048 kB\n");
  root.write("/proc/self/cgroup", "0::/a/b\n");
  root.write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  root.write("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  root.write("/sys/devices/system/cpu/online", "0-3\n");
  root.write("/sys/devices/system/node/online", "0-1\n");
  root.write("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  for (int cpu = 0; cpu < 4; ++cpu) {  // two cores of two threads
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu);
    root.write(folder + "/topology/physical_package_id", "0\n");
    root.write(folder + "/topology/core_id", std::to_string(cpu / 2) + "\n");
  }
  root.write("/sys/devices/system/cpu/cpu0/cache/index0/level", "1\n");
  root.write("/sys/devices/system/cpu/cpu0/cache/index0/type", "Data\n");
  root.write("/sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n");
  root.write("/sys/devices/system/cpu/cpu0/cache/index1/level", "3\n");
  root.write("/sys/devices/system/cpu/cpu0/cache/index1/type", "Unified\n");
  root.write("/sys/devices/system/cpu/cpu0/cache/index1/size", "2M\n");

  const CpuInfo info = read_cpu_info(root.path());
  EXPECT_EQ(info.model_name, "Test Processor 9");
  EXPECT_EQ(info.logical_cpus, 4);
  EXPECT_EQ(info.physical_cores, 2);
  EXPECT_EQ(info.numa_nodes, 2);
  EXPECT_DOUBLE_EQ(info.cpu_quota, 1.5);
  EXPECT_EQ(info.usable_cores, 1);
  EXPECT_EQ(info.l1d_bytes, 48 << 10);
  EXPECT_EQ(info.l2_bytes, 0);
  EXPECT_EQ(info.l3_bytes, 2 << 20);
  EXPECT_EQ(info.huge_pages_total, 7);
  EXPECT_EQ(info.huge_page_bytes, 2 << 20);
  EXPECT_EQ(info.transparent_huge_pages, "madvise");
}

TEST(CpuInfo, AnEmptyMachineIsNoError) {
  const CpuInfo info = read_cpu_info("/no/such/root");
  EXPECT_EQ(info.model_name, "");
  EXPECT_EQ(info.cpu_quota, 0);
  EXPECT_GE(info.usable_cores, 1);
}

}  // namespace
}  // namespace ferry
