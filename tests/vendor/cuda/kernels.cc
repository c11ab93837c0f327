// The kernels of the cuda backend, compiled for the emulated device.
#include "vendor/cuda/simt.h"
// Kernels are written in the words of simt.h.
#include "backends/cuda/kernels/attention.cuh"
#include "backends/cuda/kernels/expand.cuh"
#include "backends/cuda/kernels/flash_attention.cuh"
#include "backends/cuda/kernels/linear.cuh"
#include "backends/cuda/kernels/mma.cuh"
#include "backends/cuda/kernels/mma_attention.cuh"
#include "backends/cuda/kernels/moe.cuh"
#include "backends/cuda/kernels/rows.cuh"
#include "backends/cuda/kernels/top_logits.cuh"
#include "backends/cuda/kernels/v4.cuh"
