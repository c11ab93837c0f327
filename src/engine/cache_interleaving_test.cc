// What a model keeps of a sequence is a matter of its pages alone: any interleaving of appending,
// taking tokens back, sharing full pages and throwing sequences out gives the logits of a fresh
// run, bit for bit on cpu. Windows, compressors and indexers are what could forget themselves;
// pages of recent tokens are let go as soon as nothing looks back on them, and hold no number then.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "engine/testing.h"
#include "nn/batch_memory.h"
#include "nn/memory_plan.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

constexpr int64_t kPages = 64;
constexpr int64_t kRecentPages = 60;
constexpr int64_t kMostTokens = 90;  // of one sequence
constexpr int64_t kMostAppended = 20;
constexpr size_t kMostSequences = 4;

struct Sequence {
  std::vector<int32_t> tokens;
  std::vector<int32_t> pages;
  std::vector<int32_t> recent;  // pages of recent tokens
  int64_t num_behind = 0;       // of these, let go
};

// Sequences over one cache, and what is done to them.
class Cache {
 public:
  Cache(const LoadedModel& model, Dtype dtype, int64_t block_size, uint64_t seed)
      : model_(model),
        dtype_(dtype),
        block_size_(block_size),
        recent_tokens_(model.model->kv_layout().recent_tokens()),
        random_(seed),
        users_(kPages, 0),
        recent_users_(recent_tokens_ > 0 ? kRecentPages : 0, 0) {
    nn::PlanLimits limits;
    limits.batch = {.max_tokens = kMostAppended * kMostSequences,
                    .max_sequences = kMostSequences,
                    .max_context = kMostTokens,
                    .block_size = block_size,
                    .recent_pages = recent_tokens_ > 0};
    limits.cache = {.dtype = dtype,
                    .block_size = block_size,
                    .num_pages = kPages,
                    .num_recent_pages = recent_tokens_ > 0 ? kRecentPages : 0};
    limits.max_logit_rows = limits.batch.max_tokens;
    Backend& backend = *model.backend;
    const nn::MemoryPlan plan = nn::plan_memory(*model.model, model.weights_bytes, limits);
    cache_ = nn::KvCache::allocate(backend, model.model->kv_layout(), limits.cache).value();
    workspace_ = backend.allocate(plan.workspace_bytes).value();
    logits_ = backend.allocate(plan.logits_bytes).value();
    batch_memory_ = nn::BatchMemory::allocate(backend, limits.batch).value();
    stream_ = backend.create_stream().value();
    // Pages that nobody wrote hold what is no number.
    const int64_t bytes = nn::kv_cache_bytes(model.model->kv_layout(), limits.cache);
    std::memset(cache_.plane(0).data, 0xff, static_cast<size_t>(bytes));
  }

  void step() {
    const uint64_t kind = random_() % 10;
    if (sequences_.empty() || kind < 5) {
      append();
    } else if (kind < 7) {
      roll_back();
    } else if (kind < 9) {
      share();
    } else {
      evict(random_() % sequences_.size());
    }
  }

  int64_t num_compared() const { return num_compared_; }
  int64_t num_let_go() const { return num_let_go_; }

