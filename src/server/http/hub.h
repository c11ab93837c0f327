// What all connections of a server share. Everything here belongs to the thread of `io` unless it
// says otherwise; the order of members is the order in which they must go away, reversed.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "server/http/access_log.h"
#include "server/http/metrics.h"
#include "server/http/request_table.h"
#include "server/http/schema_costs.h"
#include "server/http/served_engine.h"
#include "server/http/server.h"
#include "server/http/workers.h"

namespace ferry::server {

class Connection;

// Notes of the engine thread about connections whose streams have events: however many there are
// in one step, the other thread is woken once.
class Wakeups {
 public:
  // True: the first since take(). Thread-safe, as is take().
  bool note(uint64_t connection) {
    std::lock_guard lock(mutex_);
    noted_.push_back(connection);
    return noted_.size() == 1;
  }
  std::vector<uint64_t> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(noted_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<uint64_t> noted_;
};

struct Hub {
  explicit Hub(ServerOptions server_options);
  ~Hub();

  // Of any thread: `connection` has events to take.
  void wake(uint64_t connection);
  // Of the connection itself, when its socket is closed.
  void closed(uint64_t connection);

  boost::asio::io_context io{1};
  ServerOptions options;
  bool loopback = true;  // only this machine can connect
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  bool draining = false;
  std::atomic<bool> ending{false};  // it goes away: whoever is at work for it should stop
  Metrics metrics;
  RequestTable table;
  std::vector<char> scratch = std::vector<char>(64 << 10);  // what is being read right now
  std::unique_ptr<AccessLog> log;
  Wakeups wakeups;
  std::unique_ptr<ServedEngine> engine;  // nullptr: loading
  SchemaCosts costs;
  std::unique_ptr<Workers> compilers;  // for what may take the engine long to compile
  std::unique_ptr<Workers> planners;   // for searches of the planner, one at a time
  std::unique_ptr<Workers> workers;
  size_t body_bytes = 0;  // of requests that are being read or parsed
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections;
};

}  // namespace ferry::server
