// `ferry doctor`: what this machine is, which chips ferry found, and — with --measure — how fast
// the machine can be, or — with --conformance — whether a chip computes what it should.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "backends/cpu/ceilings.h"
#include "base/cpu_info.h"
#include "base/thread_team.h"
#include "cmd/command.h"
#include "cmd/doctor_conformance.h"
#include "device/backend.h"
#include "device/host_memory.h"
#include "device/op_paths.h"

namespace ferry::cmd {
namespace {

constexpr int64_t kMeasureBytes = int64_t{1} << 30;  // beyond any cache

struct DoctorFlags {
  bool json = false;
  bool measure = false;
  int threads = 0;
  bool conformance = false;
  ConformanceFlags conformance_flags;
};

std::string features_text(const CpuFeatures& f) {
  std::string out;
  auto add = [&out](bool has, const char* name) {
    if (has) out += (out.empty() ? "" : " ") + std::string(name);
  };
  add(f.avx2, "AVX2");
  add(f.fma, "FMA");
  add(f.f16c, "F16C");
  add(f.avx512f && f.avx512bw && f.avx512dq && f.avx512vl, "AVX-512");
  add(f.avx512_vnni, "VNNI");
  add(f.avx512_bf16, "BF16");
  add(f.amx_int8, "AMX-INT8");
  add(f.amx_bf16, "AMX-BF16");
  add(f.dotprod, "DotProd");
  return out.empty() ? "none that ferry has kernels for" : out;
}

struct Chip {
  std::string backend;
  int devices = 0;
  std::string why;
  DeviceSpec spec;
  std::string error;
  std::vector<OpPath> paths;  // of backends that tell
  std::vector<CollectivePath> collectives;
};

std::vector<Chip> find_chips() {
  std::vector<Chip> chips;
  for (const BackendEntry* entry : all_backends()) {
    Chip chip;
    chip.backend = entry->name;
    chip.devices = entry->count_devices(&chip.why);
    if (chip.devices > 0) {
      auto backend = entry->open({});
      if (backend.ok()) {
        chip.spec = (*backend)->spec();
        const auto* tells = dynamic_cast<const OpPaths*>(backend->get());
        if (tells != nullptr) {
          chip.paths = tells->op_paths();
          chip.collectives = tells->collective_paths();
        }
      } else {
        chip.error = backend.error().message;
      }
    }
    chips.push_back(std::move(chip));
  }
  return chips;
}

Json cpu_json(const CpuInfo& cpu) {
  return {{"model", cpu.model_name},
          {"features", features_text(cpu.features)},
          {"physical_cores", cpu.physical_cores},
          {"logical_cpus", cpu.logical_cpus},
          {"usable_cores", cpu.usable_cores},
          {"cpu_quota", cpu.cpu_quota},
          {"numa_nodes", cpu.numa_nodes},
          {"l1d_bytes", cpu.l1d_bytes},
          {"l2_bytes", cpu.l2_bytes},
          {"l3_bytes", cpu.l3_bytes}};
}

Json memory_json(const CpuInfo& cpu, const MemoryInfo& memory) {
  return {{"total_bytes", memory.total_bytes},
          {"available_bytes", memory.free_bytes},
          {"transparent_huge_pages", cpu.transparent_huge_pages},
          {"huge_pages", cpu.huge_pages_total},
          {"huge_page_bytes", cpu.huge_page_bytes}};
}

Json ceilings_json(const cpu::Ceilings& ceilings) {
  Json out = {{"threads", ceilings.threads},
              {"buffer_bytes", ceilings.buffer_bytes},
              {"read_gb_per_s", ceilings.read_bytes_per_s / 1e9},
              {"read_gb_per_s_one_thread", ceilings.read_bytes_per_s_one_thread / 1e9},
              {"matmul", Json::array()}};
  for (const auto& matmul : ceilings.matmul) {
    out["matmul"].push_back(
        {{"instruction", matmul.instruction}, {"gop_per_s", matmul.operations_per_s / 1e9}});
  }
  return out;
}

Json found_chip_json(const Chip& chip) {
  Json out = {{"backend", chip.backend},
              {"devices", chip.devices},
              {"name", chip.spec.name},
              {"detail", chip.spec.detail},
              {"why_not", chip.devices > 0 ? chip.error : chip.why}};
  for (const OpPath& path : chip.paths) {
    out["ops"].push_back({{"op", op_name(path.op)}, {"how", path.how}, {"proof", path.proof}});
  }
  for (const CollectivePath& path : chip.collectives) {
    out["collectives"].push_back({{"name", path.name}, {"how", path.how}, {"proof", path.proof}});
  }
  return out;
}

void row(const char* label, const std::string& value) {
  std::printf("  %-22s %s\n", label, value.c_str());
}

void print_machine(const CpuInfo& cpu, const MemoryInfo& memory) {
  std::printf("CPU\n");
  row("model", cpu.model_name);
  row("instruction sets", features_text(cpu.features));
  row("cores",
      fmt::format("{} physical, {} logical, {} usable by this process{}", cpu.physical_cores,
                  cpu.logical_cpus, cpu.usable_cores,
                  cpu.cpu_quota > 0 ? fmt::format(" (quota {:.1f} CPUs)", cpu.cpu_quota) : ""));
  row("caches", fmt::format("L1d {}, L2 {} per core, L3 {}", format_bytes(cpu.l1d_bytes),
                            format_bytes(cpu.l2_bytes), format_bytes(cpu.l3_bytes)));
  row("NUMA nodes", std::to_string(cpu.numa_nodes));
  const char* forced = std::getenv("FERRY_CPU");
  if (forced != nullptr) row("FERRY_CPU", forced);

  std::printf("\nMemory\n");
  row("total", format_bytes(memory.total_bytes));
  row("available", format_bytes(memory.free_bytes));
  row("huge pages",
      fmt::format("transparent: {}; reserved: {} of {}",
                  cpu.transparent_huge_pages.empty() ? "unknown" : cpu.transparent_huge_pages,
                  cpu.huge_pages_total, format_bytes(cpu.huge_page_bytes)));
}

void print_chips(const std::vector<Chip>& chips) {
  std::printf("\nChips\n");
  for (const Chip& chip : chips) {
    if (chip.devices == 0) {
      row(chip.backend.c_str(), "none: " + chip.why);
    } else if (!chip.error.empty()) {
      row(chip.backend.c_str(), "cannot be opened: " + chip.error);
    } else {
      row(chip.backend.c_str(),
          fmt::format("{}{} ({})", chip.devices > 1 ? fmt::format("{} × ", chip.devices) : "",
                      chip.spec.name, chip.spec.detail));
    }
  }
  for (const Chip& chip : chips) {
    if (chip.paths.empty()) continue;
    std::printf("\nWhat %s computes with, and how far that is proven\n", chip.backend.c_str());
    for (const OpPath& path : chip.paths) {
      row(std::string(op_name(path.op)).c_str(), fmt::format("{} [{}]", path.how, path.proof));
    }
    for (const CollectivePath& path : chip.collectives) {
      row(std::string(path.name).c_str(), fmt::format("{} [{}]", path.how, path.proof));
    }
  }
}

void print_ceilings(const cpu::Ceilings& ceilings) {
  std::printf("\nCeilings with %d thread%s (best of 5 rounds; other programs only lower them)\n",
              ceilings.threads, ceilings.threads == 1 ? "" : "s");
  row("read from memory",
      fmt::format("{:.1f} GB/s, {:.1f} GB/s with one thread", ceilings.read_bytes_per_s / 1e9,
                  ceilings.read_bytes_per_s_one_thread / 1e9));
  for (const auto& matmul : ceilings.matmul) {
    row(matmul.instruction.c_str(), fmt::format("{:.1f} GOP/s", matmul.operations_per_s / 1e9));
  }
}

int examine(const DoctorFlags& flags) {
  const CpuInfo cpu = read_cpu_info();
  const MemoryInfo memory = host_memory_info();
  const std::vector<Chip> chips = find_chips();
  Json out = {
      {"cpu", cpu_json(cpu)}, {"memory", memory_json(cpu, memory)}, {"chips", Json::array()}};
  for (const Chip& chip : chips) out["chips"].push_back(found_chip_json(chip));
  if (!flags.json) {
    print_machine(cpu, memory);
    print_chips(chips);
    std::fflush(stdout);
  }
  if (flags.measure) {
    if (memory.free_bytes < 2 * kMeasureBytes) {
      return fail(out_of_memory("--measure wants {} of memory, {} is available",
                                format_bytes(kMeasureBytes), format_bytes(memory.free_bytes)));
    }
    ThreadTeam team(flags.threads > 0 ? flags.threads : cpu.usable_cores);
    const cpu::Ceilings ceilings = cpu::measure_ceilings(team, kMeasureBytes);
    out["ceilings"] = ceilings_json(ceilings);
    if (!flags.json) print_ceilings(ceilings);
  }
  if (flags.json) print_json(out);
  return 0;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("doctor", "Say what this machine is and which chips were found");
  command->footer(
      "--measure streams 1 GiB from memory and runs register-only loops, for about three seconds;\n"
      "run it on an idle machine. The figures are the ceilings that speeds are quoted against.\n\n"
      "--conformance computes every operation over shapes, formats and edge sizes on a chip and\n"
      "compares it with the reference backend, for some minutes. Where a model answers garbage,\n"
      "this tells which operation does. Send the report of --out with a bug report.\n\n"
      "Example: ferry doctor --conformance --backend ascend --out report.json");
  auto flags = std::make_shared<DoctorFlags>();
  command->add_flag("--measure", flags->measure, "Measure the read and matmul ceilings");
  command->add_option("-t,--threads", flags->threads, "Threads to measure with; 0: usable cores")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  command->add_flag("--json", flags->json, "Print JSON");
  ConformanceFlags& chosen = flags->conformance_flags;
  CLI::Option* conformance =
      command->add_flag("--conformance", flags->conformance, "Check what chips compute");
  conformance->excludes("--measure");
  command->add_option("--backend", chosen.backend, "Only this one; otherwise every chip there is")
      ->type_name("NAME")
      ->needs(conformance);
  command->add_option("--filter", chosen.filter, "Only cases with this in their name")
      ->type_name("TEXT")
      ->needs(conformance);
  command->add_option("--out", chosen.out, "Write the report to this file, as JSON")
      ->type_name("FILE")
      ->needs(conformance);
  command->callback([&action, flags] {
    action = [flags] {
      if (!flags->conformance) return examine(*flags);
      flags->conformance_flags.json = flags->json;
      return check_conformance(flags->conformance_flags);
    };
  });
}

}  // namespace ferry::cmd
