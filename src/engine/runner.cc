// See runner.h.
#include "engine/runner.h"

#include <atomic>
#include <utility>

#include "base/check.h"

namespace ferry::engine {

Result<Runner> Runner::create(std::span<const RunnerRank> ranks, const RunnerLimits& limits) {
  CHECK(!ranks.empty());
  Runner runner;
  for (const RunnerRank& rank : ranks) {
    FERRY_TRY(auto made, RankRunner::create(rank, limits, /*reports=*/runner.ranks_.empty()));
    runner.ranks_.push_back(std::move(made));
  }
  runner.team_ = std::make_unique<RankTeam>(static_cast<int>(ranks.size()));
  if (ranks.size() == 1) return runner;
  std::vector<Rank> devices;
  for (const RankRunner& rank : runner.ranks_) {
    devices.push_back({rank.backend(), rank.own_stream()});
  }
  FERRY_TRY(Communicators communicators, ranks.front().backend->connect(devices));
  for (size_t r = 0; r < ranks.size(); ++r) runner.ranks_[r].join(std::move(communicators[r]));
  return runner;
}

void Runner::on_each(const std::function<void(RankRunner& rank)>& work) {
  team_->run([&](int rank) { work(ranks_[static_cast<size_t>(rank)]); });
}

void Runner::launch(std::span<const nn::BatchInput> inputs, bool wants_hidden) {
  on_each([&](RankRunner& rank) { rank.launch(inputs, wants_hidden); });
}

void Runner::launch_mtp(std::span<const nn::BatchInput> inputs, std::span<const int32_t> rows) {
  on_each([&](RankRunner& rank) { rank.launch_mtp(inputs, rows); });
}

Result<std::span<const sample::LogitRow>> Runner::wait() {
  std::vector<Status> statuses(ranks_.size());
  on_each([&](RankRunner& rank) {
    statuses[static_cast<size_t>(&rank - ranks_.data())] = rank.synchronize();
  });
  for (const Status& status : statuses) FERRY_TRY_VOID(status);
  return ranks_.front().logits();
}

int64_t Runner::pack_more(double seconds) {
  std::atomic<int64_t> left = 0;
  on_each([&](RankRunner& rank) { left += rank.backend()->pack_more(seconds); });
  return left;
}

}  // namespace ferry::engine
