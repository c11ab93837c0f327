// The model of `ferry plan`: a public one by name, or a file, whose weights count as the engine
// holds them: every tensor as it is stored, and the tables that loading adds.
#include <algorithm>
#include <filesystem>
#include <map>

#include "cmd/model_argument.h"
#include "cmd/plan_parts.h"
#include "cmd/quant_mix.h"
#include "models/registry/select.h"
#include "weights/file_loader.h"

namespace ferry::cmd {
namespace {

constexpr int64_t kEngineContext = 8192;  // as the engine has it

using FormatBytes = std::map<const quant::StorageFormat*, double>;

const quant::StorageFormat* most_of(const FormatBytes& bytes) {
  const auto largest = std::max_element(bytes.begin(), bytes.end(), [](auto& a, auto& b) {
    return a.second < b.second || (a.second == b.second && a.first->name < b.first->name);
  });
  return largest == bytes.end() ? nullptr : largest->first;
}

plan::StoredWeights count_stored(const disk::Checkpoint& checkpoint, const plan::PlanModel& model) {
  plan::StoredWeights stored;
  FormatBytes experts, other, head;
  const bool tied = model.embedding_parameters == 0;
  for (const disk::FileTensor& tensor : checkpoint.tensors()) {
    const auto bytes = static_cast<double>(tensor.data.size());
    const std::string& name = tensor.name;
    const bool in_layer = layer_of(name) >= 0;
    const bool embedding = !in_layer && name.find("embed") != std::string::npos;
    if (layer_of(name) >= model.num_layers || name.starts_with("mtp.")) {
      stored.other += bytes;
      stored.unread += bytes;
    } else if (name.find(".experts.") != std::string::npos) {
      stored.experts += bytes;
      experts[tensor.format] += bytes;
    } else if (name.starts_with("lm_head") || name.starts_with("head.") || (tied && embedding)) {
      stored.head += bytes;
      head[tensor.format] += bytes;
    } else if (embedding) {
      stored.embedding += bytes;
    } else {
      stored.other += bytes;
      other[tensor.format] += bytes;
    }
  }
  stored.expert_format = most_of(experts);
  stored.other_format = most_of(other);
  stored.head_format = most_of(head);
  return stored;
}

// The model as an engine has it, and what loading takes of memory besides the file: both from the
// loader, which reads no value for it.
Status measure_engine(const disk::ModelSource& source, int64_t context, plan::PlanModel& model) {
  FERRY_TRY(const nn::Architecture* architecture, models::select_architecture(source.config));
  FERRY_TRY(const nn::ModelSpec spec, architecture->read_spec(source.config));
  FERRY_TRY(const models::ScaleBlock block, models::read_scale_block(source.config));
  FERRY_TRY(const std::shared_ptr<Backend> backend, open_backend("cpu", {}));
  weights::FileLoader measure(
      source.checkpoint, backend,
      {.measure_only = true, .scale_rows = block.rows, .scale_cols = block.cols});
  const int64_t longest = std::min(context, spec.max_position_embeddings);
  model.measured = architecture->build(spec, measure, {.max_context = longest});
  FERRY_TRY_VOID(measure.finish());
  const auto tables = static_cast<double>(measure.device_bytes() - measure.replaced_bytes());
  model.stored->other += tables;
  model.stored->unread += tables;
  return {};
}

}  // namespace

Result<plan::PlanModel> open_plan_model(const std::string& argument, int64_t context) {
  auto known = plan::find_model(argument);
  if (known.ok()) return known;
  std::error_code ignored;
  if (!argument.empty() && argument != "demo" && !std::filesystem::exists(argument, ignored)) {
    return known.error();
  }
  FERRY_TRY(const disk::ModelSource source, open_model_argument(argument));
  auto model = plan::model_from_config(source.config, source.name);
  if (!model.ok()) return model.error().in(source.config_path());
  model->stored = count_stored(source.checkpoint, *model);
  const Status engine = measure_engine(source, context > 0 ? context : kEngineContext, *model);
  if (!engine.ok()) return engine.error().in(source.config_path());
  return model;
}

}  // namespace ferry::cmd
