// Collectives on an emulated chip, for the tests of every vendor's backend.
#pragma once

#include <gmock/gmock.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "device/conformance/collectives.h"
#include "device/op_paths.h"

namespace ferry::vendor_testing {

// Devices 0, 1, … of a backend whose libraries were chosen already.
inline std::vector<std::shared_ptr<Backend>> open_devices(const std::string& backend, int count) {
  setenv("FERRY_EMULATED_DEVICES", std::to_string(count).c_str(), 1);
  std::vector<std::shared_ptr<Backend>> devices;
  for (int i = 0; i < count; ++i) {
    auto opened = open_backend(backend, {.device = i});
    if (!opened.ok()) ADD_FAILURE() << opened.error().message;
    if (opened.ok()) devices.push_back(*opened);
  }
  return devices;
}

inline std::string how_all_reduce(const Backend& backend) {
  return dynamic_cast<const OpPaths&>(backend).collective_paths()[0].how;
}

inline void expect_collectives(const std::string& backend, int count) {
  const auto devices = open_devices(backend, count);
  const auto results = check_collectives(devices);
  ASSERT_TRUE(results.ok()) << results.error().message;
  EXPECT_GT(results->size(), 20u);
  for (const CollectiveResult& result : *results) {
    EXPECT_TRUE(result.passed) << count << " devices: " << result.name << ": " << result.detail;
  }
}

// One that computes something else does not pass for right.
inline void expect_wrong_ones_found(const std::string& backend,
                                    const std::vector<std::pair<const char*, std::string>>& wrong) {
  const auto devices = open_devices(backend, 2);
  for (const auto& [function, collective] : wrong) {
    setenv("FERRY_EMULATED_WRONG", function, 1);
    const auto results = check_collectives(devices);
    setenv("FERRY_EMULATED_WRONG", "", 1);
    ASSERT_TRUE(results.ok()) << results.error().message;
    for (const CollectiveResult& result : *results) {
      EXPECT_EQ(result.passed, !result.name.starts_with(collective)) << function << result.name;
    }
  }
}

// The devices joined, with a stream each.
struct Joined {
  std::vector<std::shared_ptr<Backend>> devices;
  std::vector<std::unique_ptr<Stream>> streams;
  Communicators communicators;

  static Result<Joined> of(const std::string& backend, int count) {
    Joined made{.devices = open_devices(backend, count), .streams = {}, .communicators = {}};
    std::vector<Rank> ranks;
    for (const auto& device : made.devices) {
      FERRY_TRY(auto stream, device->create_stream());
      ranks.push_back({device, stream.get()});
      made.streams.push_back(std::move(stream));
    }
    FERRY_TRY(made.communicators, made.devices[0]->connect(ranks));
    return made;
  }
};

// all_reduce of counts[rank] elements at each rank; what each rank hears in the end.
inline std::vector<Status> reduce(Joined& joined, const std::vector<int64_t>& counts) {
  std::vector<Status> heard(counts.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < counts.size(); ++r) {
    threads.emplace_back([&, r] {
      if (counts[r] == 0) return;  // stays away
      const Buffer x = joined.devices[r]->allocate(counts[r] * 4).value();
      joined.streams[r]->fill_zero(x.data, counts[r] * 4);
      joined.communicators[r]->all_reduce(TensorView::contiguous(x.data, Dtype::kF32, {counts[r]}));
      heard[r] = joined.streams[r]->synchronize();
      if (heard[r].ok()) heard[r] = joined.communicators[r]->status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return heard;
}

}  // namespace ferry::vendor_testing
