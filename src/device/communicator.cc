// What all communicators check before anything is queued.
#include "device/communicator.h"

#include "base/check.h"

namespace ferry {
namespace {

int64_t sum_of(std::span<const int64_t> counts) {
  int64_t sum = 0;
  for (const int64_t count : counts) {
    CHECK(count >= 0);
    sum += count;
  }
  return sum;
}

bool can_be_summed(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16;
}

}  // namespace

void Communicator::all_reduce(const TensorView& x) {
  CHECK(x.is_contiguous() && can_be_summed(x.dtype));
  if (size_ > 1 && x.num_elements() > 0 && status().ok()) do_all_reduce(x);
}

void Communicator::all_gather(const TensorView& x, const TensorView& out) {
  CHECK(x.is_contiguous() && out.is_contiguous() && x.dtype == out.dtype);
  CHECK(out.num_elements() == x.num_elements() * size_);
  if (x.num_elements() > 0 && status().ok()) do_all_gather(x, out);
}

void Communicator::reduce_scatter(const TensorView& x, const TensorView& out) {
  CHECK(x.is_contiguous() && out.is_contiguous() && x.dtype == out.dtype);
  CHECK(can_be_summed(x.dtype) && x.num_elements() == out.num_elements() * size_);
  if (out.num_elements() > 0 && status().ok()) do_reduce_scatter(x, out);
}

void Communicator::all_to_all_v(const TensorView& x, std::span<const int64_t> send_counts,
                                const TensorView& out, std::span<const int64_t> receive_counts) {
  CHECK(x.is_contiguous() && out.is_contiguous() && x.dtype == out.dtype);
  CHECK(std::ssize(send_counts) == size_ && std::ssize(receive_counts) == size_);
  CHECK(x.num_elements() == sum_of(send_counts) && out.num_elements() == sum_of(receive_counts));
  if (status().ok()) do_all_to_all_v(x, send_counts, out, receive_counts);
}

}  // namespace ferry
