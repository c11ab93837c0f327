// What only a test inside the process can see: a server whose model is still loading, and one whose
// model can't be loaded. tests/serve has the rest, over the real binary.
#include "server/http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

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
