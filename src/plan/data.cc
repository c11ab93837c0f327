// See data.h.
#include "plan/data.h"

// From data.S.
#define FERRY_PLAN_FILE(name)                \
  extern "C" const char ferry_plan_##name[]; \
  extern "C" const char ferry_plan_##name##_end[]
FERRY_PLAN_FILE(chips);
FERRY_PLAN_FILE(published);
FERRY_PLAN_FILE(efficiency);

namespace ferry::plan {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace

std::string_view chips_json() { return between(ferry_plan_chips, ferry_plan_chips_end); }
std::string_view published_csv() { return between(ferry_plan_published, ferry_plan_published_end); }
std::string_view efficiency_json() {
  return between(ferry_plan_efficiency, ferry_plan_efficiency_end);
}

}  // namespace ferry::plan
