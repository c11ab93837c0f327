// What only a test inside the process can see: a server whose model is still loading, one whose
// model can't be loaded, and a planner of the test's own. tests/serve has the rest, over the real
// binary.
#include "server/http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <future>
#include <thread>

namespace ferry::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// The whole answer to one request on a connection of its own.
std::string ask(const Server& server, const std::string& request) {
  const int port = std::stoi(server.url().substr(server.url().rfind(':') + 1));
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      send(descriptor, request.data(), request.size(), MSG_NOSIGNAL) > 0) {
    char buffer[4096];
    for (ssize_t n; (n = recv(descriptor, buffer, sizeof buffer, 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  close(descriptor);
  return answer;
}

// A connection that asks and then goes away without having read anything.
void ask_and_leave(const Server& server, const std::string& request,
                   const std::function<void()>& before_leaving) {
  const int port = std::stoi(server.url().substr(server.url().rfind(':') + 1));
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_GT(send(descriptor, request.data(), request.size(), MSG_NOSIGNAL), 0);
  before_leaving();
  close(descriptor);
}

std::string plan_request(const std::string& body, const std::string& more_headers = {}) {
  return "POST /plan HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + more_headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string get(const Server& server, const std::string& path) {
  return ask(server, "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

TEST(Server, SaysThatItIsLoadingAndWhyItCouldNot) {
  Result<std::unique_ptr<Server>> server = Server::listen({.port = 0, .version = "1"});
  ASSERT_TRUE(server.ok()) << server.error().message;
  std::promise<void> go;
  std::future<Server::Ending> ending = std::async(std::launch::async, [&] {
    return (*server)->run(
        [&]() -> Result<Engine> {
          go.get_future().wait();
          return out_of_memory("there is no room");
        },
        [](const Engine&) { ADD_FAILURE() << "nothing was loaded"; });
  });
  EXPECT_THAT(get(**server, "/livez"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(get(**server, "/"), StartsWith("HTTP/1.1 200 "));
  for (const char* path : {"/readyz", "/health", "/v1/models"}) {
    const std::string answer = get(**server, path);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(answer, HasSubstr("\r\nRetry-After: "));
  }
  EXPECT_THAT(ask(**server,
                  "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                  "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"),
              HasSubstr(R"("code":"loading")"));
  EXPECT_THAT(get(**server, "/metrics"), HasSubstr("ferry_num_requests_running"));
  go.set_value();
  const Server::Ending ended = ending.get();
  ASSERT_TRUE(ended.load_error.has_value());
  EXPECT_EQ(ended.load_error->message, "there is no room");
  EXPECT_FALSE(ended.still_loading);
}

// A server without a model, running for as long as this lives.
class Running {
 public:
  explicit Running(ServerOptions options) {
    options.port = 0;
    server_ = std::move(Server::listen(std::move(options))).value();
    ending_ = std::async(std::launch::async, [this] {
      server_->run(
          [this]() -> Result<Engine> {
            go_.get_future().wait();
            return out_of_memory("no model");
          },
          [](const Engine&) {});
    });
  }
  ~Running() {
    go_.set_value();
    ending_.wait();
  }
  const Server& operator*() const { return *server_; }

 private:
  std::unique_ptr<Server> server_;
  std::promise<void> go_;
  std::future<void> ending_;
};

void wait_for(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

TEST(Server, PlansWithoutAModel) {
  Planner planner;
  planner.plan = [](std::string_view body, const auto&) -> api::ApiResult<api::Body> {
    if (body == "bad") return api::invalid_value("rate", "expected a number");
    return api::Body{R"({"asked":)" + std::to_string(body.size()) + "}"};
  };
  planner.catalogue = []() -> api::ApiResult<api::Body> { return api::Body{R"({"chips":[]})"}; };
  const auto authorize = [](std::string_view key) { return key == "k"; };
  const Running server({.authorize = authorize, .planner = planner});
  const std::string key = "Authorization: Bearer k\r\n";
  EXPECT_THAT(ask(*server, plan_request("{}", key)), HasSubstr("\r\n\r\n{\"asked\":2}"));
  const std::string refused = ask(*server, plan_request("bad", key));
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(refused, HasSubstr(R"("param":"rate")"));
  EXPECT_THAT(ask(*server, plan_request("{}")), StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(get(*server, "/plan/catalogue"), StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(get(*server, "/plan"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(ask(*server, "GET /v1/plan/catalogue HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" +
                               key + "\r\n"),
              HasSubstr("{\"chips\":[]}"));
  EXPECT_THAT(ask(*server, plan_request("{}", key + "Content-Type: text/plain\r\n")),
              StartsWith("HTTP/1.1 415 "));
  const std::string huge = ask(*server, plan_request(std::string((64 << 10) + 1, ' '), key));
  EXPECT_THAT(huge, StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask(*server, "POST /plan HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + key +
                               "Transfer-Encoding: chunked\r\n\r\n10001\r\n" +
                               std::string(0x10001, ' ') + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413 "));
  const Running without({});
  EXPECT_THAT(ask(*without, plan_request("{}")), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(get(*without, "/plan/catalogue"), StartsWith("HTTP/1.1 404 "));
}

// The planner of these waits until it is told to stop; one that never is hangs the test.
TEST(Server, EndsASearchThatTakesTooLongOrThatNobodyWaitsFor) {
  std::atomic<int> begun = 0, stopped = 0;
  Planner planner;
  planner.catalogue = []() -> api::ApiResult<api::Body> { return api::Body{"{}"}; };
  planner.plan = [&](std::string_view, const auto& stop) -> api::ApiResult<api::Body> {
    ++begun;
    wait_for(stop);
    ++stopped;
    return api::ApiError{503, "stopped", {}, {}};
  };
  {
    const Running server({.planner = planner, .plan_timeout_s = 0.05});
    const std::string late = ask(*server, plan_request("{}"));
    EXPECT_THAT(late, StartsWith("HTTP/1.1 400 "));
    EXPECT_THAT(late, HasSubstr(R"("code":"search_too_long")"));
  }
  std::thread client;
  {
    const Running server({.planner = planner, .plan_timeout_s = 3600});
    ask_and_leave(*server, plan_request("{}"), [&] { wait_for([&] { return begun == 2; }); });
    wait_for([&] { return stopped == 2; });
    // The rest of the server answers meanwhile, the catalogue too, and its end does not wait for a
    // search.
    client = std::thread([&server] { EXPECT_EQ(ask(*server, plan_request("{}")), ""); });
    wait_for([&] { return begun == 3; });
    EXPECT_THAT(get(*server, "/livez"), StartsWith("HTTP/1.1 200 "));
    EXPECT_THAT(get(*server, "/plan/catalogue"), StartsWith("HTTP/1.1 200 "));
  }
  client.join();
  EXPECT_EQ(stopped, 3);
}

TEST(Server, AddressesThatCanNotBeHad) {
  Result<std::unique_ptr<Server>> first = Server::listen({.port = 0});
  ASSERT_TRUE(first.ok());
  const std::string url = (*first)->url();
  const int port = std::stoi(url.substr(url.rfind(':') + 1));
  const Result<std::unique_ptr<Server>> second = Server::listen({.port = port});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().kind, ErrorKind::kIo);
  const Result<std::unique_ptr<Server>> open = Server::listen({.host = "0.0.0.0", .port = 0});
  ASSERT_FALSE(open.ok());
  EXPECT_EQ(open.error().kind, ErrorKind::kInvalidInput);
}

}  // namespace
}  // namespace ferry::server
