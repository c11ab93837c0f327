// What `ferry bench` measured, as JSON and as tables for people.
//
// A rate is tokens per second: the median of the repeats, with the smallest and largest beside it.
// Bytes are those that a forward has to read: weights as stored (of experts, those that were
// chosen) and cached keys and values. Operations count a multiply and an add as two. Shares are of
// the ceilings that were measured in the same run, at the median. Beside them stands what memory
// gave meanwhile, in short reads between the steps of decode, and the share of that, repeat by
// repeat: where other machines share the memory, that is what decode had.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cpu/ceilings.h"
#include "base/json.h"
#include "device/ops.h"
#include "device/profile_stream.h"

namespace ferry::cmd {

struct OpTime {
  Op op;
  OpProfile profile;
};

// One phase (prefill or decode) at one point, measured several times over.
struct Measured {
  int64_t tokens = 0;           // of one repeat, over the whole batch
  std::vector<double> seconds;  // one per repeat; empty: not measured
  // What memory gave meanwhile, one per repeat; empty: not asked.
  std::vector<double> memory_bytes_per_s;
  double weight_bytes = 0;  // read per token
  double cache_bytes = 0;   // read and written per token
  double operations = 0;    // per token
  OnDemandStats experts;    // of all repeats together: what had to be read meanwhile
  std::vector<OpTime> ops;  // of a run of its own, op by op; longest first; empty: no --profile
  double profile_s = 0;     // that run as a whole
};

struct BenchPoint {
  int64_t batch = 0;
  int64_t context = 0;
  std::string skipped;  // why it could not be measured; empty: it was
  Measured decode;
  size_t prefill = 0;  // index into BenchResult::prefill
};

struct BenchResult {
  std::string model, architecture, backend, detail, kv_dtype;
  int threads = 0;
  int64_t file_bytes = 0;
  bool packed = false;            // weights lie in memory as the kernels read them
  int64_t packed_copy_bytes = 0;  // of them, mapped from what `ferry pack` made
  int64_t expert_memory = 0;      // for experts that are read on demand; 0: all are in memory
  int64_t prompt = 0, generate = 0, chunk = 0, repeat = 0;
  std::optional<cpu::Ceilings> ceilings;
  std::string matmul_instruction;      // the one the backend's matmuls use; empty: unknown
  double matmul_operations_per_s = 0;  // its ceiling
  std::vector<Measured> prefill;       // one per context; of one sequence
  std::vector<BenchPoint> points;      // batch by batch, context by context
};

// The ceiling of the instruction that matmuls of this backend use: `rounding` is
// DeviceSpec::matmul_rounding, `level` the instruction set of the cpu backend ("avx512", …).
const cpu::MatmulCeiling* matmul_ceiling(const cpu::Ceilings& ceilings, double rounding,
                                         std::string_view level);

Json bench_json(const BenchResult& result);
void print_bench(const BenchResult& result);

// The middle one, or the mean of the two middle ones. REQUIRES: not empty
double median(std::vector<double> values);

}  // namespace ferry::cmd
