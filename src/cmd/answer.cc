// See answer.h.
#include "cmd/answer.h"

#include <unistd.h>

#include <cstdio>

#include "cmd/command.h"
#include "cmd/interrupt.h"

namespace ferry::cmd {
namespace {

constexpr std::chrono::milliseconds kInterruptPoll{50};

class AnswerPrinter {
 public:
  explicit AnswerPrinter(const AnswerStyle& style) : style_(style) {
    show_reasoning_ = style.reasoning == ShowReasoning::kShow ||
                      (style.reasoning == ShowReasoning::kAuto && style.terminal);
  }

  // False: nobody can read it any more.
  bool print(const StreamEvent& event) {
    if (show_reasoning_ && !event.reasoning.empty()) {
      if (!in_reasoning_ && style_.color) std::fputs("\033[2m", stdout);
      in_reasoning_ = true;
      write(event.reasoning);
    }
    if (!event.text.empty()) {
      end_reasoning();
      write(event.text);
    }
    for (const ToolCallPiece& piece : event.tool_calls) print_call(piece);
    return std::fflush(stdout) == 0;
  }

  void finish() {
    end_reasoning();
    if (!ends_with_newline_ || !wrote_) std::fputs("\n", stdout);
    std::fflush(stdout);
  }

 private:
  void end_reasoning() {
    if (!in_reasoning_) return;
    in_reasoning_ = false;
    if (style_.color) std::fputs("\033[0m", stdout);
    std::fputs(ends_with_newline_ ? "\n" : "\n\n", stdout);
    ends_with_newline_ = true;
  }

  // A call has a line of its own: → name {"argument": 1}
  void print_call(const ToolCallPiece& piece) {
    end_reasoning();
    if (!piece.name.empty()) write((ends_with_newline_ ? "→ " : "\n→ ") + piece.name + " ");
    if (!piece.arguments.empty()) write(piece.arguments);
  }

  void write(const std::string& text) {
    const std::string shown = style_.terminal ? without_controls(text) : text;
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    wrote_ = true;
    ends_with_newline_ = shown.back() == '\n';
  }

  AnswerStyle style_;
  bool show_reasoning_ = false;
  bool in_reasoning_ = false;
  bool ends_with_newline_ = true;
  bool wrote_ = false;
};

// `show` gets every event; false: nobody can read it any more.
template <typename Show>
Completion drain(TokenStream stream, Show show) {
  Completion completion;
  bool cancelled = false;
  while (!stream.finished()) {
    if (interrupted() && !cancelled) {
      cancelled = true;
      stream.cancel();
    }
    std::optional<StreamEvent> event = stream.next_within(kInterruptPoll);
    if (!event.has_value()) continue;
    if (!show(*event) && !cancelled) {
      cancelled = true;
      stream.cancel();
    }
    completion.add(*std::move(event));
  }
  return completion;
}

}  // namespace

AnswerStyle detect_answer_style(ShowReasoning reasoning) {
  return {isatty(STDOUT_FILENO) == 1, use_color(STDOUT_FILENO), reasoning};
}

std::string without_controls(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else if (byte == 0xC2 && i + 1 < text.size() &&
               static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++i]));  // U+0080 to U+009F
    } else {
      out += text[i];
    }
  }
  return out;
}

Completion print_answer(TokenStream stream, const AnswerStyle& style) {
  AnswerPrinter printer(style);
  Completion completion =
      drain(std::move(stream), [&](const StreamEvent& event) { return printer.print(event); });
  printer.finish();
  return completion;
}

Completion collect_answer(TokenStream stream) {
  return drain(std::move(stream), [](const StreamEvent&) { return true; });
}

int finish_exit_code(const Finish& finish) {
  return finish.reason == FinishReason::kCancelled ? exit_code(ErrorKind::kCancelled) : 0;
}

}  // namespace ferry::cmd
