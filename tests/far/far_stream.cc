// FarStream: see far_stream.h.
#include "far/far_stream.h"

#include <array>
#include <cstring>
#include <utility>

#include "base/checked_math.h"

namespace ferry::far {
namespace {

// FNV-1a over 8 bytes at a time, then over the rest.
uint64_t checksum(const void* data, size_t bytes) {
  constexpr uint64_t kPrime = 0x100000001b3u;
  const char* at = static_cast<const char*>(data);
  uint64_t hash = 0xcbf29ce484222325u;
  for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t), at += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, at, sizeof word);
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 29;
  }
  for (; bytes > 0; --bytes, ++at) hash = (hash ^ static_cast<unsigned char>(*at)) * kPrime;
  return hash;
}

Watched watch(const void* data, size_t bytes) { return {data, bytes, checksum(data, bytes)}; }

template <typename T>
Watched watch(std::span<const T> values) {
  return watch(values.data(), values.size_bytes());
}

// What record() leaves in an Event: the work that has to be done before it has happened.
struct FarEvent {
  std::shared_ptr<Queue> queue;
  int64_t end;
};

// The arrays that attention reads, by name.
std::array<std::pair<std::string_view, const IndexView*>, 3> arrays_of(const BatchView& batch) {
  return {{{"query_start", &batch.query_start},
           {"context_lengths", &batch.context_lengths},
           {"block_tables", &batch.block_tables}}};
}

}  // namespace

void Queue::fail(std::string_view where, std::string_view what) {
  if (status.ok()) status = device_error("far: {}: {}", where, what);
}

void Queue::run_until(int64_t end) {
  const FarMemory::Access access(*memory);
  while (num_done < end && !tasks.empty()) {
    const Task task = std::move(tasks.front());
    tasks.pop_front();
    ++num_done;
    for (const Watched& watched : task.watched) {
      if (checksum(watched.data, watched.bytes) == watched.checksum) continue;
      fail(task.name, "host memory changed between the call and its run");
    }
    // After an error a chip's results mean nothing, and its addresses may not be followed.
    if (status.ok()) task.run(*reference);
  }
}

FarStream::FarStream(std::shared_ptr<FarMemory> memory, std::unique_ptr<Stream> reference)
    : queue_(std::make_shared<Queue>()) {
  queue_->memory = std::move(memory);
  queue_->reference = std::move(reference);
}

void FarStream::submit(Task task) {
  const std::lock_guard lock(queue_->memory->mutex());
  queue_->tasks.push_back(std::move(task));
}

void FarStream::check_device(std::string_view name, const void* data, int64_t bytes) {
  const std::lock_guard lock(queue_->memory->mutex());
  if (bytes > 0 && !queue_->memory->holds(data, bytes)) {
    queue_->fail(name, fmt::format("{} bytes at {} are not in device memory", bytes, data));
  }
}

void FarStream::check_weight(std::string_view name, const WeightView& w) {
  check_device(name, w.data, w.rows * w.row_bytes);
  if (w.scale == nullptr) return;
  const int64_t scales = ceil_div(w.rows, w.scale_rows) * ceil_div(w.cols, w.scale_cols);
  check_device(name, w.scale, scales * static_cast<int64_t>(sizeof(float)));
}

void FarStream::copy_in(void* device_dst, const void* host_src, int64_t bytes) {
  check_device("copy_in", device_dst, bytes);
  submit({.name = "copy_in",
          .watched = {watch(host_src, static_cast<size_t>(bytes))},
          .run = [=](Stream& s) { s.copy_in(device_dst, host_src, bytes); }});
}

void FarStream::copy_out(void* host_dst, const void* device_src, int64_t bytes) {
  check_device("copy_out", device_src, bytes);
  if (bytes > 0) std::memset(host_dst, 0xA5, static_cast<size_t>(bytes));  // nothing to see yet
  submit({.name = "copy_out", .watched = {}, .run = [=](Stream& s) {
            s.copy_out(host_dst, device_src, bytes);
          }});
}

