// Files that a user gives to the planner. The first byte chooses the kind: a catalogue of chips, a
// trace of arrivals, a table of published figures. Steps are predicted on what a catalogue holds.
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/check_message.h"
#include "plan/calibrate.h"
#include "plan/catalogue.h"
#include "plan/model.h"
#include "plan/simulate.h"
#include "plan/speed.h"

namespace ferry::plan {
namespace {

constexpr size_t kChipsTried = 4;

void predict_on(const Chip& chip) {
  static const PlanModel model = find_model("qwen-1.5b").value();
  static const EfficiencyTable table = builtin_efficiency().value();
  static const Precision precision = find_precision("Q4_0").value();
  const Deployment d{.chip = &chip, .model = &model, .precision = precision, .stack = "general"};
  const Result<StepTime> step = decode_step(d, table.of(chip, d.stack), 8, 1000);
  if (ok_or_told(step)) CHECK(step->total() > 0);
}

void read_catalogue_and_predict(std::string_view text) {
  const Result<Catalogue> read = read_catalogue(text);
  if (!ok_or_told(read)) return;
  for (size_t i = 0; i < read->chips.size() && i < kChipsTried; ++i) predict_on(read->chips[i]);
}

void read_trace_in_order(std::string_view text) {
  const Result<std::vector<Arrival>> trace = read_trace(text);
  if (!ok_or_told(trace)) return;
  for (size_t i = 1; i < trace->size(); ++i) {
    CHECK((*trace)[i].at_s >= (*trace)[i - 1].at_s);
  }
}

}  // namespace
}  // namespace ferry::plan

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry::plan;
  static const Catalogue known = builtin_catalogue().value();
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 3) {
    case 0: read_catalogue_and_predict(text); break;
    case 1: read_trace_in_order(text); break;
    default: ferry::ok_or_told(read_published(text, known)); break;
  }
  return 0;
}
