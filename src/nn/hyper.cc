// See hyper.h.
#include "nn/hyper.h"

namespace ferry::nn {

HyperConnection load_hyper(weights::WeightLoader& loader, const std::string& prefix,
                           const ModelSpec& spec, bool head) {
  const int64_t streams = spec.hyper.streams;
  const int64_t mixes = head ? streams : streams * (streams + 2);
  HyperConnection hyper;
  hyper.fn = loader.bare_matrix(prefix + "_fn", mixes, streams * spec.hidden_size);
  hyper.base = loader.vector(prefix + "_base", mixes);
  hyper.scale = loader.vector(prefix + "_scale", head ? 1 : 3);
  return hyper;
}

void collapse(const Step& step, const HyperConnection& hyper, const TensorView& streams,
              const TensorView& y, const TensorView& gates) {
  auto scope = step.workspace.scope();
  TensorView mix = step.workspace.tensor(Dtype::kF32, {streams.shape[0], hyper.fn.view.rows});
  step.stream.matmul({.x = streams, .w = hyper.fn.view, .out = mix});
  step.stream.hyper_collapse(
      {.streams = streams.split_last(step.spec.hyper.streams, step.spec.hidden_size),
       .mix = mix,
       .base = hyper.base.view,
       .scale = hyper.scale.view,
       .norm_epsilon = step.spec.rms_norm_eps,
       .epsilon = step.spec.hyper.epsilon,
       .iterations = step.spec.hyper.sinkhorn_iterations,
       .out = y,
       .gates = gates});
}

void expand(const Step& step, const TensorView& streams, const TensorView& x,
            const TensorView& gates) {
  step.stream.hyper_expand(
      {.streams = streams.split_last(step.spec.hyper.streams, step.spec.hidden_size),
       .x = x,
       .gates = gates});
}

}  // namespace ferry::nn
