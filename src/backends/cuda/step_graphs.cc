// Steps that come again: see step_graphs.h.
#include "backends/cuda/step_graphs.h"

#include <algorithm>
#include <utility>

namespace ferry::cuda {

void StepGraphs::begin() {
  CHECK(!open_);
  open_ = true;
  interrupted_ = false;
  launches_.clear();
  launched_ = 0;
  candidates_.clear();
  for (Step& step : steps_) candidates_.push_back(&step);
}

StepGraphs::ToLaunch StepGraphs::add(Launch launch) {
  const size_t i = launches_.size();
  std::erase_if(candidates_, [&](const Step* step) {
    return i >= step->launches.size() || step->launches[i] != launch;
  });
  launches_.push_back(std::move(launch));
  return candidates_.empty() ? release() : ToLaunch{};
}

StepGraphs::ToLaunch StepGraphs::interrupt() {
  interrupted_ = true;
  candidates_.clear();
  return release();
}

StepGraphs::ToLaunch StepGraphs::release() {
  const ToLaunch now = held_back();
  launched_ = launches_.size();
  return now;
}

StepGraphs::ToLaunch StepGraphs::held_back() const {
  return ToLaunch(launches_).subspan(launched_);
}

StepGraphs::Step* StepGraphs::end() {
  open_ = false;
  const auto same = std::find_if(candidates_.begin(), candidates_.end(), [&](const Step* step) {
    return step->launches.size() == launches_.size();
  });
  if (same == candidates_.end()) return nullptr;
  const auto found =
      std::find_if(steps_.begin(), steps_.end(), [&](const Step& step) { return &step == *same; });
  steps_.splice(steps_.begin(), steps_, found);
  return &steps_.front();
}

GraphExec StepGraphs::remember() {
  if (interrupted_ || launches_.empty()) return nullptr;
  steps_.push_front({.launches = std::exchange(launches_, {})});
  if (steps_.size() <= kMostSteps) return nullptr;
  const GraphExec forgotten = steps_.back().graph;
  steps_.pop_back();
  return forgotten;
}

}  // namespace ferry::cuda
