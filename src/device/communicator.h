// Communicator: what devices of one backend compute together. Each of N ranks is a device with a
// stream of its own, driven by a thread of its own, all in one process; rank r's communicator puts
// its part of a collective on that stream, behind what is queued there.
//
//   all_reduce       x_r ← Σ_q x_q                                             in place
//   all_gather       out_r ← [x_0, x_1, …]
//   reduce_scatter   out_r ← part r of Σ_q x_q
//   all_to_all_v     part q of out_r ← part r of x_q
//
// (MPI Forum, MPI: A Message-Passing Interface Standard, chapter 5.) Every rank calls the same
// collectives with the same dtypes and fitting counts in the same order; where ranks disagree, or
// one does not come, every rank that waits gets an error. As with ops, nothing is returned: the
// first error sticks in status(), which is complete once the stream was synchronised; what later
// calls would write is undefined.
//
// Without a vendor's library collectives go through host memory (host_communicator.h). There, sums
// are made in f32 in the order of the ranks, so they do not depend on which came first, and all
// ranks get the same bits.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/tensor_view.h"

namespace ferry {

class Backend;
class Stream;

// One device and its queue; `stream` is created by `backend` and outlives the communicator.
struct Rank {
  std::shared_ptr<Backend> backend;
  Stream* stream = nullptr;
};

// One thread at a time, that of its stream.
class Communicator {
 public:
  Communicator(int rank, int size) : rank_(rank), size_(size) {}
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // Tensors are contiguous memory of this rank's device. Sums: f32, f16 or bf16; what is only
  // moved: any dtype. `out` does not overlap x.

  // x of any shape, the same number of elements at every rank.
  void all_reduce(const TensorView& x);
  // out: size() times the elements of x, which are as many at every rank.
  void all_gather(const TensorView& x, const TensorView& out);
  // x: size() times the elements of out, which are as many at every rank.
  void reduce_scatter(const TensorView& x, const TensorView& out);
  // send_counts[q] elements of x go to rank q, receive_counts[q] elements of out come from it,
  // parts back to back in the order of ranks. receive_counts[q] here is send_counts[rank()] at rank
  // q.
  void all_to_all_v(const TensorView& x, std::span<const int64_t> send_counts,
                    const TensorView& out, std::span<const int64_t> receive_counts);

  // Lets the ranks that wait for this one fail, now and in what they call later.
  virtual void abort(const Error& why) = 0;
  virtual Status status() const = 0;

 protected:
  // The same, with arguments that were checked, for more than one rank.
  virtual void do_all_reduce(const TensorView& x) = 0;
  virtual void do_all_gather(const TensorView& x, const TensorView& out) = 0;
  virtual void do_reduce_scatter(const TensorView& x, const TensorView& out) = 0;
  virtual void do_all_to_all_v(const TensorView& x, std::span<const int64_t> send_counts,
                               const TensorView& out, std::span<const int64_t> receive_counts) = 0;

 private:
  const int rank_, size_;
};

using Communicators = std::vector<std::unique_ptr<Communicator>>;

// What a backend makes collectives with, for `ferry doctor`.
struct CollectivePath {
  std::string_view name;   // "all_reduce"
  std::string how;         // the vendor's function, or "host" and why
  std::string_view proof;  // as OpPath::proof
};

}  // namespace ferry
