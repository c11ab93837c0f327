// From the answers of a load to its figures.
//
//   TTFT   sent → first piece with text          ITL   from one piece with text to the next
//   TPOT   (last piece − first) / (tokens − 1), per request      E2E   sent → end
//   goodput   good requests per second that met every objective of --slo
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cmd/load_client.h"

namespace ferry::cmd {

// Limits in seconds; none: no limit.
struct Objectives {
  std::optional<double> ttft_s, tpot_s, e2e_s;
  bool any() const { return ttft_s || tpot_s || e2e_s; }
};
// "ttft=500,tpot=50": milliseconds, or with a unit: 0.5s, 500ms. Errors name what is wrong.
Result<Objectives> parse_objectives(const std::string& text);

struct LoadRun {
  std::string load;         // "concurrency 4", "2.5 requests/s", "trace"
  int64_t concurrency = 0;  // 0: arrivals were given
  double rate = 0;          // 0: none was given
  double seconds = 0;
  std::vector<LoadAnswer> answers;
};

Json load_json(const LoadRun& run, const Objectives& objectives);
void print_load(const LoadRun& run, const Objectives& objectives);
int64_t count_failed(const LoadRun& run);
int64_t count_good(const LoadRun& run);

// Linear between neighbours, as numpy has it. REQUIRES: sorted, not empty, 0 <= percent <= 100
double percentile(const std::vector<double>& sorted, double percent);

}  // namespace ferry::cmd
