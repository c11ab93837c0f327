// `ferry run` as a person meets it: the real binary on a pseudo-terminal, and in pipes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"

namespace ferry::cmd {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{60};

std::string state_folder() {
  static const std::string path = [] {
    std::string name = ::testing::TempDir() + "ferry_state_XXXXXX";
    return std::string(mkdtemp(name.data()));
  }();
  return path;
}

// In the child. `state` was made by the parent, which looks into it later.
[[noreturn]] void become(const std::vector<std::string>& arguments, const std::string& state,
                         bool no_color) {
  setenv("XDG_STATE_HOME", state.c_str(), 1);
  setenv("TERM", "dumb", 1);
  no_color ? setenv("NO_COLOR", "1", 1) : unsetenv("NO_COLOR");
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// The program on a terminal of its own.
class Session {
 public:
  explicit Session(std::vector<std::string> arguments, bool no_color = false) {
    arguments.insert(arguments.begin(), FERRY_BINARY);
    const std::string state = state_folder();
    child_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (child_ == 0) become(arguments, state, no_color);
  }
  ~Session() {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      wait_for(child_);
    }
    close(terminal_);
  }

  void type(const std::string& text) {
    ASSERT_EQ(write(terminal_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  // Reads until `text` is seen; what came up to its end. Fails when patience runs out.
  std::string until(const std::string& text) {
    const auto deadline = Clock::now() + kPatience;
    while (true) {
      const size_t at = unread_.find(text);
      if (at != std::string::npos) {
        std::string seen = unread_.substr(0, at + text.size());
        unread_.erase(0, seen.size());
        return seen;
      }
      if (Clock::now() > deadline || !read_more()) {
        ADD_FAILURE() << "never saw \"" << text << "\" in: " << unread_;
        return unread_;
      }
    }
  }

  // Waits for the program to end by itself; fails, and ends it, when patience runs out.
  int exit_code() {
    const auto deadline = Clock::now() + kPatience;
    while (Clock::now() < deadline && read_more()) {
    }
    int status = 0;
    while (waitpid(child_, &status, WNOHANG) == 0) {
      if (Clock::now() > deadline) {
        ADD_FAILURE() << "still running; last seen: " << unread_;
        kill(child_, SIGKILL);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  bool read_more() {
    pollfd ready{terminal_, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(kPatience.count()) * 1000) <= 0) return false;
    char buffer[4096];
    const ssize_t count = read(terminal_, buffer, sizeof buffer);
    if (count <= 0) return false;
    unread_.append(buffer, static_cast<size_t>(count));
    return true;
  }

  int terminal_ = -1;
  pid_t child_ = -1;
  std::string unread_;
};

struct Output {
  int exit_code = 0;
  std::string out;
};

// The program with text as standard input; what it wrote to standard output.
Output pipe_through(std::vector<std::string> arguments, const std::string& input) {
  arguments.insert(arguments.begin(), FERRY_BINARY);
  int in[2], out[2];
  EXPECT_EQ(pipe(in), 0);
  EXPECT_EQ(pipe(out), 0);
  const std::string state = state_folder();
  const pid_t child = fork();
  if (child == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    for (int fd : {in[0], in[1], out[0], out[1]}) close(fd);
    become(arguments, state, false);
  }
  close(in[0]);
  close(out[1]);
  EXPECT_EQ(write(in[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
  close(in[1]);
  Output output;
  char buffer[4096];
  for (ssize_t count; (count = read(out[0], buffer, sizeof buffer)) > 0;) {
    output.out.append(buffer, static_cast<size_t>(count));
  }
  close(out[0]);
  output.exit_code = wait_for(child);
  return output;
}

TEST(Run, AChatFromHelloToExit) {
  Session session({"run"});
  session.until("built-in model");
  session.until("> ");
  session.type("What is 347 + 589?\n");
  const std::string answer = session.until("936.\r\n");
  EXPECT_NE(answer.find("\033[2m"), std::string::npos) << "reasoning is dimmed";
  session.until("tokens/s");
  session.type("/thinking off\n");
  session.until("thinking: off");
  session.type("/reset\n");
  session.until("forgotten");
  session.type("\"\"\"\nHello!\n\"\"\"\n");
  session.until("How can I help you?");
  session.type("/set temperature hot\n");
  session.until("temperature: \"hot\"");
  session.type("/nonsense\n");
  session.until("no such command");
  const std::string file = state_folder() + "/chat.json";
  session.type("/save " + file + "\n");
  session.until("2 messages");
  session.type("/reset\n");
  session.until("forgotten");
  session.type("/load " + file + "\n");
  session.until("2 messages");
  session.type("/exit\n");
  EXPECT_EQ(session.exit_code(), 0);
  EXPECT_TRUE(std::filesystem::exists(state_folder() + "/ferry/history"));
}

TEST(Run, CtrlCStopsTheAnswerAndNotTheProgram) {
  Session session({"run", "--ignore-eos", "--no-thinking"}, true);
  session.until("> ");
  session.type("Hello!\n");
  session.until("Hello! How");
  session.type("\x03");
  session.until("> ");  // long before the context was full
  session.type("half a li\x03");
  session.until("leaves)");
  session.until("> ");
  session.type("/set\n");
  const std::string shown = session.until("seed random");
  EXPECT_EQ(shown.find("\033[2m"), std::string::npos) << "NO_COLOR";
  session.type("\x04");
  EXPECT_EQ(session.exit_code(), 0);
}

TEST(Run, CtrlDTypedDuringAnAnswerLeavesAfterIt) {
  Session session({"run", "--no-thinking", "--ignore-eos", "-n", "200"}, true);
  session.until("> ");
  session.type("Hello!\n");
  session.until("Hello! How");
  session.type("\x04");
  EXPECT_EQ(session.exit_code(), 0);
}

TEST(Run, OneShotAndPipes) {
  Output output = pipe_through({"run", "-p", "What is 347 + 589?"}, "");
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(output.out, "The answer is 936.\n");  // a pipe gets the answer alone
  output = pipe_through({"run", "--reasoning", "show"}, "What is 347 + 589?");
  EXPECT_EQ(output.out.rfind("347 + 589:", 0), 0u) << output.out;
  EXPECT_NE(output.out.find("\n\nThe answer is 936.\n"), std::string::npos);
  EXPECT_EQ(output.out.find('\033'), std::string::npos);

  output = pipe_through({"run", "-p", "-", "--json"}, "What is 347 + 589?");
  const Result<Json> result = parse_json(output.out);
  ASSERT_TRUE(result.ok()) << output.out;
  EXPECT_EQ((*result)["text"], "The answer is 936.");
  EXPECT_NE((*result)["reasoning"].get<std::string>().find("so 936"), std::string::npos);
  EXPECT_EQ((*result)["finish_reason"], "stop");
  EXPECT_GT((*result)["usage"]["reasoning_tokens"], 10);

  EXPECT_EQ(pipe_through({"run", "-p", ""}, "").exit_code, 2);
  EXPECT_EQ(pipe_through({"run", "/no/such/model", "-p", "x"}, "").exit_code, 2);
  EXPECT_EQ(pipe_through({"run", "-p", "x", "--top-p", "7"}, "").exit_code, 2);
  EXPECT_EQ(pipe_through({"run", "--no-such-flag"}, "").exit_code, 2);
}

TEST(Complete, TextsEchoStopAndLogprobs) {
  const std::string prompt = "<｜User｜>Hello!<｜Assistant｜></think>";
  Output output = pipe_through({"complete", "-p", prompt}, "");
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(output.out, "Hello! How can I help you?\n");
  output = pipe_through({"complete", "--echo", "--stop", " can"}, prompt);
  EXPECT_EQ(output.out, prompt + "Hello! How\n");

  output = pipe_through({"complete", "-p", prompt, "--json", "--logprobs", "2", "-n", "2"}, "");
  const Result<Json> result = parse_json(output.out);
  ASSERT_TRUE(result.ok()) << output.out;
  EXPECT_EQ((*result)["finish_reason"], "length");
  EXPECT_EQ((*result)["tokens"].size(), 2u);
  ASSERT_EQ((*result)["logprobs"].size(), 2u);
  EXPECT_EQ((*result)["logprobs"][0]["top"].size(), 2u);
  EXPECT_EQ((*result)["logprobs"][0]["text"], "Hello");
  EXPECT_LE((*result)["logprobs"][0]["logprob"], 0.0);

  EXPECT_EQ(pipe_through({"complete", "-p", prompt, "--logprobs", "2"}, "").exit_code, 2);
  EXPECT_EQ(pipe_through({"complete", "-p", prompt, "--logit-bias", "x"}, "").exit_code, 2);
}

}  // namespace
}  // namespace ferry::cmd