 private:
  int64_t below(int64_t bound) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound));
  }
  static int64_t num_free(const std::vector<int>& users) {
    return std::count(users.begin(), users.end(), 0);
  }

  int32_t take_page(std::vector<int>& users) {
    std::vector<int32_t> free;
    for (size_t p = 0; p < users.size(); ++p) {
      if (users[p] == 0) free.push_back(static_cast<int32_t>(p));
    }
    const int32_t page = free[static_cast<size_t>(below(std::ssize(free)))];
    ++users[static_cast<size_t>(page)];
    return page;
  }

  void drop_pages(Sequence& sequence, size_t kept) {
    for (size_t i = kept; i < sequence.pages.size(); ++i) {
      --users_[static_cast<size_t>(sequence.pages[i])];
    }
    sequence.pages.resize(kept);
    if (recent_tokens_ == 0) return;
    while (sequence.recent.size() > kept) {
      if (std::ssize(sequence.recent) > sequence.num_behind) drop_recent(sequence.recent.back());
      sequence.recent.pop_back();
    }
    sequence.num_behind = std::min(sequence.num_behind, std::ssize(sequence.recent));
  }

  void drop_recent(int32_t page) {
    if (--recent_users_[static_cast<size_t>(page)] > 0) return;
    for (int64_t p = 0; p < std::ssize(model_.model->kv_layout().planes); ++p) {
      const TensorView plane = cache_.plane(p);
      if (cache_.pages(p) == PageKind::kAll) continue;
      const int64_t bytes = plane.stride[0] * dtype_bytes(plane.dtype);
      std::memset(static_cast<char*>(plane.data) + page * bytes, 0xff, static_cast<size_t>(bytes));
    }
  }

  // Blocks that a token behind so many looks back on no more.
  int64_t blocks_behind(int64_t tokens) const {
    return std::max<int64_t>(0, tokens + 1 - recent_tokens_) / block_size_;
  }

  void let_go(Sequence& sequence) {
    const int64_t behind = recent_tokens_ > 0 ? blocks_behind(std::ssize(sequence.tokens)) : 0;
    for (int64_t& block = sequence.num_behind; block < behind; ++block, ++num_let_go_) {
      drop_recent(sequence.recent[static_cast<size_t>(block)]);
    }
  }

  void evict(size_t index) {
    drop_pages(sequences_[index], 0);
    sequences_.erase(sequences_.begin() + static_cast<int64_t>(index));
  }

  // Leading pages that others read as well may not be written to again.
  void roll_back() {
    Sequence& sequence = sequences_[static_cast<size_t>(below(std::ssize(sequences_)))];
    int64_t shared = 0;
    for (size_t i = 0; i < sequence.pages.size(); ++i) {
      if (users_[static_cast<size_t>(sequence.pages[i])] > 1) {
        shared = static_cast<int64_t>(i + 1) * block_size_;
      }
    }
    const int64_t size = std::ssize(sequence.tokens);
    if (shared >= size) return;
    const int64_t kept = std::max<int64_t>(1, shared + below(size - shared));
    if (recent_tokens_ > 0 && blocks_behind(kept) < sequence.num_behind) return;
    sequence.tokens.resize(static_cast<size_t>(kept));
    drop_pages(sequence, static_cast<size_t>(ceil_div(kept, block_size_)));
  }

  void share() {
    if (sequences_.size() == kMostSequences) return;
    const Sequence& donor = sequences_[static_cast<size_t>(below(std::ssize(sequences_)))];
    const int64_t full = std::ssize(donor.tokens) / block_size_;
    if (full == 0) return;
    const int64_t blocks = 1 + below(full);
    Sequence sequence;
    sequence.tokens.assign(donor.tokens.begin(), donor.tokens.begin() + blocks * block_size_);
    sequence.pages.assign(donor.pages.begin(), donor.pages.begin() + blocks);
    if (recent_tokens_ > 0) {
      sequence.num_behind = blocks_behind(blocks * block_size_);
      if (sequence.num_behind < donor.num_behind) return;
      sequence.recent.assign(donor.recent.begin(), donor.recent.begin() + blocks);
      for (int64_t b = sequence.num_behind; b < blocks; ++b) {
        ++recent_users_[static_cast<size_t>(sequence.recent[static_cast<size_t>(b)])];
      }
    }
    for (const int32_t page : sequence.pages) ++users_[static_cast<size_t>(page)];
    sequences_.push_back(std::move(sequence));
  }

  // A few tokens behind some of the sequences, in one batch.
  void append() {
    if (sequences_.size() < kMostSequences && random_() % 2 == 0) sequences_.emplace_back();
    if (sequences_.empty()) sequences_.emplace_back();
    std::vector<size_t> chosen;
    std::vector<int64_t> before;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      Sequence& sequence = sequences_[s];
      const int64_t size = std::ssize(sequence.tokens);
      const int64_t count = std::min(1 + below(kMostAppended), kMostTokens - size);
      const int64_t pages = ceil_div(size + count, block_size_) - std::ssize(sequence.pages);
      const bool wanted = size == 0 || random_() % 2 == 0;
      if (!wanted || count == 0 || pages > num_free(users_)) continue;
      if (random_() % 2 == 0) let_go(sequence);
      if (recent_tokens_ > 0 && pages > num_free(recent_users_)) continue;
      for (int64_t i = 0; i < pages; ++i) {
        sequence.pages.push_back(take_page(users_));
        if (recent_tokens_ > 0) sequence.recent.push_back(take_page(recent_users_));
      }
      for (int64_t i = 0; i < count; ++i) {
        sequence.tokens.push_back(static_cast<int32_t>(below(model_.spec().vocab_size)));
      }
      chosen.push_back(s);
      before.push_back(size);
    }
    if (!chosen.empty()) compute(chosen, before);
    for (size_t s = sequences_.size(); s-- > 0;) {
      if (sequences_[s].tokens.empty()) evict(s);
    }
  }

  void compute(const std::vector<size_t>& chosen, const std::vector<int64_t>& before) {
    std::vector<nn::BatchInput> inputs;
    for (size_t i = 0; i < chosen.size(); ++i) {
      const Sequence& sequence = sequences_[chosen[i]];
      inputs.push_back(
          {.tokens = std::span(sequence.tokens).subspan(static_cast<size_t>(before[i])),
           .first_position = before[i],
           .pages = sequence.pages,
           .recent_pages = sequence.recent,
           .logits = nn::WantedLogits::kAll});
    }
    const BatchView& batch = batch_memory_.lay_out(*stream_, inputs);
    const int64_t vocab = model_.spec().vocab_size;
    Workspace workspace(workspace_.data, workspace_.bytes);
    model_.model->forward(
        {.stream = *stream_,
         .workspace = workspace,
         .batch = batch,
         .cache = cache_,
         .logits = TensorView::contiguous(logits_.data, Dtype::kF32, {batch.num_tokens, vocab}),
         .hidden = {},
         .mtp_state = {}});
    ASSERT_TRUE(stream_->synchronize().ok());
    const float* row = static_cast<const float*>(logits_.data);
    for (size_t i = 0; i < chosen.size(); ++i) {
      const Sequence& sequence = sequences_[chosen[i]];
      const std::vector<float> fresh =
          logits_of(model_, sequence.tokens, {.kv_dtype = dtype_, .block_size = block_size_});
      const int64_t count = std::ssize(sequence.tokens) - before[i];
      EXPECT_EQ(std::memcmp(row, fresh.data() + before[i] * vocab,
                            static_cast<size_t>(count * vocab) * sizeof(float)),
                0)
          << "tokens " << before[i] << " to " << sequence.tokens.size();
      row += count * vocab;
      num_compared_ += count;
    }
  }

  const LoadedModel& model_;
  const Dtype dtype_;
  const int64_t block_size_;
  const int64_t recent_tokens_;
  std::mt19937_64 random_;
  std::vector<int> users_, recent_users_;  // of each page
  std::vector<Sequence> sequences_;
  int64_t num_compared_ = 0;
  int64_t num_let_go_ = 0;
  nn::KvCache cache_;
  Buffer workspace_, logits_;
  nn::BatchMemory batch_memory_;
  std::unique_ptr<Stream> stream_;
};

