#include "cmd/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cmd/command.h"

namespace ferry::cmd {
namespace {

constexpr double kQuietSeconds = 1.0;        // quick work shows nothing
constexpr double kTerminalInterval_s = 0.1;  // between redraws
constexpr double kPlainInterval_s = 5.0;     // between lines of a log
constexpr int kBarWidth = 24;

double seconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

}  // namespace

Progress::Progress(std::string label, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_draw_(start_) {}

Progress::~Progress() {
  if (drawn_ && terminal_) std::fputs("\n", stderr);
}

void Progress::update(int64_t done, int64_t total) {
  std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  const double elapsed = seconds(now - start_);
  const bool last = done >= total;
  if (elapsed < kQuietSeconds || (last && !drawn_)) return;
  const double interval = terminal_ ? kTerminalInterval_s : kPlainInterval_s;
  if (drawn_ && !last && seconds(now - last_draw_) < interval) return;
  last_draw_ = now;
  drawn_ = true;
  draw(elapsed, done, total);
}

void Progress::draw(double elapsed_s, int64_t done, int64_t total) {
  const double share = total > 0 ? std::min(1.0, static_cast<double>(done) / total) : 0;
  const double rate = done / elapsed_s;
  const double left_s = rate > 0 ? (total - done) / rate : 0;
  const auto amount = [this](int64_t n) {
    return unit_.empty() ? format_bytes(n) : format_count(n);
  };
  const std::string numbers =
      fmt::format("{:3.0f} %  {} / {}{}  {}/s  {:.0f} s left", share * 100, amount(done),
                  amount(total), unit_, amount(static_cast<int64_t>(rate)), left_s);
  if (!terminal_) {
    std::fprintf(stderr, "%s  %s\n", label_.c_str(), numbers.c_str());
    return;
  }
  const int filled = static_cast<int>(share * kBarWidth);
  std::string bar(static_cast<size_t>(filled), '=');
  if (filled < kBarWidth) bar += '>';
  bar.resize(kBarWidth, ' ');
  std::fprintf(stderr, "\r\033[K%s  [%s]  %s", label_.c_str(), bar.c_str(), numbers.c_str());
  std::fflush(stderr);
}

}  // namespace ferry::cmd
