// Measures the kernels that a forward is made of on one backend, through the same op table:
// products in each storage format for one token to many, experts, attention, what lies between.
// What `ferry plan --calibrate-here` writes and predicts from.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device/backend.h"
#include "plan/measured.h"

namespace ferry::cmd {

struct KernelMeasurement {
  std::vector<std::string> formats;  // those that the backend lacks or that can't be written: none
  // Of all matrices of a format: several times the caches, which else hold part of them.
  int64_t bytes = int64_t{512} << 20;
  std::vector<int64_t> hidden = {1536, 2048};  // of layers in whose shapes; multiples of 256
  int64_t tokens_max = 512;
  int64_t repeat = 9;  // the median counts
  std::function<void(int64_t done, int64_t total)> progress;
};

// Takes memory for the weights of one format at a time. Run it on an otherwise idle machine.
Result<plan::MeasuredKernels> measure_kernels(const std::shared_ptr<Backend>& backend,
                                              const KernelMeasurement& options);

}  // namespace ferry::cmd
