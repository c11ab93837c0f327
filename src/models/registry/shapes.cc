// See shapes.h.
#include "models/registry/shapes.h"

#include <algorithm>
#include <cctype>

#include "base/quote_name.h"
#include "models/registry/select.h"
#include "shapes_table.inc"

namespace ferry::models {
namespace {

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

}  // namespace

std::span<const PublicShape> public_shapes() { return kPublicShapeTable; }

const PublicShape* find_public_shape(std::string_view name) {
  for (const PublicShape& shape : kPublicShapeTable) {
    if (same_name(shape.name, name)) return &shape;
  }
  return nullptr;
}

Result<Json> public_shape_config(std::string_view name) {
  if (const PublicShape* shape = find_public_shape(name)) return parse_json(shape->config_json);
  std::string known;
  for (const PublicShape& shape : kPublicShapeTable) {
    known += (known.empty() ? "" : ", ") + std::string(shape.name);
  }
  return not_found("shape {}: not known; known are {}", quote_name(name), known);
}

Result<std::vector<weights::TensorRecord>> list_tensors(const Json& config,
                                                        const TensorListOptions& options) {
  FERRY_TRY(const nn::Architecture* architecture, select_architecture(config));
  FERRY_TRY(nn::ModelSpec spec, architecture->read_spec(config));
  if (!options.mtp) spec.num_nextn_predict_layers = 0;
  weights::ShapeRecorder recorder({.split_kv_b = options.split_kv_b});
  // Sizes of rope tables are no matter here: they are not tensors of the model.
  architecture->build(spec, recorder, {.max_context = 1});
  return recorder.records();
}

int64_t count_parameters(std::span<const weights::TensorRecord> tensors) {
  int64_t count = 0;
  for (const weights::TensorRecord& tensor : tensors) count += tensor.num_elements();
  return count;
}

}  // namespace ferry::models
