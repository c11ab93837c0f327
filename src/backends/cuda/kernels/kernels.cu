// All kernels, for nvcc: build.cmake compiles this to the image that image.S puts into the binary.
#include "backends/cuda/kernels/platform.cuh"
// Kernels are written in the words of the platform.
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
