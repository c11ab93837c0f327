// libopapi.so, emulated: aclnnFusedInferAttentionScore with one query per sequence over pages, and
// what its documentation asks for. Scores and sums in f32, probabilities rounded to the dtype.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "vendor/ascend/emulated_acl.h"

namespace emulated {
namespace {

struct Attention {
  const AclTensor* query;
  const AclTensorList *key, *value;
  std::vector<const void*> absent;
  const AclIntArray* lengths;
  const AclTensor* table;
  const AclTensor *query_rope, *key_rope;
  int64_t heads;
  double scale;
  std::vector<int64_t> zeros;  // modes of what is absent
  const char* layout;
  int64_t kv_heads, block;
  const AclTensor* out;
};

struct Views {
  Tensor q, k, v, table, q_rope, k_rope, out;
  std::vector<int64_t> lengths;
  int64_t heads, kv_heads, block;
  float scale;
  bool wrong;
};

float rounded(const Tensor& like, float value) {
  return like.dtype == kAclFloat16 ? from_half(to_half(value)) : from_bfloat(to_bfloat(value));
}

// One query of one head.
int attend(const Views& a, int64_t i, int64_t h) {
  const int64_t size = a.q.sizes[3], head = h / (a.heads / a.kv_heads);
  const int64_t rope = a.q_rope.data == nullptr ? 0 : a.q_rope.sizes[3];
  std::vector<float> scores;
  std::vector<int64_t> rows;
  for (int64_t s = 0; s < a.lengths[i]; ++s) {
    const int64_t page = a.table.integer(i * a.table.sizes[1] + s / a.block);
    if (page < 0 || page >= a.k.sizes[0]) return kRtAicoreException;
    rows.push_back(page * a.block + s % a.block);
    float dot = 0;
    for (int64_t d = 0; d < size; ++d) {
      dot += a.q.load((i * a.heads + h) * size + d) *
             a.k.load((rows.back() * a.kv_heads + head) * size + d);
    }
    for (int64_t d = 0; d < rope; ++d) {
      dot += a.q_rope.load((i * a.heads + h) * rope + d) * a.k_rope.load(rows.back() * rope + d);
    }
    scores.push_back(dot * a.scale);
  }
  const float largest = scores.empty() ? 0 : *std::max_element(scores.begin(), scores.end());
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - largest);
  for (int64_t d = 0; d < size; ++d) {
    float result = 0;
    for (size_t s = 0; s < rows.size(); ++s) {
      result += rounded(a.q, scores[s]) * a.v.load((rows[s] * a.kv_heads + head) * size + d);
    }
    a.out.store((i * a.heads + h) * size + d, a.wrong ? result : result / sum);
  }
  return 0;
}

// What holds with latents, and without.
bool latents_fit(const Views& a) {
  const int64_t size = a.q.sizes[3];
  const bool both = a.q_rope.data != nullptr && a.k_rope.data != nullptr;
  if (size != 512) return a.q_rope.data == nullptr && a.k_rope.data == nullptr;
  if (!both) return true;
  return a.kv_heads == 1 && (a.heads & (a.heads - 1)) == 0 && a.heads <= 128 &&
         a.q_rope.sizes == std::vector<int64_t>{a.q.sizes[0], 1, a.heads, 64} &&
         a.k_rope.sizes == std::vector<int64_t>{a.k.sizes[0], a.block, 64} &&
         a.q_rope.is_contiguous() && a.k_rope.is_contiguous() && a.q_rope.dtype == a.q.dtype &&
         a.k_rope.dtype == a.k.dtype;
}

void check_pages(Call& call, const Views& a) {
  const int64_t size = a.q.sizes[3], width = a.kv_heads * size;
  const std::vector<int64_t> pages{a.k.sizes[0], a.block, width};
  call.require(a.k.sizes == pages && a.v.sizes == pages && a.k.is_contiguous() &&
               a.v.is_contiguous() && a.k.dtype == a.q.dtype && a.v.dtype == a.q.dtype);
  call.require(a.block > 0 && a.block <= 512 && a.block % 16 == 0 && width <= 65535);
  call.require(a.table.dtype == kAclInt32 && a.table.is_contiguous() && a.table.sizes.size() == 2 &&
               a.table.sizes[0] == a.q.sizes[0]);
  call.require(static_cast<int64_t>(a.lengths.size()) == a.q.sizes[0]);
  for (size_t i = 0; call.ok() && i < a.lengths.size(); ++i) {
    call.require(a.lengths[i] >= 0 && a.lengths[i] <= a.table.sizes[1] * a.block);
  }
}

int fused(Call& call, const Attention& args, uint64_t* workspace, AclExecutor** executor) {
  for (const void* input : args.absent) call.require(input == nullptr);
  for (const int64_t mode : args.zeros) call.require(mode == 0);
  call.require(args.key != nullptr && args.value != nullptr && args.lengths != nullptr &&
                   args.table != nullptr && args.layout != nullptr,
               kAclnnParamNullptr);
  if (call.ok()) {
    call.require(std::string_view(args.layout) == "BSND" && args.key->tensors.size() == 1 &&
                 args.value->tensors.size() == 1);
  }
  if (!call.ok()) return call.make(nullptr, workspace, executor);
  const auto optional = [&](const AclTensor* x) {
    return x == nullptr ? Tensor{} : call.tensor(x);
  };
  const Views a{.q = call.tensor(args.query),
                .k = call.tensor(args.key->tensors[0]),
                .v = call.tensor(args.value->tensors[0]),
                .table = call.tensor(args.table),
                .q_rope = optional(args.query_rope),
                .k_rope = optional(args.key_rope),
                .out = call.tensor(args.out),
                .lengths = args.lengths->values,
                .heads = args.heads,
                .kv_heads = args.kv_heads,
                .block = args.block,
                .scale = static_cast<float>(args.scale),
                .wrong = call.wrong()};
  call.require(call.ok() && (a.q.dtype == kAclFloat16 || a.q.dtype == kAclBf16) &&
               a.q.is_contiguous() && a.out.is_contiguous() && a.out.dtype == a.q.dtype &&
               same_sizes(a.q, a.out) && a.q.sizes.size() == 4 && a.q.sizes[1] == 1 &&
               a.q.sizes[2] == a.heads);
  if (!call.ok()) return call.make(nullptr, workspace, executor);
  call.require(a.q.sizes[3] % 16 == 0 && a.q.sizes[3] <= 512 && a.q.sizes[0] <= 65536);
  call.require(a.heads <= 256 && a.kv_heads >= 1 && a.heads % a.kv_heads == 0 &&
               a.heads / a.kv_heads <= 64);
  if (call.ok()) check_pages(call, a);
  call.require(call.ok() && latents_fit(a));
  return call.make(
      [a] {
        for (int64_t i = 0; i < a.q.sizes[0] * a.heads; ++i) {
          if (const int status = attend(a, i / a.heads, i % a.heads); status != 0) return status;
        }
        return 0;
      },
      workspace, executor);
}

}  // namespace
}  // namespace emulated

