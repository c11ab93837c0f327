// POST completions (and /beta/completions): a text is continued as it stands. Prompts are a string,
// token ids, or an array of either; with `suffix` the model fills the gap between the two, where
// its vocabulary has the marks for that.
#pragma once

#include <string_view>

#include "server/api/exchange.h"
#include "server/api/served_model.h"

namespace ferry::server::api {

struct CompletionBody {
  std::vector<Prompt> prompts;
  std::vector<std::string> echoes;  // the text of each prompt where the answer begins with it
  SamplingParams sampling;
  StopConditions stop;
  std::optional<Constraint> constraint;
  std::string cache_scope;
  int priority = 0;
  int64_t num_choices = 1;  // of each prompt
  bool stream = false;
  bool include_usage = false;
};

ApiResult<CompletionBody> read_completion_body(const ServedModel& model, std::string_view body);

// The whole route. `model` outlives the Job.
ApiResult<Reply> completions(const ServedModel& model, std::string_view body);

// The ids that ask a model to write what stands between prefix and suffix:
//   [bos] begin prefix hole suffix end. Errors: a vocabulary without such marks.
Result<std::vector<int32_t>> infill_prompt(const ServedModel& model, const std::string& prefix,
                                           const std::string& suffix);

}  // namespace ferry::server::api