void FarStream::fill_zero(void* device_dst, int64_t bytes) {
  check_device("fill_zero", device_dst, bytes);
  submit({.name = "fill_zero", .watched = {}, .run = [=](Stream& s) {
            s.fill_zero(device_dst, bytes);
          }});
}

Event FarStream::record() {
  const std::lock_guard lock(queue_->memory->mutex());
  const int64_t end = queue_->num_done + static_cast<int64_t>(queue_->tasks.size());
  return {.state = std::make_shared<FarEvent>(FarEvent{queue_, end})};
}

void FarStream::wait(const Event& event) {
  CHECK(event.state != nullptr);
  submit({.name = "wait", .watched = {}, .run = [state = event.state](Stream&) {
            const auto& waited = *static_cast<const FarEvent*>(state.get());
            waited.queue->run_until(waited.end);
          }});
}

Status FarStream::synchronize() {
  const std::lock_guard lock(queue_->memory->mutex());
  queue_->run_until(queue_->num_done + static_cast<int64_t>(queue_->tasks.size()));
  return queue_->status;
}

void FarStream::submit_op(Op op, std::initializer_list<TensorView> tensors,
                          std::initializer_list<WeightView> weights,
                          std::function<void(Stream&)> run) {
  for (const TensorView& x : tensors) check_device(op_name(op), x.data, x.extent_bytes());
  for (const WeightView& weight : weights) check_weight(op_name(op), weight);
  submit({.name = op_name(op), .watched = {}, .run = std::move(run)});
}

template <typename Args>
void FarStream::submit_attention(Op op, const Args& args, std::initializer_list<TensorView> tensors,
                                 std::initializer_list<WeightView> weights,
                                 void (Stream::*method)(const Args&)) {
  // The struct may go when the call returns; the arrays behind it stay.
  const BatchView batch = *args.batch;
  std::vector<Watched> watched;
  for (const auto& [name, array] : arrays_of(batch)) {
    watched.push_back(watch(array->host));
    check_device(op_name(op), array->device.data, static_cast<int64_t>(array->host.size_bytes()));
  }
  for (const TensorView& x : tensors) check_device(op_name(op), x.data, x.extent_bytes());
  for (const WeightView& weight : weights) check_weight(op_name(op), weight);
  submit({.name = op_name(op),
          .watched = std::move(watched),
          .run = [args, batch, method, op, queue = queue_.get()](Stream& reference) {
            for (const auto& [name, array] : arrays_of(batch)) {
              if (array->host.empty() || std::memcmp(array->host.data(), array->device.data,
                                                     array->host.size_bytes()) == 0) {
                continue;
              }
              queue->fail(op_name(op), fmt::format("{} differs between host and device", name));
              return;
            }
            Args copied = args;
            copied.batch = &batch;
            (reference.*method)(copied);
          }});
}

