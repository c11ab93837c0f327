// See measured.h.
#include "plan/measured.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/quote_name.h"

namespace ferry::plan {
namespace {

constexpr size_t kMaxEntries = 1000;
constexpr double kMaxTime = 1e15;

struct MeasuredField {
  const char* key;
  double MeasuredKernels::*field;
};
constexpr MeasuredField kMeasuredFields[] = {
    {"gqa_prefill_gops", &MeasuredKernels::gqa_prefill_gops},
    {"gqa_decode_gops", &MeasuredKernels::gqa_decode_gops},
    {"mla_prefill_gops", &MeasuredKernels::mla_prefill_gops},
    {"mla_decode_gops", &MeasuredKernels::mla_decode_gops},
    {"element_ns", &MeasuredKernels::element_ns},
    {"layer_us", &MeasuredKernels::layer_us},
    {"pass_us", &MeasuredKernels::pass_us},
};

Result<double> read_positive(const Json& entry, const char* key) {
  FERRY_TRY(const double number, json_number(entry, key));
  if (!(number > 0) || number > kMaxTime) {
    return invalid_input("{}: expected a positive number", key);
  }
  return number;
}

Result<std::vector<double>> read_numbers(const Json& entry, const char* key) {
  const Json* list = json_find(entry, key);
  if (list == nullptr || !list->is_array() || list->empty() || list->size() > kMaxEntries) {
    return invalid_input("{}: expected an array of 1 to {} numbers", key, kMaxEntries);
  }
  std::vector<double> numbers;
  for (const Json& value : *list) {
    const double number = value.is_number() ? value.get<double>() : 0;
    if (!(number > 0) || number > kMaxTime) {
      return invalid_input("{}: expected positive numbers up to {}", key, kMaxTime);
    }
    numbers.push_back(number);
  }
  return numbers;
}

Result<std::vector<KernelTimes>> read_times(const Json& json, const char* key) {
  const Json* list = json_find(json, key);
  if (list == nullptr || !list->is_array() || list->size() > kMaxEntries) {
    return invalid_input("{}: expected an array", key);
  }
  std::vector<KernelTimes> all;
  for (const Json& entry : *list) {
    if (!entry.is_object()) return invalid_input("{}: expected objects", key);
    KernelTimes times;
    FERRY_TRY(times.format, json_string(entry, "format"));
    if (json_find(entry, "hidden") != nullptr) {
      FERRY_TRY(times.hidden, read_positive(entry, "hidden"));
    }
    FERRY_TRY(times.tokens, read_numbers(entry, "tokens"));
    FERRY_TRY(times.ns, read_numbers(entry, "ns"));
    if (times.tokens.size() != times.ns.size() || times.tokens.front() != 1 ||
        std::adjacent_find(times.tokens.begin(), times.tokens.end(), std::greater_equal<>()) !=
            times.tokens.end()) {
      return invalid_input("{}: {}: expected as many times as tokens, which ascend from 1", key,
                           one_line(times.format, 40));
    }
    all.push_back(std::move(times));
  }
  return all;
}

Json times_to_json(const std::vector<KernelTimes>& all) {
  Json list = Json::array();
  for (const KernelTimes& times : all) {
    Json ns = Json::array();
    for (double value : times.ns) ns.push_back(std::round(value * 10) / 10);
    list.push_back(
        {{"format", times.format}, {"hidden", times.hidden}, {"tokens", times.tokens}, {"ns", ns}});
  }
  return list;
}

}  // namespace

double KernelTimes::at(double count) const {
  const auto above = std::lower_bound(tokens.begin(), tokens.end(), count);
  if (above == tokens.begin()) return ns.front();
  if (above == tokens.end()) return ns.back() * count / tokens.back();
  const auto i = static_cast<size_t>(above - tokens.begin());
  const double share = (count - tokens[i - 1]) / (tokens[i] - tokens[i - 1]);
  return ns[i - 1] + (ns[i] - ns[i - 1]) * share;
}

Result<const KernelTimes*> MeasuredKernels::find(const std::vector<KernelTimes>& times,
                                                 std::string_view format, double hidden) {
  const KernelTimes* nearest = nullptr;
  const auto distance = [hidden](const KernelTimes& entry) {
    return std::abs(std::log(entry.hidden / hidden));
  };
  std::set<std::string_view> known;
  for (const KernelTimes& entry : times) {
    known.insert(entry.format);
    if (entry.format == format && (!nearest || distance(entry) < distance(*nearest))) {
      nearest = &entry;
    }
  }
  if (nearest != nullptr) return nearest;
  return unsupported("{} was not measured there; measured: {}", one_line(format),
                     one_line(fmt::format("{}", fmt::join(known, ", "))));
}

Result<MeasuredKernels> read_measured(const Json& json) {
  if (!json.is_object()) return invalid_input("expected an object");
  MeasuredKernels measured;
  FERRY_TRY(measured.matmul, read_times(json, "matmul"));
  FERRY_TRY(measured.experts, read_times(json, "experts"));
  for (const MeasuredField& field : kMeasuredFields) {
    FERRY_TRY(measured.*field.field, read_positive(json, field.key));
  }
  return measured;
}

Json measured_to_json(const MeasuredKernels& measured) {
  Json json = {{"matmul", times_to_json(measured.matmul)},
               {"experts", times_to_json(measured.experts)}};
  for (const MeasuredField& field : kMeasuredFields) json[field.key] = measured.*field.field;
  return json;
}

}  // namespace ferry::plan
