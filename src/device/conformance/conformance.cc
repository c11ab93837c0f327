// The runner of the conformance suite: runs each case on both backends and compares. See
// conformance.h for what counts as agreement.
#include "device/conformance/conformance.h"

#include <chrono>
#include <cmath>
#include <cstring>

#include "device/conformance/cases.h"
#include "device/conformance/rig.h"

namespace ferry {
namespace {

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

bool is_attention(Op op) {
  return op == Op::kGqaAttention || op == Op::kMlaPrefillAttention ||
         op == Op::kMlaDecodeAttention || op == Op::kMlaSparseAttention ||
         op == Op::kWindowAttention;
}

// What the rounding of operands may add to each output; empty: nothing.
std::vector<double> rounding_allowance(const ConformanceCase& test, const Exercise& exercise,
                                       const Backend& subject) {
  double rounding = 0;
  for (const OpQuery& query : test.queries) {
    if (is_attention(query.op)) {
      rounding = std::max(rounding, subject.attention_rounding(query.dtype));
    } else if (query.format == nullptr) {
      rounding = std::max(rounding, subject.spec().matmul_rounding);
    }
    if (query.format == nullptr) continue;
    rounding = std::max(rounding, subject.weight_rounding(*query.format));
  }
  if (!test.rounds || rounding == 0) return {};
  std::vector<double> allowance = exercise.rounding_magnitudes();
  for (double& value : allowance) value *= rounding;
  return allowance;
}

// The largest error over the outputs, less what rounding is allowed; fills `detail` with the first
// output beyond the tolerance.
double compare(const CaseOutput& got, const CaseOutput& want, const std::vector<double>& magnitudes,
               const std::vector<double>& allowance, double tolerance, std::string* detail) {
  if (got.values.size() != want.values.size() || got.integers.size() != want.integers.size() ||
      (!magnitudes.empty() && magnitudes.size() != want.values.size())) {
    *detail = "outputs differ in size";
    return INFINITY;
  }
  for (size_t i = 0; i < want.integers.size(); ++i) {
    if (got.integers[i] == want.integers[i]) continue;
    *detail = fmt::format("integer {}: {}, expected {}", i, got.integers[i], want.integers[i]);
    return INFINITY;
  }
  double largest = 0;
  for (size_t i = 0; i < want.values.size(); ++i) {
    if (same_bits(got.values[i], want.values[i])) continue;
    const double apart = std::fabs(static_cast<double>(got.values[i]) - want.values[i]);
    const double difference = allowance.empty() ? apart : std::max(0.0, apart - allowance[i]);
    const double magnitude = magnitudes.empty() ? 0.0 : magnitudes[i];
    double error = difference == 0.0 ? 0.0 : difference / magnitude;  // exact: infinite
    if (std::isnan(error)) error = INFINITY;
    if (magnitudes.empty()) error = INFINITY;
    largest = std::max(largest, error);
    if (error > tolerance && detail->empty()) {
      *detail = fmt::format("output {}: {}, expected {} (magnitude {})", i, got.values[i],
                            want.values[i], magnitude);
    }
  }
  return largest;
}

// Whether tokens [first, first + count) computed apart have the bits they have in `whole`.
bool same_part(const CaseOutput& whole, const CaseOutput& part, int64_t num_tokens, int64_t first,
               int64_t count) {
  const int64_t width = static_cast<int64_t>(whole.values.size()) / num_tokens;
  const int64_t integers = static_cast<int64_t>(whole.integers.size()) / num_tokens;
  if (static_cast<int64_t>(part.values.size()) != count * width) return false;
  if (static_cast<int64_t>(part.integers.size()) != count * integers) return false;
  return (width == 0 || std::memcmp(part.values.data(), whole.values.data() + first * width,
                                    part.values.size() * sizeof(float)) == 0) &&
         (integers == 0 ||
          std::memcmp(part.integers.data(), whole.integers.data() + first * integers,
                      part.integers.size() * sizeof(int32_t)) == 0);
}

// Runs parts of the batch on their own. Returns what differed, or "".
std::string check_invariance(const ConformanceCase& test, const Exercise& exercise, Rig& rig,
                             const CaseOutput& whole) {
  const int64_t n = test.num_tokens;
  const std::pair<int64_t, int64_t> parts[] = {{0, 1},     {n / 2, 1},         {n - 1, 1},
                                               {0, n / 2}, {n / 2, n - n / 2}, {1, n - 2}};
  for (const auto& [first, count] : parts) {
    if (count < 1 || count == n) continue;
    const CaseOutput part = exercise.run(rig, first, count);
    const Status status = rig.finish();
    if (!status.ok()) return status.error().message;
    if (!same_part(whole, part, n, first, count)) {
      return fmt::format("tokens [{}, {}) computed apart have other bits", first, first + count);
    }
  }
  return "";
}

ConformanceResult run_case(const ConformanceCase& test, Rig& subject, Rig& reference,
                           bool invariance) {
  const DeviceSpec& spec = subject.backend().spec();
  ConformanceResult result{.name = test.name, .op = test.op};
  result.tolerance = test.tolerance;
  for (const OpQuery& query : test.queries) {
    if (has_host_default(query.op) || subject.backend().supports(query)) continue;
    result.skipped = true;
    result.detail = "not supported";
    return result;
  }
  const std::unique_ptr<Exercise> exercise = test.prepare();
  const CaseOutput want = exercise->run(reference, 0, test.num_tokens);
  const Status reference_status = reference.finish();
  const auto start = std::chrono::steady_clock::now();
  const CaseOutput got = exercise->run(subject, 0, test.num_tokens);
  const Status subject_status = subject.finish();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!reference_status.ok() || !subject_status.ok()) {
    const bool of_reference = !reference_status.ok();
    result.detail = (of_reference ? "reference: " : "") +
                    (of_reference ? reference_status : subject_status).error().message;
    return result;
  }
  result.error = compare(got, want, exercise->magnitudes(),
                         rounding_allowance(test, *exercise, subject.backend()), result.tolerance,
                         &result.detail);
  if (result.detail.empty() && invariance && test.splits && spec.batch_invariant) {
    result.detail = check_invariance(test, *exercise, subject, got);
  }
  result.passed = result.detail.empty();
  return result;
}

}  // namespace

std::vector<ConformanceCase> conformance_cases() {
  std::vector<ConformanceCase> cases;
  add_elementwise_cases(cases);
  add_linear_cases(cases);
  add_row_cases(cases);
  add_attention_cases(cases);
  add_mla_cases(cases);
  add_sparse_cases(cases);
  add_moe_cases(cases);
  add_v4_cases(cases);
  return cases;
}

std::vector<ConformanceResult> run_conformance(Backend& subject, Backend& reference,
                                               const ConformanceOptions& options) {
  std::vector<ConformanceResult> results;
  Rig subject_rig(subject), reference_rig(reference);
  for (const Rig* rig : {&subject_rig, &reference_rig}) {
    if (rig->status().ok()) continue;
    return {{.name = "create_stream", .detail = rig->status().error().message}};
  }
  for (const ConformanceCase& test : conformance_cases()) {
    if (test.name.find(options.filter) == std::string::npos) continue;
    results.push_back(run_case(test, subject_rig, reference_rig, options.invariance));
    if (options.on_result) options.on_result(results.back());
  }
  return results;
}

}  // namespace ferry