void FarStream::embed(const EmbedArgs& a) {
  submit_op(Op::kEmbed, {a.ids, a.out}, {a.table}, [a](Stream& s) { s.embed(a); });
}
void FarStream::rms_norm(const RmsNormArgs& a) {
  submit_op(Op::kRmsNorm, {a.x, a.weight, a.out}, {}, [a](Stream& s) { s.rms_norm(a); });
}
void FarStream::layer_norm(const LayerNormArgs& a) {
  submit_op(Op::kLayerNorm, {a.x, a.weight, a.bias, a.out}, {},
            [a](Stream& s) { s.layer_norm(a); });
}
void FarStream::matmul(const MatmulArgs& a) {
  submit_op(Op::kMatmul, {a.x, a.bias.empty() ? a.x : a.bias, a.out}, {a.w},
            [a](Stream& s) { s.matmul(a); });
}
void FarStream::rope(const RopeArgs& a) {
  submit_op(Op::kRope, {a.x, a.positions, a.cos_sin}, {}, [a](Stream& s) { s.rope(a); });
}
void FarStream::kv_write(const KvWriteArgs& a) {
  submit_op(Op::kKvWrite, {a.rows, a.slots, a.pages}, {}, [a](Stream& s) { s.kv_write(a); });
}
void FarStream::gqa_attention(const GqaAttentionArgs& a) {
  submit_attention(Op::kGqaAttention, a, {a.q, a.k_pages, a.v_pages, a.out}, {},
                   &Stream::gqa_attention);
}
void FarStream::per_head_matmul(const PerHeadMatmulArgs& a) {
  submit_op(Op::kPerHeadMatmul, {a.x, a.out}, {a.u.weight},
            [a](Stream& s) { s.per_head_matmul(a); });
}
void FarStream::mla_prefill_attention(const MlaPrefillAttentionArgs& a) {
  submit_attention(Op::kMlaPrefillAttention, a, {a.q, a.pages, a.out},
                   {a.up_k.weight, a.up_v.weight}, &Stream::mla_prefill_attention);
}
void FarStream::mla_decode_attention(const MlaDecodeAttentionArgs& a) {
  submit_attention(Op::kMlaDecodeAttention, a, {a.q_latent, a.q_rope, a.pages, a.out}, {},
                   &Stream::mla_decode_attention);
}
void FarStream::index_scores(const IndexScoresArgs& a) {
  submit_attention(Op::kIndexScores, a, {a.q, a.weights, a.pages, a.out}, {},
                   &Stream::index_scores);
}
void FarStream::index_top_k(const IndexTopKArgs& a) {
  submit_op(Op::kIndexTopK, {a.scores, a.out}, {}, [a](Stream& s) { s.index_top_k(a); });
}
void FarStream::mla_sparse_attention(const MlaSparseAttentionArgs& a) {
  submit_attention(Op::kMlaSparseAttention, a, {a.q_latent, a.q_rope, a.pages, a.positions, a.out},
                   {}, &Stream::mla_sparse_attention);
}
void FarStream::swiglu(const SwigluArgs& a) {
  submit_op(Op::kSwiglu, {a.gate, a.up, a.out}, {}, [a](Stream& s) { s.swiglu(a); });
}
void FarStream::moe_gate(const MoeGateArgs& a) {
  submit_op(Op::kMoeGate, {a.logits, a.bias.empty() ? a.logits : a.bias, a.ids, a.weights}, {},
            [a](Stream& s) { s.moe_gate(a); });
}
void FarStream::moe_permute(const MoePermuteArgs& a) {
  submit_op(Op::kMoePermute, {a.ids, a.token_of_row, a.row_of_choice, a.expert_offsets}, {},
            [a](Stream& s) { s.moe_permute(a); });
}
void FarStream::grouped_matmul(const GroupedMatmulArgs& a) {
  for (const TensorView& tensor : {a.x, a.expert_offsets, a.out}) {
    check_device("grouped_matmul", tensor.data, tensor.extent_bytes());
  }
  for (const WeightView& expert : a.experts) check_weight("grouped_matmul", expert);
  submit({.name = "grouped_matmul", .watched = {watch(a.experts)}, .run = [a](Stream& s) {
            s.grouped_matmul(a);
          }});
}
void FarStream::moe_combine(const MoeCombineArgs& a) {
  submit_op(Op::kMoeCombine, {a.rows, a.row_of_choice, a.weights, a.out}, {},
            [a](Stream& s) { s.moe_combine(a); });
}
void FarStream::gather_rows(const GatherRowsArgs& a) {
  submit_op(Op::kGatherRows, {a.x, a.rows, a.out}, {}, [a](Stream& s) { s.gather_rows(a); });
}
void FarStream::add(const AddArgs& a) {
  submit_op(Op::kAdd, {a.a, a.b, a.out}, {}, [a](Stream& s) { s.add(a); });
}
void FarStream::copy(const CopyArgs& a) {
  submit_op(Op::kCopy, {a.x, a.out}, {}, [a](Stream& s) { s.copy(a); });
}
void FarStream::top_logits(const TopLogitsArgs& a) {
  submit_op(Op::kTopLogits, {a.x, a.values, a.ids}, {}, [a](Stream& s) { s.top_logits(a); });
}

}  // namespace ferry::far
