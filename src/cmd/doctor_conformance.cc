// See doctor_conformance.h. The report says what ran on which libraries, and of every case its
// error, what was allowed, and the time.
#include "cmd/doctor_conformance.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "base/quote_name.h"
#include "cmd/command.h"
#include "cmd/progress.h"
#include "device/backend.h"
#include "device/conformance/collectives.h"
#include "device/conformance/conformance.h"
#include "disk/atomic_file.h"

namespace ferry::cmd {
namespace {

struct Tested {
  DeviceSpec spec;
  std::vector<ConformanceResult> results;
  std::vector<CollectiveResult> collectives;  // where there are devices to join
  int64_t passed = 0, skipped = 0, failed = 0;
};

constexpr int kMostJoined = 8;

// Collectives of all devices together, if there are several.
Status test_collectives(const std::string& name, const ConformanceFlags& flags, Tested& tested) {
  std::string why;
  int count = 0;
  for (const BackendEntry* entry : all_backends()) {
    if (entry->name == name) count = std::min(entry->count_devices(&why), kMostJoined);
  }
  if (count < 2) return {};
  std::vector<std::shared_ptr<Backend>> devices;
  for (int i = 0; i < count; ++i) {
    FERRY_TRY(auto device, open_backend(name, {.device = i}));
    devices.push_back(std::move(device));
  }
  FERRY_TRY(const auto all, check_collectives(devices));
  for (const CollectiveResult& result : all) {
    if (result.name.find(flags.filter) == std::string::npos) continue;
    ++(result.passed ? tested.passed : tested.failed);
    tested.collectives.push_back(result);
  }
  return {};
}

Result<Tested> test_chip(const std::string& name, const ConformanceFlags& flags) {
  FERRY_TRY(const auto subject, open_backend(name, {}));
  FERRY_TRY(const auto reference, open_backend("reference", {}));
  Tested tested{.spec = subject->spec()};
  int64_t total = 0;
  for (const ConformanceCase& one : conformance_cases()) {
    total += one.name.find(flags.filter) != std::string::npos;
  }
  Progress progress("conformance of " + name, " cases");
  int64_t done = 0;
  tested.results = run_conformance(
      *subject, *reference, {.filter = flags.filter, .on_result = [&](const ConformanceResult&) {
                               progress.update(++done, total);
                             }});
  for (const ConformanceResult& result : tested.results) {
    ++(result.skipped ? tested.skipped : result.passed ? tested.passed : tested.failed);
  }
  FERRY_TRY_VOID(test_collectives(name, flags, tested));
  if (tested.results.empty() && tested.collectives.empty()) {
    return not_found("--filter: no case has {} in its name", quote_name(flags.filter));
  }
  return tested;
}

Json report_of(const Tested& tested) {
  Json cases = Json::array();
  for (const ConformanceResult& result : tested.results) {
    cases.push_back({{"case", result.name},
                     {"op", op_name(result.op)},
                     {"result", result.skipped  ? "not supported"
                                : result.passed ? "passed"
                                                : "failed"},
                     {"error", result.error},
                     {"tolerance", result.tolerance},
                     {"seconds", result.seconds},
                     {"detail", result.detail}});
  }
  for (const CollectiveResult& result : tested.collectives) {
    cases.push_back({{"case", result.name},
                     {"result", result.passed ? "passed" : "failed"},
                     {"detail", result.detail}});
  }
  return {{"backend", tested.spec.backend},  {"device", tested.spec.name},
          {"detail", tested.spec.detail},    {"ferry", FERRY_VERSION},
          {"passed", tested.passed},         {"failed", tested.failed},
          {"not_supported", tested.skipped}, {"cases", std::move(cases)}};
}

void print_tested(const Tested& tested) {
  std::printf("%s: %s (%s)\n", tested.spec.backend.c_str(), tested.spec.name.c_str(),
              tested.spec.detail.c_str());
  for (const ConformanceResult& result : tested.results) {
    if (result.passed || result.skipped) continue;
    std::printf("  FAILED %s: error %.3g, allowed %.3g; %s\n", result.name.c_str(), result.error,
                result.tolerance, result.detail.c_str());
  }
  for (const CollectiveResult& result : tested.collectives) {
    if (result.passed) continue;
    std::printf("  FAILED %s: %s\n", result.name.c_str(), result.detail.c_str());
  }
  std::printf("  %lld cases passed, %lld failed, %lld are not supported\n",
              static_cast<long long>(tested.passed), static_cast<long long>(tested.failed),
              static_cast<long long>(tested.skipped));
}

Result<int> test_chips(const ConformanceFlags& flags) {
  std::vector<std::string> names;
  if (!flags.backend.empty()) names = {flags.backend};
  for (const BackendEntry* entry : all_backends()) {
    std::string why;
    if (flags.backend.empty() && entry->name != "reference" && entry->count_devices(&why) > 0) {
      names.emplace_back(entry->name);
    }
  }
  // Made first: minutes of work should have somewhere to go.
  std::optional<disk::AtomicFile> report;
  if (!flags.out.empty()) {
    FERRY_TRY(disk::AtomicFile file, disk::AtomicFile::create(flags.out));
    report.emplace(std::move(file));
  }
  Json reports = Json::array();
  int64_t failed = 0;
  for (const std::string& name : names) {
    FERRY_TRY(const Tested tested, test_chip(name, flags));
    reports.push_back(report_of(tested));
    failed += tested.failed;
    if (!flags.json) print_tested(tested);
  }
  if (report.has_value()) {
    const std::string text = reports.dump(1) + "\n";
    FERRY_TRY_VOID(
        report->write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size())));
    FERRY_TRY_VOID(report->commit());
    std::fprintf(stderr, "%s written\n", flags.out.c_str());
  }
  if (flags.json) print_json(reports);
  return failed == 0 ? 0 : 1;
}

}  // namespace

int check_conformance(const ConformanceFlags& flags) {
  Result<int> code = test_chips(flags);
  return code.ok() ? *code : fail(code.error());
}

}  // namespace ferry::cmd
