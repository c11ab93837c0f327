// Model and Architecture: what one file of models/ provides.
//
// An architecture file (models/NAME.cc) reads the config into a ModelSpec, names its tensors
// through a WeightLoader and writes the forward like the paper. It defines
//   const Architecture ferry::models::architecture_NAME
// which the generated table (cmake/Tables.cmake) lists. Tensor and config names are always those of
// the Hugging Face checkpoint; disk/ translates GGUF names and keys before they get here.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "device/backend.h"
#include "device/workspace.h"
#include "nn/kv_cache.h"
#include "nn/model_spec.h"

namespace ferry::weights {
class WeightLoader;
}

namespace ferry::nn {

struct ForwardArgs {
  Stream& stream;
  Workspace& workspace;
  const BatchView& batch;
  const KvCache& cache;
  TensorView logits;  // f32 [R, vocab_size] for the rows of batch.logit_rows
  TensorView
      hidden;  // f32 [T, hidden_size] after the final norm, of every token; empty: not wanted
  // f32 [T, mtp_state_size()], contiguous, of every token; empty: not wanted, or the model's is 0
  TensorView mtp_state;
  // Of this rank, where the model is one of several shards that run side by side; nullptr: it is
  // whole, or run dry. Logits are asked of the first rank only.
  Communicator* communicator = nullptr;
};

// One step of a multi-token-prediction module (MODELS §4.4): for each token of the batch, the state
// of its position and the token *behind* it give the token after that.
struct MtpArgs {
  Stream& stream;
  Workspace& workspace;
  const BatchView& batch;  // token_ids: t_{i+1} where positions, slots and lengths are those of i
  const KvCache& cache;
  int64_t module = 0;
  TensorView state;      // as ForwardArgs::mtp_state or, where that has no size, ::hidden
  TensorView logits;     // f32 [R, vocab_size] for the rows of batch.logit_rows
  TensorView state_out;  // like state, for a further draft; empty: not wanted
  Communicator* communicator = nullptr;  // as ForwardArgs::communicator
};

// Immutable once built; forwards may run on several streams at once.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelSpec& spec() const = 0;
  virtual const KvLayout& kv_layout() const = 0;
  virtual void forward(const ForwardArgs& args) const = 0;

  virtual int64_t num_mtp_modules() const { return 0; }
  // What a module reads of each token, where that is something else than ForwardArgs::hidden: how
  // many numbers; or 0.
  virtual int64_t mtp_state_size() const { return 0; }
  // REQUIRES: args.module < num_mtp_modules()
  virtual void forward_mtp(const MtpArgs&) const {}
};

struct BuildOptions {
  int64_t max_context = 0;  // longest sequence that will be run; sizes the rope tables
};

struct Architecture {
  std::string_view name;                          // "deepseek_v3"
  std::span<const std::string_view> model_types;  // of config.json: "deepseek_v3", "kimi_k2"
  // One line for `ferry show` and the README: what is supported of it.
  std::string_view summary;
  Result<ModelSpec> (*read_spec)(const Json& config);
  // Whether build() heeds the loader's shard, and forwards sum over ranks.
  bool shards = false;
  // Declares every tensor to the loader and keeps the handles. Errors stick in the loader.
  std::unique_ptr<Model> (*build)(const ModelSpec& spec, weights::WeightLoader& loader,
                                  const BuildOptions& options);
};

}  // namespace ferry::nn