using emulated::Call;

// Arguments that all versions have, and how they are handed on.
#define FERRY_INPUTS                                                                          \
  const AclTensor *query, const AclTensorList *key, const AclTensorList *value,               \
      const AclTensor *pse, const AclTensor *mask, const AclIntArray *query_lengths,          \
      const AclIntArray *lengths, const AclTensor *deq1, const AclTensor *quant1,             \
      const AclTensor *deq2, const AclTensor *quant2, const AclTensor *offset2,               \
      const AclTensor *anti, const AclTensor *anti_offset, const AclTensor *table,            \
      const AclTensor *query_padding, const AclTensor *kv_padding, const AclTensor *key_anti, \
      const AclTensor *key_anti_offset, const AclTensor *value_anti,                          \
      const AclTensor *value_anti_offset, const AclTensor *key_prefix,                        \
      const AclTensor *value_prefix, const AclIntArray *prefix_lengths
#define FERRY_ATTRIBUTES                                                                         \
  int64_t heads, double scale, int64_t, int64_t, char *layout, int64_t kv_heads, int64_t sparse, \
      int64_t precise, int64_t block, int64_t anti_mode, bool sums, int64_t key_mode,            \
      int64_t value_mode
#define FERRY_FUSED(rope_of_query, rope_of_key, query_mode, ...)                                  \
  emulated::fused(call,                                                                           \
                  {.query = query,                                                                \
                   .key = key,                                                                    \
                   .value = value,                                                                \
                   .absent = {pse,                                                                \
                              mask,                                                               \
                              query_lengths,                                                      \
                              deq1,                                                               \
                              quant1,                                                             \
                              deq2,                                                               \
                              quant2,                                                             \
                              offset2,                                                            \
                              anti,                                                               \
                              anti_offset,                                                        \
                              query_padding,                                                      \
                              kv_padding,                                                         \
                              key_anti,                                                           \
                              key_anti_offset,                                                    \
                              value_anti,                                                         \
                              value_anti_offset,                                                  \
                              key_prefix,                                                         \
                              value_prefix,                                                       \
                              prefix_lengths,                                                     \
                              out_sums,                                                           \
                              __VA_ARGS__},                                                       \
                   .lengths = lengths,                                                            \
                   .table = table,                                                                \
                   .query_rope = rope_of_query,                                                   \
                   .key_rope = rope_of_key,                                                       \
                   .heads = heads,                                                                \
                   .scale = scale,                                                                \
                   .zeros = {sparse, precise, anti_mode, sums, key_mode, value_mode, query_mode}, \
                   .layout = layout,                                                              \
                   .kv_heads = kv_heads,                                                          \
                   .block = block,                                                                \
                   .out = out},                                                                   \
                  workspace, executor)

extern "C" {

int aclnnFusedInferAttentionScoreV2GetWorkspaceSize(FERRY_INPUTS, FERRY_ATTRIBUTES,
                                                    const AclTensor* out, const AclTensor* out_sums,
                                                    uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnFusedInferAttentionScoreV2");
  return FERRY_FUSED(nullptr, nullptr, 0, nullptr);
}
int aclnnFusedInferAttentionScoreV3GetWorkspaceSize(FERRY_INPUTS, const AclTensor* query_rope,
                                                    const AclTensor* key_rope,
                                                    const AclTensor* key_rope_scale,
                                                    FERRY_ATTRIBUTES, const AclTensor* out,
                                                    const AclTensor* out_sums, uint64_t* workspace,
                                                    AclExecutor** executor) {
  Call call("aclnnFusedInferAttentionScoreV3");
  return FERRY_FUSED(query_rope, key_rope, 0, key_rope_scale);
}
int aclnnFusedInferAttentionScoreV4GetWorkspaceSize(
    FERRY_INPUTS, const AclTensor* query_rope, const AclTensor* key_rope,
    const AclTensor* key_rope_scale, const AclTensor* query_scale, const AclTensor* sink,
    FERRY_ATTRIBUTES, int64_t query_mode, const AclTensor* out, const AclTensor* out_sums,
    uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnFusedInferAttentionScoreV4");
  return FERRY_FUSED(query_rope, key_rope, query_mode, key_rope_scale, query_scale, sink);
}

}  // extern "C"
