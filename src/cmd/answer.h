// Prints an answer as it comes: reasoning dimmed, then the text, and calls of tools on lines of
// their own. A terminal never gets a control
// character that the model made up; a file or pipe gets the text as it is.
#pragma once

#include <string>

#include "ferry/ferry.h"

namespace ferry::cmd {

enum class ShowReasoning { kAuto, kShow, kHide };  // kAuto: on a terminal only

struct AnswerStyle {
  bool terminal = false;  // of stdout
  bool color = false;     // it may get escape sequences
  ShowReasoning reasoning = ShowReasoning::kAuto;
};

// What stdout is, now.
AnswerStyle detect_answer_style(ShowReasoning reasoning);

// Reads the stream to its end and prints to stdout as it goes. Ctrl-C cancels the request, as does
// a stdout that can't be written to. What came back is whole.
Completion print_answer(TokenStream stream, const AnswerStyle& style);
// The same without printing.
Completion collect_answer(TokenStream stream);

// 0, or 130 if the answer was cut off by Ctrl-C.
int finish_exit_code(const Finish& finish);

// C0 and C1 controls but newline and tab as \x1b; everything else stays.
std::string without_controls(std::string_view text);

}  // namespace ferry::cmd
