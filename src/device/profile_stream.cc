// ProfileStream: see profile_stream.h.
#include "device/profile_stream.h"

#include <set>
#include <vector>

#include "base/checked_math.h"

namespace ferry {
namespace {

int64_t stored_bytes(const WeightView& w) {
  int64_t bytes = w.format->bytes_for(w.rows * w.cols);
  if (w.scale_rows > 0) {
    bytes += ceil_div(w.rows, w.scale_rows) * ceil_div(w.cols, w.scale_cols) * 4;
  }
  return bytes;
}

}  // namespace

OpProfile ProfileStream::total() const {
  OpProfile sum;
  for (const OpProfile& profile : profiles_) {
    sum.cost += profile.cost;
    sum.seconds += profile.seconds;
  }
  return sum;
}

void ProfileStream::on_op(Op op, const Call& call, std::span<const TensorView>) {
  using Clock = std::chrono::steady_clock;
  // What is queued before (copies) is nobody's time. Errors stick and come out at the end.
  static_cast<void>(inner().synchronize());
  const auto start = Clock::now();
  call(inner());
  static_cast<void>(inner().synchronize());
  OpProfile& profile = profiles_[static_cast<size_t>(op)];
  profile.seconds += std::chrono::duration<double>(Clock::now() - start).count();
  PlanStream plan;  // one of its own for each op, so that no list grows
  call(plan);
  OpCost cost = plan.cost(op);
  if (expert_bytes_.has_value()) cost.weight_bytes = *expert_bytes_;
  profile.cost += cost;
}

int64_t ProfileStream::count_chosen_experts(const MoeExpertsArgs& args) {
  const int64_t tokens = args.ids.shape[0];
  const int64_t top_k = args.ids.shape[1];
  std::vector<int32_t> ids(static_cast<size_t>(tokens * top_k));
  for (int64_t t = 0; t < tokens; ++t) {
    inner().copy_out(ids.data() + t * top_k, args.ids.slice(0, t, 1).data,
                     top_k * static_cast<int64_t>(sizeof(int32_t)));
  }
  static_cast<void>(inner().synchronize());
  return static_cast<int64_t>(std::set<int32_t>(ids.begin(), ids.end()).size());
}

// Together, as without a profile, and as many calls.
void ProfileStream::matmuls(std::span<const MatmulArgs> products) {
  on_op(Op::kMatmul, [products](Stream& stream) { stream.matmuls(products); }, {});
}

void ProfileStream::moe_experts(const MoeExpertsArgs& args) {
  int64_t expert_bytes = 0;
  for (const auto& experts : {args.gate, args.up, args.down}) {
    expert_bytes += stored_bytes(experts[0]);
  }
  expert_bytes_ = count_chosen_experts(args) * expert_bytes;
  WatchedStream::moe_experts(args);
  expert_bytes_.reset();
}

}  // namespace ferry
