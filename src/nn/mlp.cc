// See mlp.h.
#include "nn/mlp.h"

namespace ferry::nn {

Mlp load_mlp(weights::WeightLoader& loader, const std::string& prefix, int64_t hidden,
             int64_t width) {
  Mlp mlp;
  mlp.gate = loader.matrix(prefix + ".gate_proj", width, hidden, weights::cut_rows(width));
  mlp.up = loader.matrix(prefix + ".up_proj", width, hidden, weights::cut_rows(width));
  mlp.down = loader.matrix(prefix + ".down_proj", hidden, width, weights::cut_columns(width));
  return mlp;
}

void run_mlp(const Step& step, const Mlp& mlp, const TensorView& x, const TensorView& out) {
  auto scope = step.workspace.scope();
  const int64_t tokens = x.shape[0];
  TensorView gate = step.workspace.tensor(Dtype::kF32, {tokens, mlp.gate.view.rows});
  TensorView up = step.workspace.tensor(Dtype::kF32, {tokens, mlp.up.view.rows});
  const MatmulArgs products[] = {{.x = x, .w = mlp.gate.view, .out = gate},
                                 {.x = x, .w = mlp.up.view, .out = up}};
  step.stream.matmuls(products);
  step.stream.swiglu({.gate = gate, .up = up, .out = gate});
  step.stream.matmul({.x = gate, .w = mlp.down.view, .out = out});
}

}  // namespace ferry::nn
