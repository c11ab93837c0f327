// See shard.h.
#include "nn/shard.h"

#include <algorithm>
#include <vector>

namespace ferry::nn {
namespace {

constexpr int64_t kMostRanks = 64;

struct Divided {
  const char* name;
  int64_t count;
  bool shared;  // fewer of them than ranks may be shared
};

std::vector<Divided> divided_by(const ModelSpec& spec) {
  std::vector<Divided> all = {{"num_attention_heads", spec.num_attention_heads, false}};
  if (spec.attention == AttentionKind::kGqa) {
    all.push_back({"num_key_value_heads", spec.num_key_value_heads, true});
  }
  const auto& layers = spec.layer_is_moe;
  const bool dense = std::find(layers.begin(), layers.end(), false) != layers.end();
  if (dense) all.push_back({"intermediate_size", spec.intermediate_size, false});
  if (spec.moe.num_experts > 0) {
    all.push_back({"moe_intermediate_size", spec.moe.moe_intermediate_size, false});
    if (spec.moe.shared_intermediate_size > 0) {
      all.push_back({"the width of the shared experts", spec.moe.shared_intermediate_size, false});
    }
  }
  return all;
}

bool fits_size(const Divided& divided, int64_t size) {
  if (divided.count % size == 0) return true;
  return divided.shared && divided.count < size && size % divided.count == 0;
}

}  // namespace

Status check_shards(const ModelSpec& spec, int64_t size) {
  const std::vector<Divided> all = divided_by(spec);
  const auto fit = [&](int64_t ranks) {
    return std::all_of(all.begin(), all.end(),
                       [&](const Divided& one) { return fits_size(one, ranks); });
  };
  if (fit(size)) return {};
  std::string sizes;
  for (int64_t ranks = 1; ranks <= kMostRanks; ++ranks) {
    if (fit(ranks)) sizes += (sizes.empty() ? "" : ", ") + std::to_string(ranks);
  }
  for (const Divided& one : all) {
    if (fits_size(one, size)) continue;
    return unsupported(
        "tensor parallel size {}: {} is {}, which it does not divide; sizes for this "
        "model: {}",
        size, one.name, one.count, sizes);
  }
  return {};
}

}  // namespace ferry::nn
