// Which launches a step of decoding makes, so that a step that comes again can be handed to the
// driver as one graph.
//
// Between begin() and end() launches are held back as long as a step that was seen before starts
// with the same ones: same kernels, grids and parameters, byte for byte. What changes from step to
// step (tokens, positions, tables of pages) lies in device memory that the parameters only point
// to. A step that is not known is launched as it comes, and remembered; when it comes for the
// second time it becomes a graph, and from then on is one call. As parameters are compared with
// each step's own, a graph never reads an address that the step would not have read.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/device.h"

namespace ferry::cuda {

// In place of a kernel of ferry's own: a product by cuBLASLt, which launches what it likes. The
// grid is nothing then, and the parameters are those of the call (LtProduct), which with the
// algorithm that the library named for its shape say all that it does.
inline constexpr Kernel kLibraryProduct = Kernel::kCount;

struct Launch {
  Kernel kernel;
  unsigned grid[3];
  unsigned threads;
  std::string params;  // the bytes of the kernel's struct
  bool operator==(const Launch&) const = default;
};

class StepGraphs {
 public:
  struct Step {
    std::vector<Launch> launches;
    GraphExec graph = nullptr;  // once it came twice
    bool refused = false;       // the driver makes none of it
  };

  // For the caller to make now, in order.
  using ToLaunch = std::span<const Launch>;

  bool is_open() const { return open_; }
  void begin();
  ToLaunch add(Launch launch);
  // Something else than a launch comes: the step can't be a graph.
  ToLaunch interrupt();
  // The step that was seen before, whose launches are all held back; nullptr: there is none, what
  // held_back() says is to be launched, and remember() to be called.
  Step* end();
  ToLaunch held_back() const;
  // The graph, if any, of a step that was forgotten for this one: for the caller to destroy.
  GraphExec remember();

  std::list<Step>& steps() { return steps_; }

 private:
  ToLaunch release();

  static constexpr size_t kMostSteps = 64;

  bool open_ = false;
  bool interrupted_ = false;
  std::vector<Launch> launches_;  // of the open step
  size_t launched_ = 0;           // of them, made already
  std::vector<Step*> candidates_;
  std::list<Step> steps_;  // the one that came last first
};

}  // namespace ferry::cuda
