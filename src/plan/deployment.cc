// See deployment.h.
#include "plan/deployment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/quote_name.h"
#include "nn/memory_plan.h"
#include "quant/storage_format.h"

namespace ferry::plan {
namespace {

constexpr double kFp8Scale = 4.0 / (128 * 128);  // one f32 for 128 × 128 weights
constexpr double kGb = 1e9;
constexpr const char* kGgufHead = "Q6_K";
constexpr int64_t kPageTokens = 16;  // of the cache, the engine's default

double bytes_of(std::string_view format) {
  const quant::StorageFormat* found = quant::find_format(format);
  return static_cast<double>(found->block_bytes) / static_cast<double>(found->block_elements);
}

Precision with_formats(std::string_view name, std::string_view other, double other_bytes,
                       std::string_view expert, double expert_bytes, Compute other_compute,
                       Compute expert_compute) {
  return {.name = std::string(name),
          .other_format = std::string(other),
          .expert_format = std::string(expert),
          .other_bytes = other_bytes,
          .expert_bytes = expert_bytes,
          .other_compute = other_compute,
          .expert_compute = expert_compute};
}

Compute compute_of(const quant::StorageFormat* format) {
  if (format == nullptr) return Compute::kBf16;
  if (format->name == "F8_E4M3") return Compute::kFp8;
  return format->name == "MXFP4" || format->name == "NVFP4" ? Compute::kFp4 : Compute::kBf16;
}

Status fill_precision(std::string_view name, Precision& out) {
  const double fp8 = bytes_of("F8_E4M3") + kFp8Scale;
  const double mxfp8 = bytes_of("F8_E4M3") + bytes_of("F8_E8M0") / 32;
  Precision known[] = {
      {.name = "bf16"},
      with_formats("fp8", "F8_E4M3", fp8, "F8_E4M3", fp8, Compute::kFp8, Compute::kFp8),
      with_formats("mxfp8", "F8_E4M3", mxfp8, "F8_E4M3", mxfp8, Compute::kMxFp8, Compute::kMxFp8),
      with_formats("int8", "I8", 1, "I8", 1, Compute::kInt8, Compute::kInt8),
      with_formats("fp4", "F8_E4M3", fp8, "NVFP4", bytes_of("NVFP4"), Compute::kFp8, Compute::kFp4),
      with_formats("mxfp4", "F8_E4M3", mxfp8, "MXFP4", bytes_of("MXFP4"), Compute::kMxFp8,
                   Compute::kFp4),
      with_formats("int4", "BF16", 2, "INT4", bytes_of("INT4"), Compute::kBf16, Compute::kBf16),
  };
  for (Precision& precision : known) {
    if (!same_name(name, precision.name)) continue;
    out = std::move(precision);
    return {};
  }
  if (const size_t plus = name.find('+'); plus != std::string_view::npos) {
    Precision experts;
    FERRY_TRY_VOID(fill_precision(name.substr(0, plus), out));
    FERRY_TRY_VOID(fill_precision(name.substr(plus + 1), experts));
    out.name += "+" + experts.name;
    out.expert_bytes = experts.expert_bytes;
    out.expert_format = experts.expert_format;
    out.expert_compute = experts.expert_compute;
    return {};
  }
  const quant::StorageFormat* format = quant::find_format(name);
  if (format == nullptr || format->decode == nullptr || format->block_bytes == 0) {
    return not_found("precision {}: not known{}", quote_name(name, 40),
                     nearest_names(name, {"bf16", "fp8", "mxfp8", "int8", "fp4", "mxfp4", "int4",
                                          "Q8_0", "Q4_0", "Q4_K", "Q6_K"}));
  }
  const double bytes = bytes_of(name), head = bytes_of(kGgufHead);
  const std::string own(format->name);
  out = with_formats(own, own, bytes, own, bytes, Compute::kBf16, Compute::kBf16);
  out.head_bytes = std::max(bytes, head);
  out.head_format = bytes < head ? kGgufHead : own;
  out.embedding_bytes = bytes;
  return {};
}

// What stands for a cache in FP8, which the engine does not have.
constexpr Dtype kInsteadOfFp8 = Dtype::kI8;

// Bytes of the engine's own scratch for a step, from its dry run.
double workspace_bytes(const Deployment& deployment, const MemoryOptions& options) {
  const PlanModel& model = *deployment.model;
  const nn::PlanLimits limits{
      .batch = {.max_tokens = options.step_tokens,
                .max_sequences = 1,
                .max_context = std::max<int64_t>(options.step_tokens, 16),
                .block_size = kPageTokens},
      .cache = {.dtype = deployment.precision.kv_dtype.value_or(kInsteadOfFp8),
                .block_size = kPageTokens,
                .num_pages = 1}};
  const nn::MemoryPlan plan = nn::plan_memory(*model.measured, 0, limits);
  return static_cast<double>(plan.workspace_bytes + plan.logits_bytes + plan.index_bytes) /
         static_cast<double>(deployment.tp) * deployment.weight_copies();
}

// What the engine allocates, scales of int8 included.
double kv_bytes_per_token(const PlanModel& model, const Precision& precision) {
  if (!precision.kv_dtype) return model.kv_elements_per_token() * precision.kv_bytes;
  return static_cast<double>(nn::kv_bytes_per_token(model.measured->kv_layout(), PageKind::kAll,
                                                    *precision.kv_dtype, kPageTokens));
}

// What a sequence has whatever its length: pages of the tokens that windows look back on.
double kv_bytes_per_sequence(const PlanModel& model, const Precision& precision) {
  const nn::KvLayout& layout = model.measured->kv_layout();
  const nn::BatchLimits one{.max_sequences = 1, .block_size = kPageTokens};
  const int64_t pages = nn::num_recent_pages(layout, one, std::numeric_limits<int64_t>::max());
  return static_cast<double>(pages * kPageTokens *
                             nn::kv_bytes_per_token(layout, PageKind::kRecent,
                                                    precision.kv_dtype.value_or(kInsteadOfFp8),
                                                    kPageTokens));
}

}  // namespace

Result<Precision> find_precision(std::string_view name, std::string_view kv) {
  Precision precision;
  FERRY_TRY_VOID(fill_precision(name, precision));
  if (same_name(kv, "fp8")) {
    precision.kv_dtype.reset();
    precision.kv_bytes = 1;
    return precision;
  }
  for (const Dtype dtype : {Dtype::kBF16, Dtype::kF16, Dtype::kF32, Dtype::kI8}) {
    if (!same_name(kv, dtype == Dtype::kI8 ? "int8" : dtype_name(dtype))) continue;
    precision.kv_dtype = dtype;
    precision.kv_bytes = static_cast<double>(dtype_bytes(dtype));
    return precision;
  }
  return invalid_input("KV dtype {}: expected bf16, f16, fp8, int8 or f32", quote_name(kv, 40));
}

Result<Precision> precision_for(const PlanModel& model, std::string_view name,
                                std::string_view kv) {
  if (!same_name(name, kFilePrecision)) return find_precision(name, kv);
  if (!model.stored) return invalid_input("precision \"file\": {} is not on disk", model.name);
  FERRY_TRY(Precision out, find_precision("bf16", kv));
  const StoredWeights& stored = *model.stored;
  const auto share = [](double bytes, double parameters) {
    return parameters > 0 ? bytes / parameters : 0;
  };
  const auto format = [](const quant::StorageFormat* known) {
    return std::string(known != nullptr ? known->name : "BF16");
  };
  out.name = kFilePrecision;
  out.other_format = format(stored.other_format);
  out.expert_format = format(stored.expert_format);
  out.head_format = format(stored.head_format);
  out.other_compute = compute_of(stored.other_format);
  out.expert_compute = compute_of(stored.expert_format);
  out.other_bytes = share(stored.other - stored.unread, model.other_parameters);
  out.unread_bytes = stored.unread;
  const double experts = static_cast<double>(model.moe_layers * model.num_experts);
  out.expert_bytes = share(stored.experts, experts * model.expert_parameters);
  out.head_bytes = share(stored.head, model.head_parameters);
  out.embedding_bytes = share(stored.embedding, model.embedding_parameters);
  return out;
}

double Deployment::kv_share() const {
  if (ranks() == 1) return 1;
  const int64_t cut = std::min(ranks(), std::max<int64_t>(model->kv_heads, 1));
  return static_cast<double>(chip->devices) / static_cast<double>(cut);
}

Status check_deployment(const Deployment& d) {
  const PlanModel& model = *d.model;
  constexpr int64_t kMax = 1 << 20;
  for (int64_t degree : {d.tp, d.ep, d.dp, d.pp}) {
    if (degree < 1 || degree > kMax) {
      return invalid_input("split tp={} ep={} dp={} pp={}: each must be 1 to {}", d.tp, d.ep, d.dp,
                           d.pp, kMax);
    }
  }
  if (d.ranks() > model.attention_heads || model.attention_heads % d.ranks() != 0) {
    return invalid_input("tp={}: does not divide the {} attention heads of {}", d.ranks(),
                         model.attention_heads, model.name);
  }
  if (d.ep > 1 && model.num_experts == 0) {
    return invalid_input("ep={}: {} has no experts", d.ep, model.name);
  }
  if (d.ep > 1 && (d.tp * d.dp) % d.ep != 0) {
    return invalid_input("ep={}: does not divide tp · dp = {}", d.ep, d.tp * d.dp);
  }
  if (d.pp > model.num_layers) {
    return invalid_input("pp={}: {} has {} layers", d.pp, model.name, model.num_layers);
  }
  if (d.mtp < 0 || d.mtp > 16 || d.accepted < 0 || d.accepted > static_cast<double>(d.mtp)) {
    return invalid_input("mtp={} with {} accepted: expected 0 to 16 drafted, no more accepted",
                         d.mtp, d.accepted);
  }
  return {};
}

int64_t MemoryUse::max_sequences(double context, int64_t dp) const {
  const double each = kv_per_token * context + kv_per_sequence;
  if (free_for_kv() <= 0) return 0;
  if (each <= 0) return int64_t{1} << 40;
  return static_cast<int64_t>(std::min(free_for_kv() / each, 1e9)) * dp;
}

Result<MemoryUse> memory_of(const Deployment& d, const MemoryOptions& options) {
  if (!d.chip->memory_gb) {
    return unsupported("chip {}: its memory size is not known", d.chip->name);
  }
  const PlanModel& model = *d.model;
  const auto stages = static_cast<double>(d.pp);
  // The longest stage of uneven ones.
  const double share = std::ceil(static_cast<double>(model.num_layers) / stages) /
                       static_cast<double>(model.num_layers);
  const auto tp = static_cast<double>(d.tp);
  MemoryUse use;
  use.total = d.chip->memory_gb->value * kGb;
  use.reserve = use.total * options.reserve_fraction;
  use.expert_weights = static_cast<double>(model.moe_layers * model.num_experts) *
                       model.expert_parameters * d.precision.expert_bytes * share /
                       static_cast<double>(d.tp * d.dp);
  const double copies = d.weight_copies() / tp;
  use.other_weights =
      (model.other_parameters * d.precision.other_bytes + d.precision.unread_bytes) * share *
      copies;
  // The input table and the head lie on the first and the last stage.
  const double input = model.embedding_parameters * d.precision.embedding_bytes;
  const double head = model.head_parameters * d.precision.head_bytes;
  use.embeddings = (d.pp > 1 ? std::max(input, head) : input + head) * copies;
  use.workspace = workspace_bytes(d, options);
  use.kv_per_token = kv_bytes_per_token(model, d.precision) * share * d.kv_share();
  use.kv_per_sequence = kv_bytes_per_sequence(model, d.precision) * share * d.kv_share();
  return use;
}

}  // namespace ferry::plan
