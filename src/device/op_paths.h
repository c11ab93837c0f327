// What a backend over a vendor's libraries can tell about itself, for `ferry doctor`: which of the
// operations there it uses for each op, or which fall-back, and how far that has been shown to be
// right. Inherited beside Backend by those that have something to tell.
//
// Grades of proof, never said higher than they are:
//   1 emulated   right on an emulation of the libraries of our own: it shows the calls against our
//                reading of the documentation
//   2 headers    prototypes and constants held against the vendor's headers
//   3 replayed   a user's conformance report of a real chip, replayed on the emulation
//   4 silicon    run by us on the chip
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "device/communicator.h"
#include "device/ops.h"

namespace ferry {

struct OpPath {
  Op op = Op::kEmbed;
  std::string how;         // symbols of the vendor, or the fall-back and why
  std::string_view proof;  // "emulated", "headers", "replayed", "silicon"
};

class OpPaths {
 public:
  virtual ~OpPaths() = default;
  // One for each op.
  virtual std::vector<OpPath> op_paths() const = 0;
  // One for each collective.
  virtual std::vector<CollectivePath> collective_paths() const = 0;
};

}  // namespace ferry
