// Decoder: the pre-norm transformer that every architecture of ferry so far is, put together from
// the blocks that its spec names.
//
//   h = Embed[token]
//   for each layer:  h += Attention(norm(h));  h += FFN(norm(h))
//   logits = W_head · norm(h)
//
// An architecture whose skeleton differs writes its own Model from the same blocks.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "nn/gqa.h"
#include "nn/mla.h"
#include "nn/mlp.h"
#include "nn/model.h"
#include "nn/moe.h"

namespace ferry::nn {

struct DecoderLayer {
  weights::Vector attention_norm;
  std::variant<Gqa, Mla> attention;
  weights::Vector ffn_norm;
  std::variant<Mlp, Moe> ffn;
};

// The layer under PREFIX ("model.layers.3"): input_layernorm, self_attn.*,
// post_attention_layernorm, mlp.*.
DecoderLayer load_layer(weights::WeightLoader& loader, const std::string& prefix,
                        const ModelSpec& spec, bool moe, KvLayout& layout);

// h += Attention(x); h += FFN(norm(h)), where x is norm(h) already and `next_norm` is what the
// layer behind starts with: x = norm(h) again on return. `next` is that layer, nullptr: none.
// h, x: [T, hidden].
void run_layer(const Step& step, const DecoderLayer& layer, const weights::Vector& next_norm,
               const DecoderLayer* next, const TensorView& h, const TensorView& x);

// Multi-token prediction (DeepSeek-V3 §2.2; MODELS §4.4): one more layer that, from the state of
// position i and the token at i + 1, predicts the token at i + 2.
//   u = W_eh [norm(Embed[t_{i+1}]); norm(h_i)];  u = Layer(u);  logits = W_head · norm(u)
struct MtpModule {
  weights::Vector embedding_norm;  // enorm
  weights::Vector hidden_norm;     // hnorm
  Weight eh_proj;                  // [hidden, 2 · hidden]: embedding first
  DecoderLayer layer;
  weights::Vector final_norm;  // shared_head.norm
};

class Decoder : public Model {
 public:
  // Declares all tensors. Errors stick in the loader; what came back is then not to be run.
  Decoder(ModelSpec spec, weights::WeightLoader& loader, const BuildOptions& options);

  const ModelSpec& spec() const override { return spec_; }
  const KvLayout& kv_layout() const override { return kv_layout_; }
  void forward(const ForwardArgs& args) const override;

  int64_t num_mtp_modules() const override { return static_cast<int64_t>(mtp_.size()); }
  void forward_mtp(const MtpArgs& args) const override;

 private:
  void load_mtp(weights::WeightLoader& loader);
  // logits = W_head x for the rows that the batch wants.
  void write_logits(const Step& step, const TensorView& x, const TensorView& logits) const;

  ModelSpec spec_;
  KvLayout kv_layout_;
  Weight embedding_;
  std::vector<DecoderLayer> layers_;
  weights::Vector final_norm_;
  Weight head_;
  std::vector<MtpModule> mtp_;
  weights::Vector rope_table_;
};

// Architecture::build of every architecture that is a Decoder.
std::unique_ptr<Model> build_decoder(const ModelSpec& spec, weights::WeightLoader& loader,
                                     const BuildOptions& options);

}  // namespace ferry::nn
