// See line_reader.h.
#include "cmd/line_reader.h"

#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <filesystem>
#include <string_view>

#include "cmd/interrupt.h"

namespace ferry::cmd {
namespace {

constexpr int kHistoryLines = 1000;

// libedit reads bytes as the locale says; ferry speaks UTF-8 whatever that is.
void use_utf8() {
  if (std::setlocale(LC_CTYPE, "") != nullptr &&
      std::string_view(nl_langinfo(CODESET)) == "UTF-8") {
    return;
  }
  std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineReader::State {
  EditLine* editor = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string history_file;
  std::string prompt;
};

namespace {

// One character for libedit: 1, 0 at the end, -1 when Ctrl-C came first. libedit's own reader would
// go on waiting after a signal.
int read_character(EditLine*, wchar_t* character) {
  std::mbstate_t state{};
  while (true) {
    pollfd waiting[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_descriptor(), POLLIN, 0}};
    if (poll(waiting, 2, -1) < 0 && errno != EINTR) return -1;
    if (interrupted()) return -1;
    if (waiting[0].revents == 0) continue;
    char byte = 0;
    const ssize_t count = read(STDIN_FILENO, &byte, 1);
    if (count <= 0) return static_cast<int>(count);
    const size_t used = std::mbrtowc(character, &byte, 1, &state);
    if (used == static_cast<size_t>(-2)) continue;  // the character goes on
    if (used == static_cast<size_t>(-1)) *character = 0xFFFD;
    return 1;
  }
}

// libedit asks for the prompt by a callback; the text travels in its client data.
char* current_prompt(EditLine* editor) {
  void* prompt = nullptr;
  el_get(editor, EL_CLIENTDATA, &prompt);
  return static_cast<std::string*>(prompt)->data();
}

}  // namespace

std::string history_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::string(state) + "/ferry/history";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.local/state/ferry/history";
  return "";
}

LineReader::LineReader(std::string history_file) : state_(std::make_unique<State>()) {
  use_utf8();
  state_->history_file = std::move(history_file);
  state_->history = history_init();
  history(state_->history, &state_->event, H_SETSIZE, kHistoryLines);
  history(state_->history, &state_->event, H_SETUNIQUE, 1);
  if (!state_->history_file.empty()) {
    history(state_->history, &state_->event, H_LOAD, state_->history_file.c_str());
  }
  state_->editor = el_init("ferry", stdin, stdout, stderr);
  el_set(state_->editor, EL_CLIENTDATA, &state_->prompt);
  el_set(state_->editor, EL_PROMPT, current_prompt);
  el_set(state_->editor, EL_EDITOR, "emacs");
  el_set(state_->editor, EL_SIGNAL, 0);  // Ctrl-C reaches our own handler
  el_set(state_->editor, EL_GETCFN, read_character);
  el_set(state_->editor, EL_HIST, ::history, state_->history);
  // While an answer is printed the terminal reads lines by itself; a Ctrl-D typed then would be
  // lost instead of waiting here as a key.
  el_set(state_->editor, EL_SETTY, "-x", "eof=", nullptr);
  el_set(state_->editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_source(state_->editor, nullptr);  // the user's ~/.editrc has the last word
}

LineReader::~LineReader() {
  if (!state_->history_file.empty()) {
    std::error_code ignored;  // no history is no reason to complain on the way out
    std::filesystem::create_directories(std::filesystem::path(state_->history_file).parent_path(),
                                        ignored);
    history(state_->history, &state_->event, H_SAVE, state_->history_file.c_str());
    chmod(state_->history_file.c_str(), S_IRUSR | S_IWUSR);
  }
  el_end(state_->editor);
  history_end(state_->history);
}

LineReader::Outcome LineReader::read(const std::string& prompt, std::string& line) {
  state_->prompt = prompt;
  clear_interrupt();
  int count = 0;
  const char* text = el_gets(state_->editor, &count);
  if (interrupted()) {
    clear_interrupt();
    el_reset(state_->editor);
    std::fputs("\n", stdout);
    return Outcome::kInterrupted;
  }
  if (text == nullptr || count <= 0) return Outcome::kEnd;
  line.assign(text, static_cast<size_t>(count));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return Outcome::kLine;
}

void LineReader::remember(const std::string& line) {
  if (!line.empty()) history(state_->history, &state_->event, H_ENTER, line.c_str());
}

}  // namespace ferry::cmd
