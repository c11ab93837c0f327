// See host_communicator.h.
#include "device/host_communicator.h"

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/half.h"

namespace ferry {
namespace {

enum class Collective { kAllReduce, kAllGather, kReduceScatter, kAllToAllV };

// What a rank brings along.
struct Offer {
  Collective what = Collective::kAllReduce;
  Dtype dtype = Dtype::kF32;
  int64_t count = 0;                    // elements given
  std::vector<int64_t> to, from;        // all_to_all_v: elements for each rank, and of each
  const unsigned char* data = nullptr;  // host memory

  std::string text() const {
    constexpr std::string_view kNames[] = {"all_reduce", "all_gather", "reduce_scatter",
                                           "all_to_all_v"};
    return fmt::format("{} of {} {}", kNames[static_cast<int>(what)], count, dtype_name(dtype));
  }
};

// Where the ranks meet. Thread-safe.
class Meeting {
 public:
  Meeting(int size, std::chrono::milliseconds timeout)
      : timeout_(timeout), offers_(static_cast<size_t>(size)) {}

  // Returns when all ranks are here.
  Status arrive(int rank) {
    std::unique_lock lock(mutex_);
    if (failure_.has_value()) return *failure_;
    const uint64_t round = round_;
    if (++arrived_ == static_cast<int>(offers_.size())) {
      arrived_ = 0;
      ++round_;
      all_here_.notify_all();
      return {};
    }
    const bool came =
        all_here_.wait_for(lock, timeout_, [&] { return round_ != round || failure_.has_value(); });
    if (!came && !failure_.has_value()) {
      failure_ =
          device_error("rank {} of {}: only {} ranks came to a collective within {} s", rank,
                       offers_.size(), arrived_, std::chrono::duration<double>(timeout_).count());
      all_here_.notify_all();
    }
    if (round_ != round) return {};
    return *failure_;
  }

  void abort(const Error& why) {
    const std::lock_guard lock(mutex_);
    if (!failure_.has_value()) failure_ = why;
    all_here_.notify_all();
  }

  // Written before one's own arrival, read after it until the next one.
  Offer& offer(int rank) { return offers_[static_cast<size_t>(rank)]; }

