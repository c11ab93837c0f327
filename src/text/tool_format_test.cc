#include "text/tool_format.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace ferry::text {
namespace {

TEST(ToolFormat, ByWhatATemplateWrites) {
  const std::pair<const char*, std::optional<ToolFormat>> cases[] = {
      {"{{ '<｜tool▁calls▁begin｜>' + '\\n```json\\n' }}", ToolFormat::kDeepSeekV3},
      {"{{ '<｜tool▁calls▁begin｜>' + name }}", ToolFormat::kDeepSeekV31},
      {"{% set d = '｜DSML｜' %}{{ '<' + d + 'function_calls>' }}", ToolFormat::kDeepSeekV32},
      {"{% set d = '｜DSML｜' %}{{ '<' + d + 'tool_calls>' }}", ToolFormat::kDeepSeekV4},
      {"<tool_call>\n{\"name\": ", ToolFormat::kHermes},
      {"<tool_call>\n<function=", ToolFormat::kQwenXml},
      {"<|start_header_id|> '\"parameters\": '", ToolFormat::kLlama3},
      {"<|tool_calls_section_begin|>", ToolFormat::kKimiK2},
      {"{% for m in messages %}{{ m.content }}{% endfor %}", std::nullopt},
  };
  for (const auto& [source, format] : cases) EXPECT_EQ(tool_format_of_template(source), format);
}

TEST(ToolFormat, OfTheBuiltInModel) {
  std::ifstream in(std::string(FERRY_SOURCE_DIR) + "/demo/tokenizer_config.json");
  const auto config = parse_json(std::string(std::istreambuf_iterator<char>(in), {}));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(tool_format_of_template((*config)["chat_template"].get<std::string>()),
            ToolFormat::kDeepSeekV31);
}

}  // namespace
}  // namespace ferry::text
