// MaskThread: finds the allowed tokens of constrained answers while the model computes the logits
// they will be applied to. Both need the tokens chosen so far and nothing of each other.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/answer_constraint.h"

namespace ferry::engine {

// Used by one thread, the engine's. The thread starts with the first work there is.
class MaskThread {
 public:
  MaskThread() = default;
  ~MaskThread();
  MaskThread(const MaskThread&) = delete;
  MaskThread& operator=(const MaskThread&) = delete;

  // Nobody else may touch `constraints` before finish() came back.
  void start(std::vector<AnswerConstraint*> constraints);
  void finish();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<AnswerConstraint*> work_;  // empty: nothing is left to do
  bool stopping_ = false;
  std::thread thread_;  // last: runs only when everything else is there
};

}  // namespace ferry::engine
