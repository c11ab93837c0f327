// Lines from a person at a terminal: editing, history, UTF-8 (libedit), and Ctrl-C that gives up
// the line but not the program.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace ferry::cmd {

// $XDG_STATE_HOME/ferry/history, or ~/.local/state/ferry/history; empty without a home.
std::string history_path();

class LineReader {
 public:
  enum class Outcome { kLine, kInterrupted, kEnd };

  // `history_file` is read now and written when the reader goes; empty: nothing is kept. It is
  // readable by its owner alone.
  explicit LineReader(std::string history_file);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // One line without its newline. kInterrupted: Ctrl-C; kEnd: Ctrl-D or the terminal is gone.
  Outcome read(const std::string& prompt, std::string& line);
  void remember(const std::string& line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ferry::cmd
