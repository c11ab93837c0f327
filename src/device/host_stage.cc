// What Stream does for the ops of DeepSeek-V4 and of sampling where a backend has nothing of its
// own: the inputs go to the host, device/host_ops.h computes, the outputs go back. Of planes and
// tables only what the batch names is copied.
//
// Errors of the copies stick to the stream, as everywhere; nothing is computed then.
#include <memory>
#include <set>
#include <vector>

#include "device/backend.h"
#include "device/host_ops.h"

namespace ferry {
namespace {

using host_ops::BatchToken;

// Host copies of tensors, of the same shape and strides; what lies between elements included.
class HostStage {
 public:
  explicit HostStage(Stream& stream) : stream_(stream) {}

  TensorView in(const TensorView& view) {
    if (view.empty()) return view;
    const int64_t bytes = view.extent_bytes();
    TensorView copy = reserve(view, bytes);
    stream_.copy_out(copy.data, view.data, bytes);
    return copy;
  }

  // Also what is only written is copied here first; back go the elements alone, row by row where
  // something lies between the rows: that is somebody else's.
  TensorView out(const TensorView& view) {
    TensorView copy = in(view);
    if (copy.empty()) return copy;
    if (view.is_contiguous()) {
      written_.push_back({view.data, copy.data, view.extent_bytes()});
      return copy;
    }
    const int64_t size = view.shape[view.rank - 1];
    const int64_t rows = size > 0 ? view.num_elements() / size : 0;
    for (int64_t r = 0; r < rows; ++r) {
      int64_t offset = 0;
      for (int64_t dim = view.rank - 2, left = r; dim >= 0; left /= view.shape[dim--]) {
        offset += left % view.shape[dim] * view.stride[dim];
      }
      offset *= dtype_bytes(view.dtype);
      written_.push_back(
          {at(view.data, offset), at(copy.data, offset), size * dtype_bytes(view.dtype)});
    }
    return copy;
  }

  // Rows `indices` of a table [rows, cols].
  TensorView rows(const TensorView& view, const std::set<int64_t>& indices) {
    TensorView copy = reserve(view, view.extent_bytes());
    const int64_t bytes = view.shape[1] * dtype_bytes(view.dtype);
    for (const int64_t i : indices) {
      const int64_t offset = i * view.stride[0] * dtype_bytes(view.dtype);
      stream_.copy_out(at(copy.data, offset), at(view.data, offset), bytes);
    }
    return copy;
  }

  // The pages of a plane that sequences of the batch have.
  TensorView pages(const TensorView& view, const BatchView& batch, PageKind kind,
                   bool written = false) {
    if (view.empty()) return view;
    const int64_t page_bytes = view.stride[0] * dtype_bytes(view.dtype);
    TensorView copy = reserve(view, view.shape[0] * page_bytes);
    std::set<int64_t> used;
    for (int64_t s = 0; s < batch.num_sequences; ++s) {
      const int64_t length = batch.context_lengths.host[static_cast<size_t>(s)];
      for (int64_t b = 0; b * batch.block_size < length; ++b) {
        used.insert(batch.tables_of(kind).host[static_cast<size_t>(s * batch.max_blocks + b)]);
      }
    }
    for (const int64_t page : used) {
      void* here = at(copy.data, page * page_bytes);
      stream_.copy_out(here, at(view.data, page * page_bytes), page_bytes);
      if (written) written_.push_back({at(view.data, page * page_bytes), here, page_bytes});
    }
    return copy;
  }

  // Whether the copies have arrived and may be computed with.
  bool ready() { return stream_.synchronize().ok(); }

  void send_back() {
    for (const Piece& piece : written_) stream_.copy_in(piece.device, piece.host, piece.bytes);
    static_cast<void>(stream_.synchronize());  // an error sticks; the copies may go now
  }

 private:
  struct Piece {
    void* device;
    void* host;
    int64_t bytes;
  };

  static void* at(void* base, int64_t bytes) { return static_cast<char*>(base) + bytes; }

  // Not initialised: of a plane most is never touched.
  TensorView reserve(const TensorView& view, int64_t bytes) {
    memory_.emplace_back(new char[static_cast<size_t>(bytes)]);
    TensorView copy = view;
    copy.data = memory_.back().get();
    return copy;
  }

