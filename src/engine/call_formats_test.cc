// Calls that were held to their tools, in the markup of every family: whatever is drawn, the parser
// of the family reads calls out of it, and their arguments keep to the schema.
#include "engine/answer_constraint.h"
#include "grammar/testing.h"
#include "text/tool_calls.h"

namespace ferry::engine {
namespace {

using enum text::ToolFormat;

const Json& tools() {
  static const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f",
    "strict": true, "parameters": {"type": "object", "properties": {
      "city": {"type": "string", "maxLength": 6}, "unit": {"enum": ["celsius", "kelvin"]},
      "n": {"type": "integer", "minimum": 0, "maximum": 99},
      "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
      "note": {"anyOf": [{"type": "string", "pattern": "^[a-z ]{1,9}$"}, {"type": "null"}]}},
      "required": ["city", "unit"], "additionalProperties": false}}},
    {"type": "function", "function": {"name": "stop"}}])");
  return tools;
}

bool is_short_text(const Json& value, size_t max) {
  return value.is_string() && value.get_ref<const std::string&>().size() <= 4 * max;
}

void expect_valid(const Json& arguments) {
  ASSERT_TRUE(arguments.is_object()) << arguments;
  for (const auto& [name, value] : arguments.items()) {
    if (name == "city") {
      EXPECT_TRUE(is_short_text(value, 6)) << value;
    } else if (name == "unit") {
      EXPECT_TRUE(value == "celsius" || value == "kelvin") << value;
    } else if (name == "n") {
      EXPECT_TRUE(value.is_number() && value >= 0 && value <= 99) << value;
    } else if (name == "tags") {
      ASSERT_TRUE(value.is_array() && value.size() <= 2) << value;
      for (const Json& tag : value) EXPECT_TRUE(is_short_text(tag, 3)) << tag;
    } else if (name == "note") {
      EXPECT_TRUE(value.is_null() || is_short_text(value, 9)) << value;
    } else {
      ADD_FAILURE() << "no such parameter: " << name;
    }
  }
  EXPECT_TRUE(arguments.contains("city") && arguments.contains("unit")) << arguments;
}

struct Read {
  std::string text;
  std::vector<std::string> names, arguments;
};

Read read_calls(text::ToolFormat format, const std::string& answer) {
  const auto parser = text::make_tool_call_parser(format, {.tools = tools(), .new_id = {}});
  Read out;
  for (auto& piece : {parser->push(answer), parser->finish()}) {
    out.text += piece.text;
    for (const ToolCallPiece& call : piece.calls) {
      const auto index = static_cast<size_t>(call.index);
      if (out.names.size() <= index) {
        out.names.resize(index + 1);
        out.arguments.resize(index + 1);
      }
      out.names[index] += call.name;
      out.arguments[index] += call.arguments;
    }
  }
  return out;
}

class CallFormats : public ::testing::TestWithParam<text::ToolFormat> {};

TEST_P(CallFormats, HeldCallsAreReadAndValid) {
  auto calls = call_constraint(GetParam(), tools(), {.kind = ToolChoice::kRequired, .name = {}},
                               true, false);
  ASSERT_TRUE(calls.ok() && calls->has_value());
  grammar::ConstraintText constraint{.kind = grammar::ConstraintText::Kind::kText};
  constraint.calls = **calls;
  const grammar::GrammarRef grammar = grammar::compiled(constraint);
  std::mt19937 random(static_cast<unsigned>(GetParam()) + 1);
  int num_finished = 0;
  for (int i = 0; i < 30; ++i) {
    const grammar::Walk walk = grammar::random_walk(grammar, random, 1500);
    if (!walk.finished) continue;
    ++num_finished;
    const Read read = read_calls(GetParam(), walk.text);
    EXPECT_EQ(read.text, "") << walk.text;
    ASSERT_FALSE(read.names.empty()) << walk.text;
    for (size_t k = 0; k < read.names.size(); ++k) {
      const auto arguments = parse_json(read.arguments[k]);
      ASSERT_TRUE(arguments.ok()) << walk.text << "\n" << read.arguments[k];
      if (read.names[k] == "f") {
        expect_valid(*arguments);
      } else {
        EXPECT_EQ(read.names[k], "stop") << walk.text;
        EXPECT_TRUE(arguments->is_object());
      }
      if (HasFailure()) FAIL() << walk.text;
    }
  }
  EXPECT_GE(num_finished, 5);
}

INSTANTIATE_TEST_SUITE_P(All, CallFormats,
                         ::testing::Values(kDeepSeekV3, kDeepSeekV31, kDeepSeekV32, kDeepSeekV4,
                                           kHermes, kQwenXml, kLlama3, kKimiK2));

TEST(CallFormatsOfAuto, LeaveTextAndHoldsStrictCalls) {
  for (const text::ToolFormat format : {kDeepSeekV32, kDeepSeekV4, kQwenXml, kKimiK2}) {
    auto calls = call_constraint(format, tools(), {}, true, false);
    ASSERT_TRUE(calls.ok() && calls->has_value());
    grammar::ConstraintText constraint{.kind = grammar::ConstraintText::Kind::kText};
    constraint.calls = **calls;
    const grammar::GrammarRef grammar = grammar::compiled(constraint);
    EXPECT_TRUE(grammar::matches(grammar, "Just text, <tool> and all."));
    const std::string begin = constraint.calls->begin + constraint.calls->before_name;
    EXPECT_FALSE(grammar::matches(grammar, "Look:\n\n" + begin + "nobody"));
  }
}

}  // namespace
}  // namespace ferry::engine
