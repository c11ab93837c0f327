// From a model on disk to one that can be run: select the architecture, read its spec, check every
// tensor's name and shape, ask the backend whether it has all ops and enough memory, and only then
// read the weights.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "device/backend.h"
#include "disk/model_source.h"
#include "nn/memory_plan.h"
#include "nn/model.h"
#include "weights/packed_copy.h"
#include "weights/shard.h"

namespace ferry::engine {

struct LoadOptions {
  // Longest sequence that will be run. 0: what the model was made for, at most 131072.
  int64_t max_context = 0;
  Dtype kv_dtype = Dtype::kF32;  // of the cache it will run with
  int threads = 0;               // that read; 0: all there are
  // The model's prediction module will be run; without one it is refused.
  bool mtp = false;
  // Everything but the weights: the model can be planned with, not run. It need not fit.
  bool measure_only = false;
  // Experts are left in the file and read when they are needed; so many bytes of them are kept in
  // memory. 0: everything is loaded. See engine/expert_memory.h.
  int64_t expert_memory = 0;
  // Weights are packed where the backend has a packed form; see HostWeight::pack.
  bool pack = false;
  bool pack_later = false;  // see FileLoaderOptions
  // See FileLoaderOptions.
  const weights::PackedCopy* packed_copy = nullptr;
  weights::PackedCopyWriter* packed_writer = nullptr;
  // Where it is noted what was looked through; see weights/looked_through.h. Empty: nowhere.
  std::string notes_folder;
  weights::Shard shard;  // what of the model is loaded
  // Called on the loading thread with the bytes of tensors done and of all tensors there.
  std::function<void(int64_t bytes_done, int64_t bytes_total)> progress;
};

struct LoadedModel {
  std::string name;  // for people
  const nn::Architecture* architecture = nullptr;
  std::shared_ptr<Backend> backend;
  std::unique_ptr<nn::Model> model;
  int64_t max_context = 0;    // its rope tables end here
  int64_t weights_bytes = 0;  // device memory that the weights and tables take
  // Of the file: what some of weights_bytes stand for, so that it need not stay in memory where the
  // file is used as it is mapped.
  int64_t replaced_bytes = 0;
  // Of weights_bytes, and of LoadOptions::packed_copy: packed weights.
  int64_t packed_bytes = 0;
  int64_t copied_bytes = 0;
  // What could be read on demand, by stored bytes: all experts, and the largest matrix of one.
  int64_t expert_bytes = 0;
  int64_t largest_expert_bytes = 0;

  const nn::ModelSpec& spec() const { return model->spec(); }
};

// Errors name the file, tensor or config key; kUnsupported the ops that the backend lacks, or what
// can't be shared out among so many ranks;
// kOutOfMemory the bytes wanted and free.
Result<LoadedModel> load_model(const disk::ModelSource& source, std::shared_ptr<Backend> backend,
                               const LoadOptions& options);

}  // namespace ferry::engine
