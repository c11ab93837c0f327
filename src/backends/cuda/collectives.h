// Collectives of NVIDIA devices by NCCL.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/nccl.h"
#include "device/communicator.h"

namespace ferry::cuda {

struct NcclRank {
  std::shared_ptr<Device> device;
  DriverStream stream = nullptr;
};

// One for each rank, in order.
Result<Communicators> connect_by_nccl(const std::shared_ptr<const Nccl>& nccl,
                                      std::span<const NcclRank> ranks);

// What each collective goes by: functions of NCCL, or the host, as load_nccl() says why.
std::vector<CollectivePath> describe_collectives();

}  // namespace ferry::cuda
