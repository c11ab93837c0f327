// Collectives through host memory, on the reference backend: that they are right, that sums do not
// depend on who comes first, and that ranks which disagree or stay away are an error, not a hang.
#include "device/host_communicator.h"

#include <gmock/gmock.h>

#include <cmath>
#include <thread>

#include "device/conformance/collectives.h"

namespace ferry {
namespace {

using testing::HasSubstr;

struct HostRanks {
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Rank> ranks;
  Communicators all;
};

HostRanks host_ranks(int size, std::chrono::milliseconds timeout = std::chrono::minutes(1)) {
  HostRanks made;
  for (int r = 0; r < size; ++r) {
    auto backend = open_backend("reference", {}).value();
    made.streams.push_back(backend->create_stream().value());
    made.ranks.push_back({backend, made.streams.back().get()});
  }
  made.all = connect_through_host(made.ranks, {.timeout = timeout});
  return made;
}

void on_each(HostRanks& made, const std::function<void(int rank, Communicator& own)>& run) {
  std::vector<std::thread> threads;
  for (int r = 0; r < static_cast<int>(made.all.size()); ++r) {
    threads.emplace_back([&, r] { run(r, *made.all[static_cast<size_t>(r)]); });
  }
  for (std::thread& thread : threads) thread.join();
}

TensorView vector_of(std::vector<float>& values) {
  return TensorView::contiguous(values.data(), Dtype::kF32, {std::ssize(values)});
}

TEST(HostCommunicator, ComputesWhatItShould) {
  for (const int size : {1, 2, 3, 8}) {
    std::vector<std::shared_ptr<Backend>> devices;
    for (int r = 0; r < size; ++r) devices.push_back(open_backend("reference", {}).value());
    const auto results = check_collectives(devices).value();
    EXPECT_GT(results.size(), 30u);
    for (const CollectiveResult& result : results) {
      EXPECT_TRUE(result.passed) << size << " ranks: " << result.name << ": " << result.detail;
    }
  }
}

// In the order of ranks, whoever comes first: bit for bit, on every rank.
TEST(HostCommunicator, SumsInTheOrderOfRanks) {
  HostRanks made = host_ranks(3);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::vector<float>> x(3, std::vector<float>(257));
    std::vector<float> expected(257);
    for (size_t i = 0; i < expected.size(); ++i) {
      for (size_t r = 0; r < 3; ++r) {
        x[r][i] = std::ldexp(static_cast<float>((i * 7 + r * 13 + 1) % 101) / 101.0f,
                             static_cast<int>((i + r * 5) % 23));
      }
      expected[i] = (x[0][i] + x[1][i]) + x[2][i];
    }
    on_each(made, [&](int rank, Communicator& own) {
      std::this_thread::sleep_for(std::chrono::microseconds((rank * 7 + round * 11) % 3 * 100));
      own.all_reduce(vector_of(x[static_cast<size_t>(rank)]));
    });
    for (const std::vector<float>& one : x) EXPECT_EQ(one, expected) << round;
  }
}

TEST(HostCommunicator, RanksThatDisagreeAllHearOfIt) {
  HostRanks made = host_ranks(2);
  std::vector<float> few(8), many(9);
  on_each(made, [&](int rank, Communicator& own) { own.all_reduce(vector_of(rank ? many : few)); });
  EXPECT_EQ(made.all[0]->status().error().message,
            "rank 0 of 2: all_reduce of 8 f32, rank 1: all_reduce of 9 f32");
  EXPECT_FALSE(made.all[1]->status().ok());

  HostRanks others = host_ranks(2);
  on_each(others, [&](int rank, Communicator& own) {
    std::vector<float> out(16);
    if (rank == 0) own.all_reduce(vector_of(few));
    if (rank == 1) own.all_gather(vector_of(few), vector_of(out));
  });
  for (const auto& one : others.all) EXPECT_FALSE(one->status().ok());

  HostRanks uneven = host_ranks(2);
  on_each(uneven, [&](int rank, Communicator& own) {
    std::vector<float> x(3), out(3);
    const std::vector<int64_t> send = {1, 2}, receive = {rank == 0 ? 2 : 1, rank == 0 ? 1 : 2};
    own.all_to_all_v(vector_of(x), send, vector_of(out), receive);
  });
  EXPECT_THAT(uneven.all[0]->status().error().message, HasSubstr("not what the other expects"));
}

TEST(HostCommunicator, ARankThatStaysAwayIsAnError) {
  HostRanks made = host_ranks(2, std::chrono::milliseconds(50));
  std::vector<float> x(8);
  made.all[0]->all_reduce(vector_of(x));
  EXPECT_EQ(made.all[0]->status().error().message,
            "rank 0 of 2: only 1 ranks came to a collective within 0.05 s");
  made.all[1]->all_reduce(vector_of(x));  // too late
  EXPECT_FALSE(made.all[1]->status().ok());
}

TEST(HostCommunicator, AbortingFreesThoseThatWait) {
  HostRanks made = host_ranks(2);
  std::vector<float> x(8);
  on_each(made, [&](int rank, Communicator& own) {
    if (rank == 0) own.all_reduce(vector_of(x));
    if (rank == 1) own.abort(device_error("rank 1 burns"));
  });
  EXPECT_EQ(made.all[0]->status().error().message, "rank 1 burns");
}

}  // namespace
}  // namespace ferry
