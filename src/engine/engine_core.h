// EngineCore: what stands behind ferry::Engine — the loaded model, its text side and the loop. The
// only place where tokens and text meet.
#pragma once

#include <memory>
#include <vector>

#include "engine/answer_constraint.h"
#include "engine/block_keys.h"
#include "engine/chat_text.h"
#include "engine/engine_loop.h"
#include "engine/memory_sizing.h"
#include "engine/model_loader.h"
#include "engine/model_text.h"
#include "engine/output_text.h"
#include "engine/ranks.h"

namespace ferry::engine {

class EngineCore {
 public:
  static Result<std::unique_ptr<EngineCore>> load(const EngineOptions& options);

  Result<std::shared_ptr<StreamState>> submit(const Request& request) const;
  Result<std::vector<int32_t>> tokenize(const Prompt& prompt) const;
  Result<std::string> render(const ChatPrompt& chat) const { return chat_.render(chat); }

  const ModelInfo& info() const { return info_; }
  const text::Tokenizer& tokenizer() const { return tokenizer_; }
  EngineStats stats() const;

 private:
  EngineCore(text::Tokenizer tokenizer, ChatText chat, std::vector<LoadedModel> shards)
      : tokenizer_(std::move(tokenizer)), chat_(std::move(chat)), shards_(std::move(shards)) {}

  std::vector<int32_t> encode_chat(const std::string& text) const;
  TextParts chat_parts(const Request& request, const ChatPrompt& chat,
                       const std::string& rendered) const;
  // nullptr: the request sets none. `rendered`: the prompt of a chat, empty for other texts.
  Result<grammar::GrammarRef> compile_constraint(const Request& request,
                                                 const std::string& rendered) const;
  Status check_prompt(const std::vector<int32_t>& tokens, bool embeds) const;

  text::Tokenizer tokenizer_;
  ChatText chat_;
  std::vector<LoadedModel> shards_;  // of the model, one for each device
  ModelInfo info_;
  std::unique_ptr<ConstraintCompiler> constraints_;
  const BlockSecret block_secret_ = random_block_secret();
  int64_t block_size_ = 0;  // of what prompts share; 0: nothing
  Drafting drafting_;
  std::unique_ptr<EngineLoop> loop_;  // last: it uses the model until it is gone
};

}  // namespace ferry::engine
