// See quant_mix.h. The table states what published files contain; ferry's tests compare it with
// such files tensor by tensor.
#include "cmd/quant_mix.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/check.h"
#include "base/quote_name.h"

namespace ferry::cmd {

// The parts of a model that a mix may treat in a way of its own.
enum class Part : uint8_t {
  kOutput,
  kEmbedding,
  kValues,
  kKeys,
  kAttentionOutput,
  kDown,
  kExperts,
  kOther
};

enum class Layers : uint8_t {
  kAll,
  kSpread,  // the first and the last eighth, and every third between them
  kFirstTwo,
  kFirstFour,
  kFirstEighth,
  kFirstSixteenth,
  kIfFewKeyHeads,  // all, in models with four or more query heads per key head
};

struct Better {
  Part part = Part::kOther;
  Layers layers = Layers::kAll;
  std::string_view format;  // the first entry that applies counts; empty: end of the list
};

struct MixEntry {
  std::string_view name;
  uint32_t file_type = 0;
  std::string_view base;
  std::array<Better, 6> better{};
};

namespace {

constexpr MixEntry kMixes[] = {
    {"F32", 0, "F32", {}},
    {"F16", 1, "F16", {}},
    {"BF16", 32, "BF16", {}},
    {"Q8_0", 7, "Q8_0", {}},
    {"Q4_0", 2, "Q4_0", {{{Part::kOutput, Layers::kAll, "Q6_K"}}}},
    {"Q4_1", 3, "Q4_1", {{{Part::kOutput, Layers::kAll, "Q6_K"}}}},
    {"Q5_0", 8, "Q5_0", {{{Part::kOutput, Layers::kAll, "Q6_K"}}}},
    {"Q5_1", 9, "Q5_1", {{{Part::kOutput, Layers::kAll, "Q6_K"}}}},
    {"Q2_K",
     10,
     "Q2_K",
     {{{Part::kOutput, Layers::kAll, "Q6_K"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q4_K"},
       {Part::kValues, Layers::kAll, "Q3_K"},
       {Part::kAttentionOutput, Layers::kAll, "Q3_K"},
       {Part::kDown, Layers::kAll, "Q3_K"}}}},
    {"Q3_K_S", 11, "Q3_K", {{{Part::kOutput, Layers::kAll, "Q6_K"}}}},
    {"Q3_K_M",
     12,
     "Q3_K",
     {{{Part::kOutput, Layers::kAll, "Q6_K"},
       {Part::kValues, Layers::kFirstTwo, "Q5_K"},
       {Part::kValues, Layers::kAll, "Q4_K"},
       {Part::kAttentionOutput, Layers::kAll, "Q4_K"},
       {Part::kDown, Layers::kFirstSixteenth, "Q5_K"},
       {Part::kDown, Layers::kAll, "Q4_K"}}}},
    {"Q3_K_L",
     13,
     "Q3_K",
     {{{Part::kOutput, Layers::kAll, "Q6_K"},
       {Part::kValues, Layers::kAll, "Q5_K"},
       {Part::kAttentionOutput, Layers::kAll, "Q5_K"},
       {Part::kDown, Layers::kAll, "Q5_K"}}}},
    {"Q4_K_S",
     14,
     "Q4_K",
     {{{Part::kOutput, Layers::kAll, "Q6_K"},
       {Part::kValues, Layers::kFirstFour, "Q5_K"},
       {Part::kDown, Layers::kFirstEighth, "Q5_K"}}}},
    {"Q4_K_M",
     15,
     "Q4_K",
     {{{Part::kOutput, Layers::kAll, "Q6_K"},
       {Part::kValues, Layers::kSpread, "Q6_K"},
       {Part::kDown, Layers::kSpread, "Q6_K"}}}},
    {"Q5_K_S", 16, "Q5_K", {{{Part::kOutput, Layers::kAll, "Q6_K"}}}},
    {"Q5_K_M",
     17,
     "Q5_K",
     {{{Part::kOutput, Layers::kAll, "Q6_K"},
       {Part::kValues, Layers::kSpread, "Q6_K"},
       {Part::kDown, Layers::kSpread, "Q6_K"}}}},
    {"Q6_K", 18, "Q6_K", {}},
    {"IQ4_NL",
     25,
     "IQ4_NL",
     {{{Part::kOutput, Layers::kAll, "Q6_K"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q5_K"},
       {Part::kDown, Layers::kFirstEighth, "Q5_K"}}}},
    {"IQ4_XS",
     30,
     "IQ4_XS",
     {{{Part::kOutput, Layers::kAll, "Q6_K"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q5_K"},
       {Part::kDown, Layers::kFirstEighth, "Q5_K"}}}},
    {"IQ1_S",
     24,
     "IQ1_S",
     {{{Part::kOutput, Layers::kAll, "Q5_K"},
       {Part::kEmbedding, Layers::kAll, "Q2_K"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q4_K"},
       {Part::kValues, Layers::kAll, "Q2_K"},
       {Part::kDown, Layers::kFirstEighth, "Q2_K"},
       {Part::kAttentionOutput, Layers::kAll, "IQ2_XXS"}}}},
    {"IQ1_M",
     31,
     "IQ1_M",
     {{{Part::kOutput, Layers::kAll, "Q5_K"},
       {Part::kEmbedding, Layers::kAll, "Q2_K"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q4_K"},
       {Part::kValues, Layers::kAll, "Q2_K"},
       {Part::kDown, Layers::kFirstEighth, "Q2_K"},
       {Part::kAttentionOutput, Layers::kAll, "IQ2_XXS"}}}},
    {"IQ2_XXS",
     19,
     "IQ2_XXS",
     {{{Part::kOutput, Layers::kAll, "Q5_K"},
       {Part::kEmbedding, Layers::kAll, "Q2_K"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q4_K"},
       {Part::kValues, Layers::kAll, "Q2_K"},
       {Part::kDown, Layers::kFirstEighth, "Q2_K"}}}},
    {"IQ2_XS",
     20,
     "IQ2_XS",
     {{{Part::kOutput, Layers::kAll, "Q5_K"},
       {Part::kEmbedding, Layers::kAll, "Q2_K"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q4_K"},
       {Part::kValues, Layers::kAll, "Q2_K"},
       {Part::kDown, Layers::kFirstEighth, "Q2_K"}}}},
    {"IQ2_S",
     28,
     "IQ2_S",
     {{{Part::kOutput, Layers::kAll, "Q5_K"},
       {Part::kEmbedding, Layers::kAll, "IQ3_S"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q4_K"},
       {Part::kValues, Layers::kAll, "IQ3_S"},
       {Part::kDown, Layers::kFirstEighth, "IQ3_S"},
       {Part::kAttentionOutput, Layers::kAll, "IQ3_S"}}}},
    {"IQ3_XXS",
     23,
     "IQ3_XXS",
     {{{Part::kOutput, Layers::kAll, "Q5_K"},
       {Part::kEmbedding, Layers::kAll, "IQ3_S"},
       {Part::kValues, Layers::kIfFewKeyHeads, "Q4_K"},
       {Part::kValues, Layers::kAll, "IQ3_S"},
       {Part::kDown, Layers::kFirstEighth, "Q4_K"},
       {Part::kAttentionOutput, Layers::kAll, "IQ3_S"}}}},
    {"IQ3_S",
     26,
     "IQ3_S",
     {{{Part::kOutput, Layers::kAll, "Q6_K"}, {Part::kValues, Layers::kIfFewKeyHeads, "Q4_K"}}}},
    {"TQ1_0",
     36,
     "TQ1_0",
     {{{Part::kOutput, Layers::kAll, "Q6_K"}, {Part::kEmbedding, Layers::kAll, "Q4_K"}}}},
    {"TQ2_0",
     37,
     "TQ2_0",
     {{{Part::kOutput, Layers::kAll, "Q6_K"}, {Part::kEmbedding, Layers::kAll, "Q4_K"}}}},
    {"NVFP4", 39, "NVFP4", {{{Part::kOutput, Layers::kAll, "Q6_K"}}}},
    {"MXFP4", 38, "Q8_0", {{{Part::kExperts, Layers::kAll, "MXFP4"}}}},
};

constexpr std::array<std::string_view, 2> kShortNames[] = {
    {"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};

// For widths that are no multiple of 256.
constexpr std::array<std::string_view, 2> kNarrow[] = {
    {"Q2_K", "Q4_0"},      {"Q3_K", "Q4_0"},     {"Q4_K", "Q5_0"},    {"Q5_K", "Q5_1"},
    {"Q6_K", "Q8_0"},      {"IQ4_XS", "IQ4_NL"}, {"IQ1_S", "IQ4_NL"}, {"IQ1_M", "IQ4_NL"},
    {"IQ2_XXS", "IQ4_NL"}, {"IQ2_XS", "IQ4_NL"}, {"IQ2_S", "IQ4_NL"}, {"IQ3_XXS", "IQ4_NL"},
    {"IQ3_S", "IQ4_NL"},   {"TQ1_0", "Q4_0"},    {"TQ2_0", "Q4_0"},   {"NVFP4", "MXFP4"}};

constexpr int64_t kFewExperts = 8;
constexpr int64_t kManyLayers = 80;
constexpr int64_t kManyQueryHeads = 4;  // per key head

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

Part part_of(const weights::TensorRecord& tensor, const nn::ModelSpec& spec) {
  const std::string_view name = tensor.name;
  if (name == "lm_head.weight" || name == "head.weight") return Part::kOutput;
  if (name == "model.embed_tokens.weight" || name == "embed.weight") {
    return spec.tie_word_embeddings ? Part::kOutput : Part::kEmbedding;
  }
  if (name.ends_with("v_proj.weight")) return Part::kValues;
  if (name.ends_with("k_proj.weight")) return Part::kKeys;
  if (name.ends_with("o_proj.weight")) return Part::kAttentionOutput;
  if (name.ends_with("down_proj.weight") || name.ends_with(".w2.weight")) return Part::kDown;
  return Part::kOther;
}

int64_t query_heads_per_key_head(const nn::ModelSpec& spec) {
  return spec.attention == nn::AttentionKind::kGqa
             ? spec.num_attention_heads / spec.num_key_value_heads
             : spec.num_attention_heads;
}

bool applies(Layers layers, int64_t layer, const nn::ModelSpec& spec) {
  const int64_t count = spec.num_hidden_layers;
  const int64_t eighth = count / 8;
  switch (layers) {
    case Layers::kAll: return true;
    case Layers::kSpread:
      return layer < eighth || layer >= 7 * count / 8 || (layer - eighth) % 3 == 2;
    case Layers::kFirstTwo: return layer < 2;
    case Layers::kFirstFour: return layer < 4;
    case Layers::kFirstEighth: return layer < eighth;
    case Layers::kFirstSixteenth: return layer < count / 16;
    case Layers::kIfFewKeyHeads: return query_heads_per_key_head(spec) >= kManyQueryHeads;
  }
  return false;
}

bool is_plain(std::string_view format) {
  return format == "F32" || format == "F16" || format == "BF16";
}

}  // namespace

std::string_view QuantMix::wanted(const weights::TensorRecord& tensor,
                                  const nn::ModelSpec& spec) const {
  const std::string_view base = entry_->base;
  if (is_plain(base) || pure_) return base;
  const Part part = part_of(tensor, spec);
  const bool expert = tensor.role == weights::TensorRole::kExpert;
  // Beside eight large experts the attention is so small that it is kept better.
  const bool blocks = base != "Q8_0" && base != "Q5_K" && base != "Q6_K";
  if (spec.moe.num_experts == kFewExperts && blocks) {
    if (part == Part::kValues || part == Part::kKeys) return "Q8_0";
    if (part == Part::kAttentionOutput) return "Q5_K";
  }
  if (part == Part::kValues && spec.num_hidden_layers == kManyLayers &&
      query_heads_per_key_head(spec) > 1 && (base == "Q3_K" || base == "Q4_K")) {
    return "Q5_K";
  }
  for (const Better& better : entry_->better) {
    const bool meant = better.part == part || (better.part == Part::kExperts && expert);
    if (better.format.empty()) break;
    if (meant && applies(better.layers, std::max<int64_t>(layer_of(tensor.name), 0), spec))
      return better.format;
  }
  return base;
}

const quant::StorageFormat& QuantMix::format_of(const weights::TensorRecord& tensor,
                                                const nn::ModelSpec& spec) const {
  using weights::TensorRole;
  const bool small = tensor.role == TensorRole::kNorm || tensor.role == TensorRole::kBias ||
                     tensor.role == TensorRole::kRouter || tensor.role == TensorRole::kTable;
  if (tensor.role == TensorRole::kIndices) return *quant::find_format("I32");
  const std::string_view name = small ? "F32" : wanted(tensor, spec);
  const quant::StorageFormat* format = quant::find_format(name);
  CHECK(format != nullptr);
  const int64_t width = tensor.shape.back();
  for (const auto& [wide, narrow] : kNarrow) {
    if (format->name == wide && width % format->block_elements != 0) {
      format = quant::find_format(narrow);
    }
  }
  if (width % format->block_elements != 0) format = quant::find_format("F16");
  return *format;
}

Result<QuantMix> QuantMix::find(std::string_view name, bool pure) {
  for (const auto& [short_name, full] : kShortNames) {
    if (same_name(name, short_name)) name = full;
  }
  for (const MixEntry& entry : kMixes) {
    if (same_name(entry.name, name)) return QuantMix(&entry, pure);
  }
  return invalid_input("--quant: {} is not known for GGUF; known are {}", quote_name(name),
                       quant_mix_names());
}

std::string_view QuantMix::name() const { return entry_->name; }
uint32_t QuantMix::gguf_file_type() const { return entry_->file_type; }

int64_t layer_of(std::string_view tensor_name) {
  constexpr std::string_view kModel = "model.", kLayers = "layers.";
  if (tensor_name.starts_with(kModel)) tensor_name.remove_prefix(kModel.size());
  if (!tensor_name.starts_with(kLayers)) return -1;
  tensor_name.remove_prefix(kLayers.size());
  int64_t layer = -1;
  std::from_chars(tensor_name.data(), tensor_name.data() + tensor_name.size(), layer);
  return layer;
}

std::string quant_mix_names() {
  std::string names;
  for (const MixEntry& entry : kMixes) {
    names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  return names;
}

}  // namespace ferry::cmd
