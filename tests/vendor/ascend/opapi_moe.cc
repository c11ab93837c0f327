// libopapi.so, emulated: rows by index, and the gate of experts.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "vendor/ascend/emulated_acl.h"

namespace emulated {
namespace {

struct Gate {
  int64_t k, k_group, groups, group_mode, norm;
  double scale, epsilon;
};

std::vector<float> norm_of(const Tensor& x, int64_t row, int64_t norm) {
  const int64_t n = x.sizes[1];
  std::vector<float> scores(static_cast<size_t>(n));
  float largest = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, x.at(row * n + i));
  for (int64_t i = 0; i < n; ++i) {
    const float value = x.at(row * n + i);
    scores[i] = norm == kGateSigmoid ? 1 / (1 + std::exp(-value)) : std::exp(value - largest);
    sum += scores[i];
  }
  for (float& score : scores) score = norm == kGateSigmoid ? score : score / sum;
  return scores;
}

// The `count` largest; among equals the lower index.
std::vector<int64_t> largest_of(const std::vector<float>& values, int64_t count) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return values[a] > values[b]; });
  order.resize(static_cast<size_t>(count));
  return order;
}

std::vector<float> without_groups(const std::vector<float>& biased, const Gate& gate) {
  const int64_t size = static_cast<int64_t>(biased.size()) / gate.groups;
  std::vector<float> of_group;
  for (int64_t g = 0; g < gate.groups; ++g) {
    std::vector<float> group(biased.begin() + g * size, biased.begin() + (g + 1) * size);
    std::sort(group.rbegin(), group.rend());
    of_group.push_back(gate.group_mode == kGroupSumOfTopTwo ? group[0] + group[1] : group[0]);
  }
  std::vector<float> kept(biased.size(), -INFINITY);
  for (int64_t g : largest_of(of_group, gate.k_group)) {
    std::copy_n(biased.begin() + g * size, size, kept.begin() + g * size);
  }
  return kept;
}

void choose_experts(const Tensor& x, const Tensor& bias, const Gate& gate, const Tensor& weights,
                    const Tensor& ids) {
  for (int64_t row = 0; row < x.sizes[0]; ++row) {
    const std::vector<float> scores = norm_of(x, row, gate.norm);
    std::vector<float> biased = scores;
    for (size_t i = 0; bias.data != nullptr && i < biased.size(); ++i) {
      biased[i] += bias.at(static_cast<int64_t>(i));
    }
    const std::vector<int64_t> chosen = largest_of(without_groups(biased, gate), gate.k);
    double sum = 0;
    for (int64_t e : chosen) sum += scores[e];
    const double divisor = gate.norm == kGateSigmoid ? sum + gate.epsilon : 1;
    for (int64_t j = 0; j < gate.k; ++j) {
      weights.put(row * gate.k + j, static_cast<float>(scores[chosen[j]] / divisor * gate.scale));
      reinterpret_cast<int32_t*>(ids.data)[ids.offset_of(row * gate.k + j)] =
          static_cast<int32_t>(chosen[j]);
    }
  }
}

}  // namespace
}  // namespace emulated

using emulated::Call;
using emulated::Tensor;

