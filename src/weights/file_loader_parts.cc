// FileLoader for the parts of a model that checkpoints store in more than one way: the experts of a
// mixture and the up-projections of latent attention. A checkpoint that holds two forms of the same
// thing is refused: nobody could say which one counts.
#include <fmt/format.h>

#include "base/quote_name.h"
#include "weights/file_loader.h"
#include "weights/head_matrices.h"
#include "weights/similar_names.h"

namespace ferry::weights {

bool FileLoader::exactly_one(std::string_view a, std::string_view b) {
  if (!status_.ok()) return false;
  const disk::FileTensor* first = checkpoint_.find(a);
  const disk::FileTensor* second = checkpoint_.find(b);
  if (first == nullptr || second == nullptr) return true;
  fail(invalid_input("{}: doubled: tensor {} holds the same weights", checkpoint_.where(*first),
                     quote_name(second->source_name)));
  return false;
}

std::string FileLoader::similar_names(std::string_view full_name) const {
  std::vector<std::string_view> names;
  names.reserve(used_.size());
  for (size_t i = 0; i < used_.size(); ++i) {
    if (!used_[i]) names.push_back(checkpoint_.tensors()[i].name);
  }
  return describe_similar_names(full_name, names);
}

// One tensor per expert (Hugging Face), one for all (GGUF, or without ".weight"), or gate and up of
// all in one ([experts, 2 · rows, cols], gate first).
ExpertBank FileLoader::experts(std::string_view prefix, std::string_view projection,
                               int64_t num_experts, int64_t rows, int64_t cols, Cut cut) {
  const auto stacked_name = [&](std::string_view what) {
    std::string name = fmt::format("{}.{}.weight", prefix, what);
    const std::string bare = fmt::format("{}.{}", prefix, what);
    return checkpoint_.find(name) == nullptr && checkpoint_.find(bare) != nullptr ? bare : name;
  };
  const std::string single = fmt::format("{}.0.{}.weight", prefix, projection);
  const std::string stacked = stacked_name(projection);
  const std::string fused = stacked_name("gate_up_proj");
  const bool fusable = projection == "gate_proj" || projection == "up_proj";
  const bool has_stacked = checkpoint_.find(stacked) != nullptr;
  const bool has_fused = fusable && checkpoint_.find(fused) != nullptr;
  if (!exactly_one(single, stacked)) return {};
  if (fusable && (!exactly_one(single, fused) || !exactly_one(stacked, fused))) return {};

  ExpertBank bank{.on_demand = options_.experts_on_demand};
  const auto keep = [&](Weight weight) {
    bank.views.push_back(weight.view);
    bank.storage.push_back(std::move(weight.storage));
  };
  if (!has_stacked && !has_fused) {
    for (int64_t e = 0; e < num_experts && status_.ok(); ++e) {
      keep(stored_matrix(fmt::format("{}.{}.{}", prefix, e, projection), rows, cols,
                         MatrixUse::kExpert, cut));
    }
    return bank;
  }
  const int64_t per_expert = has_fused ? 2 * rows : rows;
  const int64_t offset = has_fused && projection == "up_proj" ? rows : 0;
  const int64_t shape[] = {num_experts, per_expert, cols};
  const disk::FileTensor* tensor = take(has_fused ? fused : stacked, shape);
  if (tensor == nullptr) return {};
  if (tensor->format->safetensors.starts_with("F8_")) {
    fail(unsupported("{}: stacked experts stored as {}; ferry reads FP8 experts one by one",
                     checkpoint_.where(*tensor), tensor->format->name));
    return {};
  }
  const std::string bank_name =
      fmt::format("{}.{}", prefix, has_fused ? std::string_view("gate_up_proj") : projection);
  const disk::FileTensor* factors = take_factors(*tensor, bank_name, num_experts);
  for (int64_t e = 0; e < num_experts && status_.ok(); ++e) {
    Part part{.tensor = tensor,
              .first_row = e * per_expert + offset,
              .rows = rows,
              .cols = cols,
              .scale = factors,
              .factor = factors != nullptr ? e : -1,
              .expert = true};
    if (!apply(cut, part)) return {};
    keep(import(part));
  }
  return bank;
}

HeadMatrix FileLoader::mla_up_k(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                                int64_t rank) {
  const std::string whole = fmt::format("{}.kv_b_proj", prefix);
  const std::string split = fmt::format("{}.k_b_proj.weight", prefix);
  if (!exactly_one(whole + ".weight", split)) return {};
  if (has(split, false)) {
    const int64_t shape[] = {heads, rank, nope};
    const disk::FileTensor* tensor = take(split, shape);
    if (tensor == nullptr) return {};
    Part part{.tensor = tensor, .rows = heads * rank, .cols = nope, .by_head = true};
    if (!apply(cut_rows(heads), part)) return {};
    Weight weight = import(part);
    return {.view = k_b_view(weight.view, shard().share(heads), rank),
            .storage = std::move(weight.storage)};
  }
  kv_b_ = stored_matrix(whole, heads * (nope + value), rank, MatrixUse::kHeads, cut_rows(heads));
  kv_b_name_ = whole;
  return {.view = up_k_view(kv_b_.view, shard().share(heads), nope, value),
          .storage = kv_b_.storage};
}

HeadMatrix FileLoader::mla_up_v(std::string_view prefix, int64_t heads, int64_t nope, int64_t value,
                                int64_t rank) {
  const std::string whole = fmt::format("{}.kv_b_proj", prefix);
  const std::string split = fmt::format("{}.v_b_proj.weight", prefix);
  if (!exactly_one(whole + ".weight", split)) return {};
  if (has(split, false) || kv_b_name_ != whole) {
    const int64_t shape[] = {heads, value, rank};
    const disk::FileTensor* tensor = take(split, shape);
    if (tensor == nullptr) return {};
    Part part{.tensor = tensor, .rows = heads * value, .cols = rank, .by_head = true};
    if (!apply(cut_rows(heads), part)) return {};
    Weight weight = import(part);
    return {.view = v_b_view(weight.view, shard().share(heads), value),
            .storage = std::move(weight.storage)};
  }
  HeadMatrix half{.view = up_v_view(kv_b_.view, shard().share(heads), nope, value),
                  .storage = kv_b_.storage};
  kv_b_ = {};  // the halves keep it from here on
  return half;
}

}  // namespace ferry::weights
