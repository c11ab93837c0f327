// `ferry doctor --conformance`: the conformance suite on a chip of the user's, and a report of it.
#pragma once

#include <string>

namespace ferry::cmd {

struct ConformanceFlags {
  std::string backend;  // empty: every chip but the reference
  std::string filter;   // cases whose name contains this
  std::string out;      // file for the report; empty: none
  bool json = false;    // the report on standard output
};

// Exit code: 0 if every case passed or isn't supported, 1 otherwise.
int check_conformance(const ConformanceFlags& flags);

}  // namespace ferry::cmd
