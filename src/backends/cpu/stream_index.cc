// The lightning indexer of DeepSeek-V3.2: scores of all cached positions, and the choice among
// them.
//
// A score is one chain, q · k by the order of key_scores(), heads ascending; which task computes it
// is no matter. Tasks are (token, range of kRangeKeys positions).
//
// Scratch per thread, in floats: 64 · (H + 1 + d) for the scores.
#include <algorithm>
#include <limits>

#include "backends/cpu/paged_rows.h"

namespace ferry::cpu {
namespace {

constexpr int64_t kRangeKeys = 512;
constexpr float kNever = -std::numeric_limits<float>::infinity();

struct ScoreTask {
  int64_t sequence, row, begin, end;
};

struct ScoreScratch {
  float *keys, *products, *sums;  // [kKeyTile, d], [H, kKeyTile], [kKeyTile]
  int64_t floats;

  ScoreScratch(float* data, int64_t heads, int64_t size) {
    ScratchCutter cut(data);
    keys = cut.take(kKeyTile * size);
    products = cut.take(heads * kKeyTile);
    sums = cut.take(kKeyTile);
    floats = cut.used();
  }
};

void score_range(const Kernels& kernels, const IndexScoresArgs& args, const ScoreTask& task,
                 const ScoreScratch& scratch) {
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  const PagedRows pages(kernels, args.pages, *args.batch, task.sequence, 0, size, size);
  const float* weights = row_of(args.weights, task.row);
  TileRows keys;
  for (int64_t key = task.begin; key < task.end; key += kKeyTile) {
    const int64_t count = std::min(kKeyTile, task.end - key);
    pages.load(key, count, scratch.keys, keys);
    kernels.key_scores({.rows = heads,
                        .num_keys = count,
                        .size = size,
                        .q = row_of(args.q, task.row, 0),
                        .q_stride = args.q.stride[1],
                        .keys = keys.data(),
                        .scores = scratch.products,
                        .next = {}});
    std::fill_n(scratch.sums, count, 0.0f);
    for (int64_t h = 0; h < heads; ++h) {
      const float* products = scratch.products + h * kKeyTile;
      for (int64_t j = 0; j < count; ++j) {
        scratch.sums[j] += weights[h] * (products[j] > 0.0f ? products[j] : 0.0f);
      }
    }
    std::copy_n(scratch.sums, count, row_of(args.out, task.row) + key);
  }
}

}  // namespace

void CpuStream::index_scores(const IndexScoresArgs& args) {
  const BatchView& batch = *args.batch;
  check_view(args.q, Dtype::kF32, 3);
  check_view(args.weights, Dtype::kF32, 2);
  check_view(args.out, Dtype::kF32, 2);
  check_view(args.pages, args.pages.dtype, 3);
  const int64_t heads = args.q.shape[1];
  const int64_t size = args.q.shape[2];
  const int64_t end = args.first_token + args.q.shape[0];
  CHECK(is_cache_dtype(args.pages.dtype) && args.pages.shape[2] == size);
  CHECK(args.weights.shape[0] == args.q.shape[0] && args.weights.shape[1] == heads);
  CHECK(args.out.shape[0] == args.q.shape[0] && end <= batch.num_tokens);
  std::vector<ScoreTask> tasks;
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const Tokens tokens(batch, s);
    for (int64_t t = std::max(tokens.first, args.first_token); t < std::min(tokens.last, end);
         ++t) {
      const int64_t row = t - args.first_token;
      const int64_t num_keys = tokens.num_keys(t);
      CHECK(num_keys <= args.out.shape[1]);
      float* out = row_of(args.out, row);
      std::fill(out + num_keys, out + args.out.shape[1], kNever);
      for (int64_t key = 0; key < num_keys; key += kRangeKeys) {
        tasks.push_back({s, row, key, std::min(key + kRangeKeys, num_keys)});
      }
    }
  }
  scratch_.reserve(ScoreScratch(nullptr, heads, size).floats);
  parallel(static_cast<int64_t>(tasks.size()), kRangeKeys * heads * size / 8,
           [&](int64_t begin, int64_t last, int thread) {
             const ScoreScratch scratch(scratch_.of(thread), heads, size);
             for (int64_t i = begin; i < last; ++i) {
               score_range(kernels_, args, tasks[static_cast<size_t>(i)], scratch);
             }
           });
}

void CpuStream::index_top_k(const IndexTopKArgs& args) {
  check_view(args.scores, Dtype::kF32, 2);
  check_view(args.out, Dtype::kI32, 2);
  CHECK(args.scores.shape[0] == args.out.shape[0]);
  const int64_t columns = args.scores.shape[1];
  const int64_t top_k = args.out.shape[1];
  parallel(args.scores.shape[0], 8 * columns, [&](int64_t begin, int64_t end, int) {
    std::vector<int32_t> order;
    for (int64_t r = begin; r < end; ++r) {
      const float* scores = row_of(args.scores, r);
      order.clear();
      for (int64_t s = 0; s < columns; ++s) {
        if (scores[s] > kNever) order.push_back(static_cast<int32_t>(s));
      }
      int64_t count = static_cast<int64_t>(order.size());
      if (count > top_k) {
        // A total order, so that the set is one whatever the algorithm does.
        std::nth_element(order.begin(), order.begin() + top_k, order.end(),
                         [scores](int32_t a, int32_t b) {
                           return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
                         });
        count = top_k;
        std::sort(order.begin(), order.begin() + top_k);
      }
      int32_t* out = row_of<int32_t>(args.out, r);
      std::copy_n(order.begin(), count, out);
      std::fill(out + count, out + top_k, -1);
    }
  });
}

}  // namespace ferry::cpu