TEST(CacheInterleaving, GivesTheLogitsOfAFreshRun) {
  for (const TinyModel& tiny : tiny_models()) {
    const std::string_view name = tiny.name;
    if (name != "qwen3" && name != "deepseek_v32" && name != "deepseek_v4") continue;
    const Json config = parse(tiny.config);
    disk::testing::TempDir dir;
    TinyWeights weights = random_weights(config, 31);
    const LoadedModel model =
        load(write_hf(dir, config, hf_tensors(weights)), backend_named("cpu", 2));
    uint64_t seed = 100;
    for (const Dtype dtype : {Dtype::kF32, Dtype::kBF16, Dtype::kI8}) {
      for (const int64_t block_size : {3, 8, 16}) {
        if (name != "deepseek_v4" && (dtype != Dtype::kBF16 || block_size != 8)) continue;
        SCOPED_TRACE(fmt::format("{} {} pages of {}", name, dtype_name(dtype), block_size));
        Cache cache(model, dtype, block_size, ++seed);
        for (int i = 0; i < 100 && !::testing::Test::HasFailure(); ++i) cache.step();
        EXPECT_GT(cache.num_compared(), 300);
        EXPECT_EQ(cache.num_let_go() > 10, name == "deepseek_v4");
      }
    }
  }
}

}  // namespace
}  // namespace ferry::engine
