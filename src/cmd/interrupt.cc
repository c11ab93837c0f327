// See interrupt.h.
#include "cmd/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

namespace ferry::cmd {
namespace {

// The handler runs on any thread, and other threads ask: an atomic without a lock is both.
std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);
int g_pipe[2] = {-1, -1};

void on_interrupt(int) {
  const int saved = errno;
  g_interrupted = true;
  // A full pipe is readable already.
  [[maybe_unused]] const ssize_t written = write(g_pipe[1], "c", 1);
  errno = saved;
}

}  // namespace

void catch_interrupts() {
  if (pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return;  // Ctrl-C then ends the program
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() { return g_interrupted; }

void clear_interrupt() {
  g_interrupted = false;
  char drained[64];
  while (read(g_pipe[0], drained, sizeof drained) > 0) {
  }
}

int interrupt_descriptor() { return g_pipe[0]; }

}  // namespace ferry::cmd
