// The seam. A Backend is one chip: memory, streams and the op table. Nothing above device/ knows
// which chip it is; nothing below knows which model runs.
//
//   Backend   memory, what the chip is, what it supports, importing weights   (thread-safe)
//   Stream    an in-order queue of copies and ops                            (one thread at a time)
//   Buffer    a piece of device memory; keeps its backend alive
//
// Ops return nothing: they may run later. The first error of a stream sticks and comes out of
// synchronize(). A caller follows a device address only through copy_out().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "device/communicator.h"
#include "device/ops.h"

namespace ferry {

class PlanStream;

struct DeviceSpec {
  std::string backend;            // "cpu"
  std::string name;               // what the maker calls it
  std::string detail;             // instruction set, driver: one line for `ferry doctor`
  int64_t memory_bytes = 0;       // 0: unknown
  int compute_units = 0;          // threads, SMs, cube cores
  bool host_memory = false;       // its memory is the host's: ranks on it share that
  bool weights_in_place = false;  // weights are used where the file is mapped, without a copy
  bool weights_on_demand =
      false;                     // experts may be left where they can be read (HostWeight::source)
  bool batch_invariant = false;  // the bits of a row never depend on the other rows of a call
  // What matmuls round their f32 operands to, relative to the largest of a block of 32: 0 (f32),
  // 2^-9 (bf16), 1/254 (int8); the most over all formats (see Backend::weight_rounding()). The
  // conformance suite allows as much error, no more.
  double matmul_rounding = 0;
  // Names the form that weights are packed in (HostWeight::pack): where two backends say the same,
  // each can use what the other packed (Backend::packed_form()). Empty: none that could be kept.
  std::string packed_layout;
};

struct MemoryInfo {
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
};

// Of weights that are read on demand, since the backend was opened.
struct OnDemandStats {
  int64_t limit_bytes = 0;   // of memory for them
  int64_t kept_bytes = 0;    // of it, in use
  int64_t hits = 0;          // matrices that an op wanted and found in memory
  int64_t misses = 0;        // that it had to wait for
  int64_t guesses = 0;       // read because expect_experts() named them
  int64_t guesses_used = 0;  // of these, wanted by an op before they were dropped again
  int64_t read_bytes = 0;
  double read_seconds = 0;  // with at least one read going on
  double wait_seconds = 0;  // in which ops waited for reads

  // What was counted since `earlier`.
  OnDemandStats since(const OnDemandStats& earlier) const;
};

struct Buffer {
  std::shared_ptr<void> owner;  // frees the memory, then lets go of the backend
  void* data = nullptr;         // device address, aligned to at least 64 bytes
  int64_t bytes = 0;
};

struct Event {
  std::shared_ptr<void> state;  // the backend's own
};

class Stream {
 public:
  virtual ~Stream() = default;

  // `src` / `dst` on the host stay unchanged / unread until the stream is synchronised.
  virtual void copy_in(void* device_dst, const void* host_src, int64_t bytes) = 0;
  virtual void copy_out(void* host_dst, const void* device_src, int64_t bytes) = 0;
  virtual void fill_zero(void* device_dst, int64_t bytes) = 0;

  virtual Event record() = 0;                 // marks this point of the queue
  virtual void wait(const Event& event) = 0;  // what follows runs after another stream's event
  virtual Status synchronize() = 0;           // everything done; the first error, if any
  // The queue as the vendor's own libraries know it, for its collectives; nullptr: there is none.
  virtual void* native_queue() { return nullptr; }

  // No ops: what is queued from one to the other is a step that will probably come again, with the
  // same shapes and addresses, so that a chip may keep it as a whole. Memory that it uses stays
  // until the stream is synchronised.
  virtual void begin_step() {}
  virtual void end_step() {}

  // Takes the memory that PlanStream::scratch_bytes() counted, so that no op has to find any later.
  // Errors: kOutOfMemory. REQUIRES: nothing was queued yet
  virtual Status reserve_scratch(int64_t bytes) {
    static_cast<void>(bytes);
    return {};
  }

  virtual void embed(const EmbedArgs& args) = 0;
  virtual void rms_norm(const RmsNormArgs& args) = 0;
  virtual void layer_norm(const LayerNormArgs& args) = 0;
  virtual void matmul(const MatmulArgs& args) = 0;
  virtual void rope(const RopeArgs& args) = 0;
  virtual void kv_write(const KvWriteArgs& args) = 0;
  virtual void gqa_attention(const GqaAttentionArgs& args) = 0;
  virtual void per_head_matmul(const PerHeadMatmulArgs& args) = 0;
  virtual void mla_prefill_attention(const MlaPrefillAttentionArgs& args) = 0;
  virtual void mla_decode_attention(const MlaDecodeAttentionArgs& args) = 0;
  virtual void index_scores(const IndexScoresArgs& args) = 0;
  virtual void index_top_k(const IndexTopKArgs& args) = 0;
  virtual void mla_sparse_attention(const MlaSparseAttentionArgs& args) = 0;
  virtual void swiglu(const SwigluArgs& args) = 0;
  virtual void moe_gate(const MoeGateArgs& args) = 0;
  virtual void moe_permute(const MoePermuteArgs& args) = 0;
  virtual void grouped_matmul(const GroupedMatmulArgs& args) = 0;
  virtual void moe_combine(const MoeCombineArgs& args) = 0;
  virtual void gather_rows(const GatherRowsArgs& args) = 0;
  virtual void add(const AddArgs& args) = 0;
  virtual void copy(const CopyArgs& args) = 0;