 private:
  const std::chrono::milliseconds timeout_;
  std::vector<Offer> offers_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  int arrived_ = 0;
  uint64_t round_ = 0;
  std::optional<Error> failure_;
};

// f16 or bf16.
float load(Dtype dtype, const unsigned char* data, int64_t index) {
  uint16_t bits;
  std::memcpy(&bits, data + index * 2, sizeof bits);
  return dtype == Dtype::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

void store(Dtype dtype, unsigned char* data, int64_t index, float value) {
  const uint16_t bits = dtype == Dtype::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
  std::memcpy(data + index * 2, &bits, sizeof bits);
}

class HostCommunicator : public Communicator {
 public:
  HostCommunicator(const Rank& own, std::shared_ptr<Meeting> meeting, int rank, int size)
      : Communicator(rank, size), own_(own), meeting_(std::move(meeting)) {}

  void abort(const Error& why) override { meeting_->abort(why); }
  Status status() const override { return status_; }

 protected:
  void do_all_reduce(const TensorView& x) override {
    const int64_t count = x.num_elements();
    exchange({Collective::kAllReduce, x.dtype, count, {}, {}, nullptr}, x, x,
             [&](unsigned char* out) { sum(x.dtype, 0, count, out); });
  }

  void do_all_gather(const TensorView& x, const TensorView& out) override {
    const int64_t count = x.num_elements();
    exchange({Collective::kAllGather, x.dtype, count, {}, {}, nullptr}, x, out,
             [&](unsigned char* to) {
               const int64_t bytes = count * dtype_bytes(x.dtype);
               for (int r = 0; r < size(); ++r) {
                 std::memcpy(to + r * bytes, meeting_->offer(r).data, static_cast<size_t>(bytes));
               }
             });
  }

  void do_reduce_scatter(const TensorView& x, const TensorView& out) override {
    const int64_t count = out.num_elements();
    exchange({Collective::kReduceScatter, x.dtype, x.num_elements(), {}, {}, nullptr}, x, out,
             [&](unsigned char* to) { sum(x.dtype, rank() * count, count, to); });
  }

  void do_all_to_all_v(const TensorView& x, std::span<const int64_t> send_counts,
                       const TensorView& out, std::span<const int64_t> receive_counts) override {
    Offer offer{Collective::kAllToAllV,
                x.dtype,
                x.num_elements(),
                {send_counts.begin(), send_counts.end()},
                {receive_counts.begin(), receive_counts.end()},
                nullptr};
    exchange(std::move(offer), x, out, [&](unsigned char* to) {
      const int64_t bytes = dtype_bytes(x.dtype);
      for (int r = 0; r < size(); ++r) {
        const Offer& given = meeting_->offer(r);
        int64_t first = 0;
        for (int q = 0; q < rank(); ++q) first += given.to[static_cast<size_t>(q)];
        const int64_t count = given.to[static_cast<size_t>(rank())];
        std::memcpy(to, given.data + first * bytes, static_cast<size_t>(count * bytes));
        to += count * bytes;
      }
    });
  }

 private:
  // make(result) fills as many bytes as `out` has from what all ranks gave. Two meetings: after the
  // first everybody's offer can be read, after the second nobody reads it any more. Own buffers are
  // used again only after the own queue was waited for.
  template <typename Make>
  void exchange(Offer offer, const TensorView& x, const TensorView& out, const Make& make) {
    const Status status = try_exchange(std::move(offer), x, out, make);
    if (status.ok()) return;
    if (status_.ok()) status_ = status;
    meeting_->abort(status.error());
  }

  template <typename Make>
  Status try_exchange(Offer offer, const TensorView& x, const TensorView& out, const Make& make) {
    const int64_t given_bytes = x.num_elements() * dtype_bytes(x.dtype);
    const int64_t result_bytes = out.num_elements() * dtype_bytes(out.dtype);
    FERRY_TRY_VOID(own_.stream->synchronize());
    FERRY_TRY_VOID(grow(given_, given_bytes));
    FERRY_TRY_VOID(grow(result_, result_bytes));
    if (given_bytes > 0) own_.stream->copy_out(given_.data, x.data, given_bytes);
    FERRY_TRY_VOID(own_.stream->synchronize());
    offer.data = static_cast<const unsigned char*>(given_.data);
    meeting_->offer(rank()) = std::move(offer);
    FERRY_TRY_VOID(meeting_->arrive(rank()));
    const Status agreed = check_offers();
    if (agreed.ok()) make(static_cast<unsigned char*>(result_.data));
    FERRY_TRY_VOID(meeting_->arrive(rank()));
    FERRY_TRY_VOID(agreed);
    if (result_bytes > 0) own_.stream->copy_in(out.data, result_.data, result_bytes);
    return {};
  }

  // Every rank looks at all offers and finds the same.
  Status check_offers() const {
    const Offer& own = meeting_->offer(rank());
    for (int r = 0; r < size(); ++r) {
      const Offer& other = meeting_->offer(r);
      const bool v = own.what == Collective::kAllToAllV;
      const bool alike =
          other.what == own.what && other.dtype == own.dtype && (v || other.count == own.count) &&
          (!v || other.to[static_cast<size_t>(rank())] == own.from[static_cast<size_t>(r)]);
      if (alike) continue;
      return device_error("rank {} of {}: {}, rank {}: {}{}", rank(), size(), own.text(), r,
                          other.text(),
                          v ? ", and what one sends is not what the other expects" : "");
    }
    return {};
  }

  void sum(Dtype dtype, int64_t first, int64_t count, unsigned char* out) const {
    if (dtype == Dtype::kF32) return sum_f32(first, count, reinterpret_cast<float*>(out));
    for (int64_t i = 0; i < count; ++i) {
      float total = load(dtype, meeting_->offer(0).data, first + i);
      for (int r = 1; r < size(); ++r) total += load(dtype, meeting_->offer(r).data, first + i);
      store(dtype, out, i, total);
    }
  }

  // The same order for each element, a rank at a time.
  void sum_f32(int64_t first, int64_t count, float* out) const {
    for (int r = 0; r < size(); ++r) {
      const float* x = reinterpret_cast<const float*>(meeting_->offer(r).data) + first;
      for (int64_t i = 0; i < count; ++i) out[i] = r == 0 ? x[i] : out[i] + x[i];
    }
  }

  Status grow(Buffer& buffer, int64_t bytes) const {
    if (bytes <= buffer.bytes) return {};
    buffer = {};
    FERRY_TRY(buffer, own_.backend->allocate_host(bytes));
    return {};
  }

  const Rank own_;
  const std::shared_ptr<Meeting> meeting_;
  Buffer given_, result_;
  Status status_;
};

}  // namespace

Communicators connect_through_host(std::span<const Rank> ranks,
                                   const HostCommunicatorOptions& options) {
  CHECK(!ranks.empty());
  const int size = static_cast<int>(ranks.size());
  const auto meeting = std::make_shared<Meeting>(size, options.timeout);
  Communicators all;
  for (int r = 0; r < size; ++r) {
    all.push_back(
        std::make_unique<HostCommunicator>(ranks[static_cast<size_t>(r)], meeting, r, size));
  }
  return all;
}

Result<Communicators> Backend::connect(std::span<const Rank> ranks) {
  return connect_through_host(ranks);
}

}  // namespace ferry
