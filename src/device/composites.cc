// The composites behind the fused ops: what a chip without its own version runs.
#include "device/backend.h"
#include "device/workspace.h"

namespace ferry {

void Stream::add_rms_norm(const AddRmsNormArgs& args) {
  add({.a = args.residual, .b = args.delta, .out = args.residual});
  rms_norm({.x = args.residual, .weight = args.weight, .epsilon = args.epsilon, .out = args.out});
}

void Stream::matmuls(std::span<const MatmulArgs> products) {
  for (const MatmulArgs& product : products) matmul(product);
}

void Stream::moe_experts(const MoeExpertsArgs& args) {
  Workspace& workspace = *args.workspace;
  auto scope = workspace.scope();
  const int64_t tokens = args.ids.shape[0];
  const int64_t top_k = args.ids.shape[1];
  const int64_t rows = tokens * top_k;
  const int64_t num_experts = static_cast<int64_t>(args.gate.size());
  const int64_t hidden = args.x.shape[1];
  const int64_t width = args.gate[0].rows;

  TensorView token_of_row = workspace.tensor(Dtype::kI32, {rows});
  TensorView row_of_choice = workspace.tensor(Dtype::kI32, {tokens, top_k});
  TensorView offsets = workspace.tensor(Dtype::kI32, {num_experts + 1});
  moe_permute({.ids = args.ids,
               .num_experts = num_experts,
               .token_of_row = token_of_row,
               .row_of_choice = row_of_choice,
               .expert_offsets = offsets});

  TensorView gathered = workspace.tensor(Dtype::kF32, {rows, hidden});
  TensorView gate = workspace.tensor(Dtype::kF32, {rows, width});
  TensorView up = workspace.tensor(Dtype::kF32, {rows, width});
  gather_rows({.x = args.x, .rows = token_of_row, .out = gathered});
  grouped_matmul({.x = gathered, .expert_offsets = offsets, .experts = args.gate, .out = gate});
  grouped_matmul({.x = gathered, .expert_offsets = offsets, .experts = args.up, .out = up});
  swiglu({.gate = gate, .up = up, .out = gate});
  grouped_matmul({.x = gate, .expert_offsets = offsets, .experts = args.down, .out = gathered});
  moe_combine(
      {.rows = gathered, .row_of_choice = row_of_choice, .weights = args.weights, .out = args.out});
}

}  // namespace ferry