  // Fused ops: a backend may override them; the default is the composite (device/composites.cc).
  virtual void add_rms_norm(const AddRmsNormArgs& args);
  virtual void moe_experts(const MoeExpertsArgs& args);

  // Not one op but several: matmul() of each, none of which reads what another writes. They mostly
  // share x, so that a backend can compute them as one job.
  virtual void matmuls(std::span<const MatmulArgs> products);

  // No op: experts that a later moe_experts or grouped_matmul will probably want. The next such op
  // reads its own first, then these while it computes. What was named before is forgotten.
  virtual void expect_experts(const ExpectExpertsArgs&) {}

  // Ops of DeepSeek-V4 and of sampling: the default copies what it needs to the host, computes
  // there (device/host_ops.h) and copies the result back, waiting for the queue twice.
  virtual void hyper_collapse(const HyperCollapseArgs& args);
  virtual void hyper_expand(const HyperExpandArgs& args);
  virtual void compress(const CompressArgs& args);
  virtual void entry_scores(const EntryScoresArgs& args);
  virtual void window_attention(const WindowAttentionArgs& args);
  virtual void moe_hash_gate(const MoeHashGateArgs& args);
  virtual void clamped_swiglu(const ClampedSwigluArgs& args);
  virtual void top_logits(const TopLogitsArgs& args);
};

class Backend : public std::enable_shared_from_this<Backend> {
 public:
  virtual ~Backend() = default;

  virtual const DeviceSpec& spec() const = 0;
  virtual Result<MemoryInfo> memory_info() const = 0;

  // Contents are undefined. Errors: kOutOfMemory with what was asked and what is free.
  virtual Result<Buffer> allocate(int64_t bytes) = 0;
  // Bytes of device memory that allocate() takes for so many.
  virtual int64_t allocation_bytes(int64_t bytes) const { return bytes; }
  // Host memory that copies to and from this chip like best (pinned). The host may touch it.
  virtual Result<Buffer> allocate_host(int64_t bytes) = 0;
  virtual Result<std::unique_ptr<Stream>> create_stream() = 0;
  // A stream for dry runs (device/plan_stream.h) that also counts what this chip's ops will take of
  // device memory for themselves. The default: nothing.
  virtual std::unique_ptr<PlanStream> create_plan_stream() const;

  // Takes a weight: in place, copied or packed. The host memory may go once `keep_alive` is let go.
  virtual Result<Weight> import_weight(const HostWeight& weight) = 0;
  // Bytes of device memory import_weight() will allocate for this weight (0: used in place).
  virtual int64_t import_bytes(const HostWeight& weight) const = 0;

  // Packs what import_weight() has left for later (HostWeight::when_packed), with all threads and
  // for about so many seconds; returns the bytes that are left. Results are the same before, while
  // and after. Thread-safe, though steps and this are quicker in turns than side by side.
  virtual int64_t pack_more(double seconds) {
    static_cast<void>(seconds);
    return 0;
  }
  // What a weight was packed to, import_bytes() of it in host memory; nullptr: it is not (yet).
  // REQUIRES: DeviceSpec::packed_layout is not empty, and this backend imported the weight
  virtual const uint8_t* packed_form(const WeightView& weight) const {
    static_cast<void>(weight);
    return nullptr;
  }

  // Memory for weights that are read on demand: as many bytes of them are kept as fit, those used
  // last. REQUIRES: spec().weights_on_demand
  virtual void set_on_demand_memory(int64_t bytes) { static_cast<void>(bytes); }
  virtual OnDemandStats on_demand_stats() const { return {}; }

  // Joins devices of this backend for collectives, rank 0 first, which is this one; a communicator
  // for each. The default goes through host memory.
  // REQUIRES: every rank's backend has the name of this one, and made the rank's stream
  virtual Result<Communicators> connect(std::span<const Rank> ranks);

  virtual bool supports(const OpQuery& query) const = 0;
  // DeviceSpec::matmul_rounding of products with weights of one format.
  virtual double weight_rounding(const quant::StorageFormat& format) const {
    static_cast<void>(format);
    return spec().matmul_rounding;
  }
  // The same of attention over pages of one dtype: queries, probabilities, what is expanded.
  virtual double attention_rounding(Dtype pages) const {
    static_cast<void>(pages);
    return spec().matmul_rounding;
  }
};

struct BackendOptions {
  int device = 0;   // index among the devices of this backend
  int threads = 0;  // of a backend that computes with host threads; 0: one per physical core
  // Products in f32 also where rounding activations to int8 would be faster.
  bool f32_activations = false;
};

// One row of the table of backends, generated from src/backends/*/backend.cc.
struct BackendEntry {
  std::string_view name;
  // Devices that could be opened now. Never fails: no library or no chip is 0 devices; `why` then
  // says what was looked for and what was found instead.
  int (*count_devices)(std::string* why);
  Result<std::shared_ptr<Backend>> (*open)(const BackendOptions& options);
};

std::span<const BackendEntry* const> all_backends();
Result<std::shared_ptr<Backend>> open_backend(std::string_view name, const BackendOptions& options);

}  // namespace ferry
