// Collectives of Ascend devices by HCCL.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/ascend/device.h"
#include "backends/ascend/hccl.h"
#include "device/communicator.h"

namespace ferry::ascend {

struct HcclRank {
  std::shared_ptr<Device> device;
  AclStream stream = nullptr;
};

// One for each rank, in order.
Result<Communicators> connect_by_hccl(const std::shared_ptr<const Hccl>& hccl,
                                      std::span<const HcclRank> ranks);

// What each collective goes by: functions of HCCL, or the host, as load_hccl() says why.
std::vector<CollectivePath> describe_collectives();

}  // namespace ferry::ascend
