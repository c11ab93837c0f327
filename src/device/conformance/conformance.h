// The conformance suite: every op of device/ops.h, over shapes, storage formats, strides and edges
// that models and schedulers produce, run on one backend and compared with another (normally the
// reference). Library code, because `ferry doctor --conformance` runs it on a user's chip.
//
// What is compared:
//   - floats: |subject − reference| ≤ tolerance · magnitude, where the magnitude of an output is
//     the sum of the absolute values of the terms that make it up, so that cancellation does not
//     count as error. The tolerance is stated per case; where the op multiplies by a weight or by
//     the cache, DeviceSpec::matmul_rounding or Backend::attention_rounding() is allowed on top.
//   - integers, and floats that are only moved or converted: exactly.
//   - memory between padded rows and rows that are not the op's own: must not change.
//   - on a batch_invariant backend: rows computed alone or in part of a batch have the same bits.
// Device memory is only touched through copies, so the suite runs on any chip.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "device/backend.h"

namespace ferry {

class Rig;

// What one run of a case gave, for the tokens it was run on.
struct CaseOutput {
  std::vector<float> values;  // as many per token for every token
  std::vector<int32_t> integers;
};

// The inputs of one case. Made when the case is run, and dropped after it.
class Exercise {
 public:
  virtual ~Exercise() = default;
  // Runs the op for tokens [first, first + count) of the case.
  virtual CaseOutput run(Rig& rig, int64_t first, int64_t count) const = 0;
  // One per float of the full output. Empty: floats must agree bit for bit.
  virtual std::vector<double> magnitudes() const { return {}; }
  // The same where each factor of a product is as large as the largest of its 32 neighbours: an
  // operand that is rounded together with an outlier is off by a part of the outlier.
  virtual std::vector<double> rounding_magnitudes() const { return magnitudes(); }
};

struct ConformanceCase {
  std::string name;  // op, then what is special about it: "matmul Q4_K T=17 [33 x 512]"
  Op op = Op::kEmbed;
  std::vector<OpQuery> queries;  // skipped unless the subject supports all of them
  double tolerance = 0;
  bool rounds = false;     // the subject's rounding of operands is allowed on top
  int64_t num_tokens = 1;  // of the whole case
  bool splits = true;      // tokens may be computed in parts
  std::function<std::unique_ptr<Exercise>()> prepare;
};

struct ConformanceResult {
  std::string name;
  Op op = Op::kEmbed;
  bool skipped = false;  // the backend said that it does not support this
  bool passed = false;
  double error = 0;      // largest |difference| / magnitude seen
  double tolerance = 0;  // what was allowed
  double seconds = 0;    // of the subject, copies included
  std::string detail;    // why it failed or was skipped, one line
};

struct ConformanceOptions {
  std::string filter;      // only cases whose name contains this
  bool invariance = true;  // also the bit-for-bit check, where the subject claims it
  // Called after every case, for progress. Optional.
  std::function<void(const ConformanceResult&)> on_result;
};

std::vector<ConformanceCase> conformance_cases();

std::vector<ConformanceResult> run_conformance(Backend& subject, Backend& reference,
                                               const ConformanceOptions& options);

}  // namespace ferry
