// See answer_constraint.h.
#include "engine/answer_constraint.h"

#include <bit>

#include "base/check.h"
#include "base/quote_name.h"

namespace ferry::engine {
namespace {

using Kind = grammar::ConstraintText::Kind;

grammar::VocabularyRef sorted_vocabulary(const text::Tokenizer& tokenizer, int64_t vocab_size,
                                         std::span<const int32_t> eos_token_ids) {
  std::vector<grammar::VocabularyToken> tokens;
  tokens.reserve(static_cast<size_t>(vocab_size));
  for (int32_t id = 0; id < vocab_size; ++id) {
    tokens.push_back({std::string(tokenizer.token_bytes(id)), tokenizer.is_added(id)});
  }
  return std::make_shared<const grammar::Vocabulary>(std::move(tokens), eos_token_ids);
}

constexpr std::string_view kOpenThoughts = "<think>";
constexpr std::string_view kCloseThoughts = "</think>";

void spell(const text::ToolCallSpelling& spelling, grammar::ToolCallText& calls) {
  calls.lead = spelling.lead;
  calls.begin = spelling.begin;
  calls.before_name = spelling.before_name;
  calls.before_arguments = spelling.before_arguments;
  calls.after_arguments = spelling.after_arguments;
  calls.between = spelling.between;
  calls.end = spelling.end;
  calls.numbered = spelling.numbered;
  if (!spelling.elements.has_value()) return;
  const text::ElementSpelling& elements = *spelling.elements;
  calls.elements = {.begin = std::string(elements.begin),
                    .text = std::string(elements.text),
                    .json = std::string(elements.json),
                    .value_end = std::string(elements.value_end),
                    .end = std::string(elements.end),
                    .behind = std::string(elements.behind),
                    .none = std::string(elements.none),
                    .typed = elements.typed};
}

// The other kinds begin their messages with their field already.
Error in_field(Error error, Kind kind) {
  if (kind != Kind::kJsonSchema || error.message.rfind("schema:", 0) == 0) return error;
  return error.in("schema");
}

}  // namespace

grammar::ConstraintText constraint_text(const Constraint& constraint) {
  grammar::ConstraintText text;
  switch (constraint.kind) {
    case Constraint::kJsonObject: text.kind = Kind::kJsonObject; break;
    case Constraint::kJsonSchema: text.kind = Kind::kJsonSchema; break;
    case Constraint::kRegex: text.kind = Kind::kRegex; break;
    case Constraint::kChoice: text.kind = Kind::kChoice; break;
  }
  text.text = constraint.text;
  text.choices = constraint.choices;
  return text;
}

Result<std::optional<grammar::ToolCallText>> call_constraint(std::optional<text::ToolFormat> format,
                                                             const Json& tools,
                                                             const ToolChoice& choice,
                                                             bool parallel, bool held) {
  grammar::ToolCallText calls;
  calls.required = choice.kind == ToolChoice::kRequired || choice.kind == ToolChoice::kNamed;
  calls.parallel = parallel && choice.kind != ToolChoice::kNamed;
  bool any_strict = false;
  for (const Json& tool : tools) {
    const Json* function = tool.is_object() ? json_find(tool, "function") : nullptr;
    if (function == nullptr || !function->is_object()) continue;
    FERRY_TRY(std::string name, json_string_or(*function, "name", ""));
    if (choice.kind == ToolChoice::kNamed && name != choice.name) continue;
    FERRY_TRY(const bool strict, json_bool_or(*function, "strict", false));
    any_strict |= strict;
    const Json* parameters = json_find(*function, "parameters");
    calls.tools.push_back({.name = std::move(name),
                           .parameters = parameters == nullptr ? std::string() : parameters->dump(),
                           .strict = strict});
  }
  if (calls.required && calls.tools.empty()) {
    return invalid_input("tool_choice: {} is none of the tools", quote_name(choice.name));
  }
  if (calls.tools.empty() || !(calls.required || any_strict || held)) {
    return std::optional<grammar::ToolCallText>();
  }
  if (!format.has_value()) {
    if (!calls.required) return std::optional<grammar::ToolCallText>();
    return unsupported("tool_choice: this model can't be made to call a tool; use auto");
  }
  const text::ToolCallSpelling spelling = text::tool_call_spelling(*format);
  // Bare JSON can't be told from an answer before it is over.
  const bool has_marker = !spelling.begin.empty() || spelling.before_name.front() == '<';
  if (!has_marker && !calls.required && !held) return std::optional<grammar::ToolCallText>();
  spell(spelling, calls);
  return std::optional<grammar::ToolCallText>(std::move(calls));
}

void allow_thoughts(bool opened, std::string_view rendered, const text::Tokenizer& tokenizer,
                    grammar::ConstraintText& constraint) {
  if (opened) {
    constraint.after = kCloseThoughts;
    return;
  }
  // A model that has the marker opens its thoughts itself, unless the prompt has closed them.
  const size_t end = rendered.find_last_not_of(" \t\r\n");
  const bool closed =
      end != std::string_view::npos && rendered.substr(0, end + 1).ends_with(kCloseThoughts);
  if (closed || !tokenizer.token_id(kOpenThoughts).has_value()) return;
  constraint.after = kCloseThoughts;
  constraint.opening = kOpenThoughts;
}

Result<grammar::GrammarRef> ConstraintCompiler::compile(const grammar::ConstraintText& constraint) {
  std::call_once(once_, [this] {
    compiler_ = std::make_unique<grammar::Compiler>(
        sorted_vocabulary(tokenizer_, vocab_size_, eos_token_ids_));
  });
  Result<grammar::GrammarRef> grammar = compiler_->compile(constraint);
  if (!grammar.ok()) return in_field(grammar.error(), constraint.kind);
  return grammar;
}

AnswerConstraint::AnswerConstraint(grammar::GrammarRef grammar)
    : matcher_(std::move(grammar)), mask_(matcher_.grammar().vocabulary().mask_words()) {}

void AnswerConstraint::prepare() {
  if (prepared_) return;
  prepared_ = true;
  matcher_.fill_mask(mask_);
  num_allowed_ = 0;
  for (const uint32_t word : mask_) num_allowed_ += std::popcount(word);
  num_others_ = num_allowed_;
  for (const int32_t id : matcher_.grammar().vocabulary().end_ids()) {
    num_others_ -= mask_[static_cast<size_t>(id) / 32] >> (id % 32) & 1;
  }
}

void AnswerConstraint::accept(int32_t token) {
  CHECK(matcher_.accept(token));
  prepared_ = false;
}

}  // namespace ferry::engine
