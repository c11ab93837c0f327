// CpuContext: what the streams of one opened cpu backend share, and what each needs for itself.
#pragma once

#include <memory>
#include <vector>

#include "backends/cpu/hot_set.h"
#include "backends/cpu/kernels.h"
#include "backends/cpu/level.h"
#include "backends/cpu/packed_weights.h"
#include "base/checked_math.h"
#include "base/thread_team.h"
#include "device/weight.h"

namespace ferry::cpu {

class CpuContext {
 public:
  // With f32_activations there are no integer kernels, and neither bf16 nor int8 ones.
  CpuContext(Level level, int threads, bool f32_activations);
  // With tiles that are not the level's: those of a test.
  CpuContext(Level level, int threads, bool f32_activations, const Bf16Tiles* tiles);

  const Kernels& kernels() const { return kernels_; }
  const IntKernels* int_kernels() const { return int_kernels_; }  // nullptr: none at this level
  // Of attention; nullptr where this level has none, and with f32 activations.
  const Bf16Kernels* bf16_kernels() const { return bf16_kernels_; }
  const Int8Kernels* int8_kernels() const { return int8_kernels_; }
  const Bf16Tiles* bf16_tiles() const { return bf16_tiles_; }  // nullptr: likewise
  ThreadTeam& team() { return team_; }
  HotSet& hot_set() const { return *hot_set_; }

  bool is_integer(const quant::StorageFormat& format) const;
  // How weights of the format are packed; nullptr: they are used as they lie.
  const PackedFormat* packed_format(const quant::StorageFormat& format) const;
  bool packs() const { return int_kernels_ != nullptr && int_kernels_->packed != nullptr; }
  PackedMemory& packed_memory() { return packed_memory_; }
  PackingQueue& packing_queue() { return packing_queue_; }
  // Ready for the kernels; without data, if it is read on demand and not in memory.
  // REQUIRES: format->decode, whole blocks per row
  WeightRows weight_rows(const WeightView& w) const;

 private:
  const Kernels& kernels_;
  const IntKernels* int_kernels_;
  const Bf16Kernels* bf16_kernels_;
  const Int8Kernels* int8_kernels_;
  const Bf16Tiles* bf16_tiles_;
  const RowForm int_rows_;
  ThreadTeam team_;
  PackedMemory packed_memory_;
  PackingQueue packing_queue_;
  const std::shared_ptr<HotSet> hot_set_ = std::make_shared<HotSet>();
  struct FormatDecoder {
    const quant::StorageFormat* format;
    DecodeFn decode;
    const IntFormat* integer;
    const PackedFormat* packed;
    bool on_tiles;  // of bf16_tiles_
  };
  std::vector<FormatDecoder> decoders_;
};

// Scratch of each member of the team, grown when an op needs more and kept. What an op needs is
// bounded by its shapes: some 300 KB for matmuls, and for attention see attention.cc.
class TeamScratch {
 public:
  explicit TeamScratch(int threads) : buffers_(static_cast<size_t>(threads)) {}

  // Makes room for `floats` per member. Not from inside a job.
  void reserve(int64_t floats);
  float* of(int thread) { return buffers_[static_cast<size_t>(thread)].get(); }

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::vector<std::unique_ptr<float, Free>> buffers_;
  int64_t floats_ = 0;
};

// Cuts one piece of scratch into arrays that start on cache lines; without one it only measures.
class ScratchCutter {
 public:
  explicit ScratchCutter(float* data = nullptr) : data_(data) {}
  float* take(int64_t floats) {
    float* start = data_ == nullptr ? nullptr : data_ + used_;
    used_ += round_up(floats, 16);
    return start;
  }
  int64_t used() const { return used_; }

 private:
  float* data_;
  int64_t used_ = 0;
};

}  // namespace ferry::cpu
