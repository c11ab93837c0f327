// See collectives.h.
#include "device/conformance/collectives.h"

#include <cstring>
#include <functional>
#include <thread>

#include "base/half.h"

namespace ferry {
namespace {

using Bytes = std::vector<unsigned char>;

// Element `index` of what `rank` gives: a whole number from −4 to 4, another one for each.
int given(int rank, int64_t index) {
  const uint64_t mixed = (static_cast<uint64_t>(index) * 8 + static_cast<uint64_t>(rank) + 1) *
                         uint64_t{0x9E3779B97F4A7C15};
  return static_cast<int>((mixed >> 40) % 9) - 4;
}

void put(Bytes& bytes, Dtype dtype, int value) {
  const auto append = [&](const auto number) {
    const size_t at = bytes.size();
    bytes.resize(at + sizeof number);
    std::memcpy(bytes.data() + at, &number, sizeof number);
  };
  switch (dtype) {
    case Dtype::kF32: append(static_cast<float>(value)); break;
    case Dtype::kF16: append(f32_to_f16(static_cast<float>(value))); break;
    case Dtype::kBF16: append(f32_to_bf16(static_cast<float>(value))); break;
    case Dtype::kI8: append(static_cast<int8_t>(value)); break;
    case Dtype::kI32: append(static_cast<int32_t>(value)); break;
    case Dtype::kI64: append(static_cast<int64_t>(value)); break;
  }
}

// What each rank puts in and has to get out, as functions of its number.
struct CollectiveCase {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::function<Bytes(int rank)> input, expected;
  bool in_place = false;
  std::function<void(Communicator& own, const TensorView& x, const TensorView& out)> call;
};

// Elements that rank `from` sends to rank `to`: uneven, some of them none.
int64_t sent(int from, int to) { return (from * 5 + to * 3) % 7; }

int64_t sent_before(int from, int to) {
  int64_t sum = 0;
  for (int q = 0; q < to; ++q) sum += sent(from, q);
  return sum;
}

Bytes numbers(Dtype dtype, int64_t count, const std::function<int(int64_t index)>& value) {
  Bytes bytes;
  for (int64_t i = 0; i < count; ++i) put(bytes, dtype, value(i));
  return bytes;
}

int sum_of_all(int size, int64_t index) {
  int sum = 0;
  for (int rank = 0; rank < size; ++rank) sum += given(rank, index);
  return sum;
}

// The second all_reduce is queued behind the first without waiting: all ranks have the same then.
CollectiveCase all_reduce_case(Dtype dtype, int64_t count, int size, bool twice) {
  return {.name = fmt::format("all_reduce{}", twice ? " twice" : ""),
          .dtype = dtype,
          .input =
              [=](int rank) {
                return numbers(dtype, count, [&](int64_t i) { return given(rank, i); });
              },
          .expected =
              [=](int) {
                return numbers(dtype, count,
                               [&](int64_t i) { return sum_of_all(size, i) * (twice ? size : 1); });
              },
          .in_place = true,
          .call =
              [twice](Communicator& own, const TensorView& x, const TensorView&) {
                own.all_reduce(x);
                if (twice) own.all_reduce(x);
              }};
}

CollectiveCase all_gather_case(Dtype dtype, int64_t count, int size) {
  return {.name = "all_gather",
          .dtype = dtype,
          .input =
              [=](int rank) {
                return numbers(dtype, count, [&](int64_t i) { return given(rank, i); });
              },
          .expected =
              [=](int) {
                return numbers(dtype, count * size, [&](int64_t i) {
                  return given(static_cast<int>(i / count), i % count);
                });
              },
          .call = [](Communicator& own, const TensorView& x,
                     const TensorView& out) { own.all_gather(x, out); }};
}

CollectiveCase reduce_scatter_case(Dtype dtype, int64_t count, int size) {
  return {.name = "reduce_scatter",
          .dtype = dtype,
          .input =
              [=](int rank) {
                return numbers(dtype, count * size, [&](int64_t i) { return given(rank, i); });
              },
          .expected =
              [=](int rank) {
                return numbers(dtype, count,
                               [&](int64_t i) { return sum_of_all(size, rank * count + i); });
              },
          .call = [](Communicator& own, const TensorView& x,
                     const TensorView& out) { own.reduce_scatter(x, out); }};
}

CollectiveCase all_to_all_v_case(Dtype dtype, int size) {
  return {.name = "all_to_all_v",
          .dtype = dtype,
          .input =
              [=](int rank) {
                return numbers(dtype, sent_before(rank, size),
                               [&](int64_t i) { return given(rank, i); });
              },
          .expected =
              [=](int rank) {
                Bytes all;
                for (int from = 0; from < size; ++from) {
                  const Bytes part = numbers(dtype, sent(from, rank), [&](int64_t i) {
                    return given(from, sent_before(from, rank) + i);
                  });
                  all.insert(all.end(), part.begin(), part.end());
                }
                return all;
              },
          .call =
              [](Communicator& own, const TensorView& x, const TensorView& out) {
                std::vector<int64_t> send, receive;
                for (int q = 0; q < own.size(); ++q) {
                  send.push_back(sent(own.rank(), q));
                  receive.push_back(sent(q, own.rank()));
                }
                own.all_to_all_v(x, send, out, receive);
              }};
}

std::vector<CollectiveCase> collective_cases(int size, bool has_bf16) {
  std::vector<CollectiveCase> cases;
  for (const int64_t count : {int64_t{1}, int64_t{1000}, int64_t{70001}}) {
    for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBF16}) {
      if (dtype == Dtype::kBF16 && !has_bf16) continue;
      cases.push_back(all_reduce_case(dtype, count, size, false));
      cases.push_back(reduce_scatter_case(dtype, count, size));
      cases.push_back(all_gather_case(dtype, count, size));
    }
    cases.push_back(all_reduce_case(Dtype::kF32, count, size, true));
    cases.push_back(all_gather_case(Dtype::kI32, count, size));
  }
  for (const Dtype dtype : {Dtype::kF32, Dtype::kI32, Dtype::kF16}) {
    cases.push_back(all_to_all_v_case(dtype, size));
  }
  return cases;
}