  Stream& stream_;
  std::vector<std::unique_ptr<char[]>> memory_;
  std::vector<Piece> written_;
};

std::set<int64_t> positions_of(const std::vector<BatchToken>& tokens, int64_t back) {
  std::set<int64_t> positions;
  for (const BatchToken& token : tokens) positions.insert(token.position - back);
  return positions;
}

}  // namespace

void Stream::hyper_collapse(const HyperCollapseArgs& args) {
  HostStage stage(*this);
  HyperCollapseArgs host = args;
  host.streams = stage.in(args.streams);
  host.mix = stage.in(args.mix);
  host.base = stage.in(args.base);
  host.scale = stage.in(args.scale);
  host.out = stage.out(args.out);
  host.gates = stage.out(args.gates);
  if (!stage.ready()) return;
  host_ops::hyper_collapse(host, 0, args.out.shape[0]);
  stage.send_back();
}

void Stream::hyper_expand(const HyperExpandArgs& args) {
  HostStage stage(*this);
  HyperExpandArgs host = args;
  host.streams = stage.out(args.streams);
  host.x = stage.in(args.x);
  host.gates = stage.in(args.gates);
  if (!stage.ready()) return;
  host_ops::hyper_expand(host, 0, args.x.shape[0]);
  stage.send_back();
}

void Stream::compress(const CompressArgs& args) {
  const std::vector<BatchToken> ends = host_ops::entry_ends(*args.batch, args.ratio);
  if (ends.empty()) return;
  HostStage stage(*this);
  CompressArgs host = args;
  host.rows = stage.pages(args.rows, *args.batch, PageKind::kRecent);
  host.ape = stage.in(args.ape);
  host.weight = stage.in(args.weight);
  host.cos_sin = stage.rows(args.cos_sin, positions_of(ends, args.ratio - 1));
  host.pages = stage.pages(args.pages, *args.batch, PageKind::kAll, true);
  if (!stage.ready()) return;
  for (const BatchToken& end : ends) host_ops::compress(host, end);
  stage.send_back();
}

void Stream::entry_scores(const EntryScoresArgs& args) {
  HostStage stage(*this);
  EntryScoresArgs host = args;
  host.q = stage.in(args.q);
  host.weights = stage.in(args.weights);
  host.pages = stage.pages(args.pages, *args.batch, PageKind::kAll);
  host.out = stage.out(args.out);
  if (!stage.ready()) return;
  const int64_t count = args.q.shape[0];
  const auto tokens = host_ops::batch_tokens(*args.batch, args.first_token, count);
  host_ops::entry_scores(host, tokens, 0, count);
  stage.send_back();
}

void Stream::window_attention(const WindowAttentionArgs& args) {
  const int64_t count = args.q.shape[0];
  const auto tokens = host_ops::batch_tokens(*args.batch, args.first_token, count);
  HostStage stage(*this);
  WindowAttentionArgs host = args;
  host.q = stage.in(args.q);
  host.pages = stage.pages(args.pages, *args.batch, PageKind::kRecent);
  host.entry_pages = stage.pages(args.entry_pages, *args.batch, PageKind::kAll);
  host.entries = stage.in(args.entries);
  host.sinks = stage.in(args.sinks);
  host.cos_sin = stage.rows(args.cos_sin, positions_of(tokens, 0));
  host.out = stage.out(args.out);
  if (!stage.ready()) return;
  host_ops::window_attention(host, tokens, 0, count);
  stage.send_back();
}

void Stream::moe_hash_gate(const MoeHashGateArgs& args) {
  HostStage stage(*this);
  MoeHashGateArgs host = args;
  const auto ids = args.token_ids.host;
  host.logits = stage.in(args.logits);
  host.table = stage.rows(args.table, std::set<int64_t>(ids.begin(), ids.end()));
  host.ids = stage.out(args.ids);
  host.weights = stage.out(args.weights);
  if (!stage.ready()) return;
  host_ops::moe_hash_gate(host, 0, args.ids.shape[0]);
  stage.send_back();
}

void Stream::clamped_swiglu(const ClampedSwigluArgs& args) {
  HostStage stage(*this);
  ClampedSwigluArgs host = args;
  host.out = stage.out(args.out);
  host.gate = args.gate.data == args.out.data ? host.out : stage.in(args.gate);
  host.up = stage.in(args.up);
  if (!stage.ready()) return;
  host_ops::clamped_swiglu(host, 0, args.gate.shape[0]);
  stage.send_back();
}

void Stream::top_logits(const TopLogitsArgs& args) {
  HostStage stage(*this);
  TopLogitsArgs host = args;
  host.x = stage.in(args.x);
  host.values = stage.out(args.values);
  host.ids = stage.out(args.ids);
  if (!stage.ready()) return;
  host_ops::top_logits(host, 0, args.x.shape[0]);
  stage.send_back();
}

}  // namespace ferry
