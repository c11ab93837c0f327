// DeepSeek's chat formats, for DeepSeek checkpoints that come without a chat template. The exact
// strings are those of the model cards and of the templates DeepSeek published later:
//
//   V2    B{system}⏎⏎User: {q}⏎⏎Assistant: {a}E…Assistant:
//   V3    B{system}<｜User｜>{q}<｜Assistant｜>{a}E…<｜Assistant｜>
//   R1    as V3; the prompt ends in <｜Assistant｜><think>⏎
//   V3.1  …<｜Assistant｜></think>{a}E…<｜Assistant｜><think>, or …</think> without thinking
//   V3.2  as V3.1; thoughts stay until the user speaks again; calls and results are elements (DSML)
//   V4    as V3.2; results are a part of what the user says; thoughts stay where there are tools. A
//         message with a "task" ends in <｜title｜>, <｜query｜> …, or, for an action, in
//         <｜Assistant｜></think><｜action｜>, and what follows is not an answer but that
// B and E are the begin- and end-of-sentence tokens, ⏎ a newline.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace ferry::text {

enum class DeepSeekFormat { kV2, kV3, kR1, kV31, kV32, kV4 };

struct DeepSeekOptions {
  Json tools;                   // array of OpenAI tool objects, or null; not V2
  bool thinking = false;        // V3.1 and later; R1 always thinks
  bool thinking_given = false;  // thinking was asked for or refused, not left to the format
  bool most_effort = false;     // V4, thinking: as hard as it can
  bool add_generation_prompt = true;
  std::string bos = "<｜begin▁of▁sentence｜>";
  std::string eos = "<｜end▁of▁sentence｜>";
};

// `messages`: objects with "role" and "content" (a string or null); an assistant's may have
// "reasoning_content" and "tool_calls", in V4 any may have a "task". Errors name the message or
// tool.
Result<std::string> encode_deepseek(DeepSeekFormat format, const Json& messages,
                                    const DeepSeekOptions& options);

// The format of a checkpoint without a template, by what only its family has; nullopt: not
// DeepSeek, no format to fall back on.
//   deepseek_v2 → V2;  deepseek_v3 whose vocabulary has <think> as a token → V3.1 (which R1's and
//   V3's own prompts are subsets of);  deepseek_v3 otherwise → V3;  deepseek_v32 with the token
//   ｜DSML｜ → V3.2, else V3.1;  deepseek_v4 → V4.
std::optional<DeepSeekFormat> deepseek_format_for(
    std::string_view model_type, const std::function<bool(std::string_view)>& has_token);

// json.dumps(value, ensure_ascii=False) of Python: ", " and ": " between parts.
std::string python_json(const Json& value);

}  // namespace ferry::text