// One rank's part. What it gets back is compared byte for byte.
Status run_rank(const CollectiveCase& one, Backend& device, Stream& stream, Communicator& own) {
  const Bytes input = one.input(own.rank()), expected = one.expected(own.rank());
  const auto view = [&](const Buffer& buffer, const Bytes& bytes) {
    return TensorView::contiguous(buffer.data, one.dtype,
                                  {static_cast<int64_t>(bytes.size()) / dtype_bytes(one.dtype)});
  };
  FERRY_TRY(const Buffer x, device.allocate(static_cast<int64_t>(input.size()) + 64));
  FERRY_TRY(const Buffer out, device.allocate(static_cast<int64_t>(expected.size()) + 64));
  stream.copy_in(x.data, input.data(), static_cast<int64_t>(input.size()));
  one.call(own, view(x, input), view(out, expected));
  Bytes got(expected.size());
  stream.copy_out(got.data(), one.in_place ? x.data : out.data, static_cast<int64_t>(got.size()));
  FERRY_TRY_VOID(stream.synchronize());
  FERRY_TRY_VOID(own.status());
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == expected[i]) continue;
    return invalid_input("rank {}: element {} is wrong", own.rank(),
                         static_cast<int64_t>(i) / dtype_bytes(one.dtype));
  }
  return {};
}

}  // namespace

Result<std::vector<CollectiveResult>> check_collectives(
    std::span<const std::shared_ptr<Backend>> devices) {
  const int size = static_cast<int>(devices.size());
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<Rank> ranks;
  for (const auto& device : devices) {
    FERRY_TRY(auto stream, device->create_stream());
    ranks.push_back({device, stream.get()});
    streams.push_back(std::move(stream));
  }
  FERRY_TRY(const Communicators communicators, devices[0]->connect(ranks));
  const bool has_bf16 = devices[0]->supports({.op = Op::kCopy, .dtype = Dtype::kBF16});
  std::vector<CollectiveResult> results;
  for (const CollectiveCase& one : collective_cases(size, has_bf16)) {
    std::vector<Status> statuses(devices.size());
    std::vector<std::thread> threads;
    for (size_t r = 0; r < devices.size(); ++r) {
      threads.emplace_back(
          [&, r] { statuses[r] = run_rank(one, *devices[r], *streams[r], *communicators[r]); });
    }
    for (std::thread& thread : threads) thread.join();
    CollectiveResult result{
        .name = fmt::format("{} {} x {}", one.name, dtype_name(one.dtype), one.input(0).size()),
        .passed = true,
        .detail = {}};
    for (const Status& status : statuses) {
      if (status.ok() || !result.passed) continue;
      result.passed = false;
      result.detail = status.error().message;
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace ferry