extern "C" {

int aclnnIndexSelectGetWorkspaceSize(const AclTensor* self, int64_t dim, const AclTensor* index,
                                     AclTensor* out, uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnIndexSelect");
  const Tensor table = call.tensor(self), which = call.tensor(index), to = call.tensor(out);
  call.require(dim == 0 && table.sizes.size() == 2 && to.sizes.size() == 2);
  call.require(which.dtype == kAclInt32 && which.sizes.size() == 1 && table.dtype == to.dtype);
  call.require(call.ok() && to.sizes[0] == which.sizes[0] && to.sizes[1] == table.sizes[1]);
  return call.make(
      [table, which, to] {
        const int64_t size = emulated::bytes_of(table.dtype);
        for (int64_t i = 0; i < to.sizes[0]; ++i) {
          const int64_t row = which.integer(which.offset_of(i));
          if (row < 0 || row >= table.sizes[0]) return kRtAicoreException;
          for (int64_t j = 0; j < to.sizes[1]; ++j) {
            std::copy_n(table.data + (row * table.strides[0] + j * table.strides[1]) * size, size,
                        to.data + (i * to.strides[0] + j * to.strides[1]) * size);
          }
        }
        return 0;
      },
      workspace, executor);
}

int aclnnScatterNdUpdateGetWorkspaceSize(AclTensor* var, const AclTensor* indices,
                                         const AclTensor* updates, uint64_t* workspace,
                                         AclExecutor** executor) {
  Call call("aclnnScatterNdUpdate");
  const Tensor table = call.tensor(var), which = call.tensor(indices);
  const Tensor rows = call.tensor(updates);
  call.require(table.sizes.size() == 2 && rows.sizes.size() == 2 && which.dtype == kAclInt32);
  call.require(call.ok() && which.sizes == std::vector<int64_t>{rows.sizes[0], 1} &&
               rows.sizes[1] == table.sizes[1] && rows.dtype == table.dtype);
  return call.make(
      [table, which, rows] {
        const int64_t size = emulated::bytes_of(table.dtype);
        for (int64_t i = 0; i < rows.sizes[0]; ++i) {
          const int64_t row = which.integer(which.offset_of(i));
          if (row < 0 || row >= table.sizes[0]) return kRtAicoreException;
          for (int64_t j = 0; j < rows.sizes[1]; ++j) {
            std::copy_n(rows.data + (i * rows.strides[0] + j * rows.strides[1]) * size, size,
                        table.data + (row * table.strides[0] + j * table.strides[1]) * size);
          }
        }
        return 0;
      },
      workspace, executor);
}

int aclnnMoeGatingTopKGetWorkspaceSize(const AclTensor* x, const AclTensor* bias, int64_t k,
                                       int64_t k_group, int64_t groups, int64_t group_mode,
                                       int64_t renorm, int64_t norm, bool wants_scores,
                                       double scale, double epsilon, const AclTensor* y,
                                       const AclTensor* expert_ids, const AclTensor* scores,
                                       uint64_t* workspace, AclExecutor** executor) {
  Call call("aclnnMoeGatingTopK");
  const Tensor logits = call.tensor(x), weights = call.tensor(y), ids = call.tensor(expert_ids);
  const Tensor all = call.tensor(scores);
  const Tensor shift = bias == nullptr ? Tensor{} : call.tensor(bias);
  call.require(renorm == 0 && !wants_scores && (norm == kGateSoftmax || norm == kGateSigmoid));
  call.require(logits.sizes.size() == 2 && emulated::is_float(logits) &&
               weights.dtype == logits.dtype && ids.dtype == kAclInt32);
  if (!call.ok()) return call.make(nullptr, workspace, executor);
  const int64_t experts = logits.sizes[1];
  call.require(experts <= 2048 && groups >= 1 && experts % groups == 0 && k_group >= 1 &&
               k_group <= groups && k >= 1 && k <= experts / groups * k_group);
  call.require(groups == 1 || experts / groups > 2);
  call.require(all.dtype == kAclFloat && emulated::same_sizes(all, logits));
  call.require(weights.sizes == std::vector<int64_t>{logits.sizes[0], k} &&
               emulated::same_sizes(weights, ids));
  call.require(bias == nullptr || (shift.count() == experts && shift.dtype == logits.dtype));
  const emulated::Gate gate{.k = k,
                            .k_group = k_group,
                            .groups = groups,
                            .group_mode = group_mode,
                            .norm = norm,
                            .scale = scale,
                            .epsilon = epsilon};
  return call.make(
      [logits, shift, gate, weights, ids] {
        emulated::choose_experts(logits, shift, gate, weights, ids);
        return 0;
      },
      workspace, executor);
}

}  // extern "C"
