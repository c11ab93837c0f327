// See server.h.
#include "server/http/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <thread>
#include <utility>

#include "server/http/connection.h"
#include "server/http/hub.h"

namespace ferry::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick(100);
constexpr std::chrono::seconds kLastWords(2);  // for errors to reach clients at the end of a drain
constexpr size_t kMaxWaitingBodies = 4096;
constexpr size_t kMaxWaitingSchemas = 64;
constexpr size_t kMaxWaitingPlans = 16;
constexpr int kCompilerNiceness = 5;
constexpr int kPlannerNiceness = 10;

std::string name_for_metrics(const ServerOptions& options) {
  return options.names.empty() ? "default" : options.names.front();
}

// Two thousand clients are two thousand descriptors.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int num_workers() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 2, 1, 4);
}

}  // namespace

Hub::Hub(ServerOptions server_options)
    : options(std::move(server_options)),
      metrics(options.vllm_metric_names, name_for_metrics(options)),
      compilers(std::make_unique<Workers>(num_workers(), kMaxWaitingSchemas, kCompilerNiceness)),
      planners(std::make_unique<Workers>(1, kMaxWaitingPlans, kPlannerNiceness)),
      workers(std::make_unique<Workers>(num_workers(), kMaxWaitingBodies)) {}

Hub::~Hub() {
  ending = true;
  connections.clear();
}

void Hub::wake(uint64_t connection) {
  if (!wakeups.note(connection)) return;
  asio::post(io, [this] {
    for (const uint64_t id : wakeups.take()) {
      const auto found = connections.find(id);
      if (found == connections.end()) continue;
      const std::shared_ptr<Connection> alive = found->second;  // pump() may close it
      alive->pump();
    }
  });
}

void Hub::closed(uint64_t connection) { connections.erase(connection); }

class Server::Impl {
 public:
  explicit Impl(ServerOptions options)
      : hub_(std::move(options)), acceptor_(hub_.io), timer_(hub_.io), signals_(hub_.io) {}

  Status listen() {
    raise_descriptor_limit();
    const ServerOptions& options = hub_.options;
    error_code error;
    tcp::resolver resolver(hub_.io);
    const auto found =
        resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
    if (error || found.empty()) return io_error("--host: {}: {}", options.host, error.message());
    const tcp::endpoint endpoint = found.begin()->endpoint();
    hub_.loopback = endpoint.address().is_loopback();
    if (!hub_.loopback && !options.authorize && !options.allow_unauthenticated) {
      return invalid_input(
          "--host: {} can be reached by others, so API keys are needed (--api-key-file), or "
          "--allow-unauthenticated",
          options.host);
    }
    if (!options.access_log.empty()) {
      FERRY_TRY(hub_.log, AccessLog::open(options.access_log));
    }
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error)
      return io_error("--host, --port: {} {}: {}", options.host, options.port, error.message());
    const tcp::endpoint bound = acceptor_.local_endpoint(error);
    const std::string address = bound.address().to_string();
    url_ = bound.address().is_v6() ? "http://[" + address + "]" : "http://" + address;
    url_ += ":" + std::to_string(bound.port());
    return {};
  }

  Ending run(std::function<Result<Engine>()> load, std::function<void(const Engine&)> ready) {
    for (const int signal : {SIGTERM, SIGINT}) {
      error_code ignored;
      signals_.add(signal, ignored);
    }
    wait_for_signal();
    accept();
    tick();
    loading_ = true;
    std::thread loader(
        [this, load = std::move(load), ready = std::move(ready)] { load_engine(load, ready); });
    hub_.io.run();
    if (loading_) {
      loader.detach();
      ending_.still_loading = true;
    } else {
      loader.join();
    }
    return std::move(ending_);
  }

  const std::string& url() const { return url_; }

 private:
  // On the loading thread.
  void load_engine(const std::function<Result<Engine>()>& load,
                   const std::function<void(const Engine&)>& ready) {
    Result<Engine> engine = load();
    if (!engine.ok()) {
      asio::post(hub_.io, [this, error = engine.error()] {
        loading_ = false;
        ending_.load_error = error;
        hub_.io.stop();
      });
      return;
    }
    const ServerOptions& options = hub_.options;
    auto served = std::make_shared<std::unique_ptr<ServedEngine>>(std::make_unique<ServedEngine>(
        std::move(engine).value(),
        ServedEngineOptions{options.names, options.strict_names, options.thinking}));
    asio::post(hub_.io, [this, served, ready] {
      loading_ = false;
      hub_.engine = std::move(*served);
      ready(hub_.engine->engine());
    });
  }

  void accept() {
    acceptor_.async_accept([this](const error_code& error, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (error) {
        // Out of descriptors, most likely: somebody has to leave before the next one can come.
        accepting_ = false;
        return;
      }
      if (hub_.connections.size() < hub_.options.max_connections) {
        const uint64_t id = ++last_id_;
        auto connection = std::make_shared<Connection>(id, std::move(socket), hub_);
        hub_.connections.emplace(id, connection);
        connection->start();
      }
      accept();
    });
  }

  void wait_for_signal() {
    signals_.async_wait([this](const error_code& error, int) {
      if (error) return;
      if (hub_.draining) {
        ending_.forced = true;
        hub_.io.stop();
        return;
      }
      drain();
      wait_for_signal();
    });
  }

  void drain() {
    hub_.draining = true;
    error_code ignored;
    acceptor_.close(ignored);
    drain_end_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(hub_.options.drain_timeout_s));
    for_each([](Connection& connection) { connection.drain(); });
  }

  // Connections may close, and so leave the map, while they are walked.
  template <typename F>
  void for_each(F act) {
    std::vector<std::shared_ptr<Connection>> all;
    all.reserve(hub_.connections.size());
    for (const auto& [id, connection] : hub_.connections) all.push_back(connection);
    for (const auto& connection : all) act(*connection);
  }

  void tick() {
    timer_.expires_after(kTick);
    timer_.async_wait([this](const error_code& error) {
      if (error) return;
      const Clock::time_point now = Clock::now();
      for_each([now](Connection& connection) { connection.tick(now); });
      if (!accepting_ && acceptor_.is_open()) {
        accepting_ = true;
        accept();
      }
      if (hub_.draining && !go_on_draining(now)) return;
      tick();
    });
  }

  // False: that was the end.
  bool go_on_draining(Clock::time_point now) {
    if (!aborted_ && now >= drain_end_) {
      aborted_ = true;
      const api::ApiError error{503, "the server is shutting down", {}, "shutting_down"};
      for_each([&error](Connection& connection) { connection.abort(error); });
    }
    if (!hub_.connections.empty() && now < drain_end_ + kLastWords) return true;
    hub_.io.stop();
    return false;
  }

  Hub hub_;
  tcp::acceptor acceptor_;
  asio::steady_timer timer_;
  asio::signal_set signals_;
  std::string url_;
  Ending ending_;
  bool loading_ = false;
  bool accepting_ = true;
  bool aborted_ = false;
  uint64_t last_id_ = 0;
  Clock::time_point drain_end_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::listen(ServerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  FERRY_TRY_VOID(impl->listen());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::string& Server::url() const { return impl_->url(); }

Server::Ending Server::run(std::function<Result<Engine>()> load,
                           std::function<void(const Engine&)> ready) {
  return impl_->run(std::move(load), std::move(ready));
}

}  // namespace ferry::server
