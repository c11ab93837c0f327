// The table of one instruction set. Included last by kernels_ISA.cc, after its vec_ISA.h.
#pragma once

#include "backends/cpu/attention_kernels.h"
#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/matmul_kernels.h"
#include "backends/cpu/row_kernels.h"

namespace ferry::cpu::FERRY_ISA {

namespace {

constexpr Kernels make_kernels(const char* name, const Decoder* decoders, int num_decoders,
                               void (*matmul)(const MatmulBlock&) = matmul_block) {
  return {
      .name = name,
      .lanes = kLanes,
      .decoders = decoders,
      .num_decoders = num_decoders,
      .matmul_scratch_floats = matmul_scratch_floats,
      .matmul_block = matmul,
      .decode_rows = decode_rows,
      .gemm = gemm,
      .transpose = transpose,
      .softmax_row = softmax_row,
      .key_scores = key_scores,
      .add_values = add_values,
      .blend = blend,
      .rms_norm = rms_norm,
      .add = add,
      .multiply = multiply,
      .swiglu = swiglu,
      .weighted_sum = weighted_sum,
      .rope_half = rope_half,
      .rope_interleaved = rope_interleaved,
      .to_f32 = to_f32,
      .from_f32 = from_f32,
      .scale_int8 = scale_int8,
  };
}

}  // namespace
}  // namespace ferry::cpu::FERRY_ISA
