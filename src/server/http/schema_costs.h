// SchemaCosts: which schemas of requests were quick to compile when they came last, so that those
// need not wait behind schemas that nobody has seen. Thread-safe.
#pragma once

#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

#include "server/api/exchange.h"

namespace ferry::server {

// What of a job the engine has to compile before it can begin, as text; empty: nothing.
std::string schemas_of(const api::Job& job);

class SchemaCosts {
 public:
  bool is_quick(const std::string& schemas) const;
  // `seconds` of a processor: how busy it was with others says nothing about a schema.
  void note(const std::string& schemas, double seconds);

 private:
  static constexpr double kQuickSeconds = 0.02;
  static constexpr size_t kMaxEntries = 256;
  static constexpr size_t kMaxBytes = 16 << 10;  // of one; longer ones are never quick

  mutable std::mutex mutex_;      // guards what follows
  std::list<std::string> quick_;  // the latest first
  std::unordered_map<std::string_view, std::list<std::string>::iterator> index_;  // into quick_
};

}  // namespace ferry::server
