// Collectives of Cambricon devices by CNCL.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/cambricon/cncl.h"
#include "backends/cambricon/device.h"
#include "device/communicator.h"

namespace ferry::cambricon {

struct CnclRank {
  std::shared_ptr<Device> device;
  Queue queue = nullptr;
};

// One for each rank, in order.
Result<Communicators> connect_by_cncl(const std::shared_ptr<const Cncl>& cncl,
                                      std::span<const CnclRank> ranks);

// What each collective goes by: functions of CNCL, or the host, as load_cncl() says why.
std::vector<CollectivePath> describe_collectives();

}  // namespace ferry::cambricon
