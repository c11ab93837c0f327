#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/quote_name.h"

namespace ferry::text {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string shared_dir() {
  const char* set = std::getenv("FERRY_SHARED");
  return set != nullptr ? set : std::string(FERRY_SOURCE_DIR) + "/../shared";
}

Result<std::string> render(std::string_view source, const Json& context = Json::object(),
                           const RenderLimits& limits = {}) {
  FERRY_TRY(const ChatTemplate parsed, ChatTemplate::parse(source));
  return parsed.render(context, limits);
}

std::string text(std::string_view source, const Json& context = Json::object()) {
  auto result = render(source, context);
  return result.ok() ? *result : "ERROR " + result.error().message;
}

std::string error(std::string_view source, const Json& context = Json::object(),
                  const RenderLimits& limits = {}) {
  auto result = render(source, context, limits);
  return result.ok() ? "rendered: " + *result : result.error().message;
}

RenderLimits noon_of_the_goldens() {
  RenderLimits limits;
  std::tm noon{};
  noon.tm_year = 125;
  noon.tm_mon = 4;
  noon.tm_mday = 29;
  noon.tm_hour = 12;
  noon.tm_wday = 4;
  noon.tm_yday = 148;
  limits.local_time = noon;
  return limits;
}

TEST(ChatTemplate, Statements) {
  EXPECT_EQ(text("{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}:{{ x }} {% endfor %}"),
            "1:1 2:3 ");
  EXPECT_EQ(text("{% for x in [] %}a{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(text("{% set ns = namespace(n=0) %}{% for x in range(4) %}{% set ns.n = ns.n + x %}"
                 "{% endfor %}{{ ns.n }}"),
            "6");
  EXPECT_EQ(text("{% macro f(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, b=3) }}"),
            "1-2 1-3");
  EXPECT_EQ(text("{% for x in range(9) %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}"),
            "012");
  EXPECT_EQ(text("{% if a is defined %}x{% elif true %}y{% endif %}"), "y");
  EXPECT_EQ(text("a\n  {%- if true %}\n  b\n  {%- endif %}\nc"), "a  bc");
}

TEST(ChatTemplate, Expressions) {
  EXPECT_EQ(text("{{ 7 // 2 }} {{ -7 // 2 }} {{ 2 ** 3 }} {{ 7 % 3 }} {{ 1 / 2 }}"),
            "3 -4 8 1 0.5");
  EXPECT_EQ(text("{{ 'abc'[::-1] }} {{ [1, 2, 3][1:] }} {{ 'a' ~ 1 }}"), "cba [2, 3] a1");
  EXPECT_EQ(text("{{ {'a': none, 'b': [true, 1.0, 'x']} }}"), "{'a': None, 'b': [True, 1.0, 'x']}");
  EXPECT_EQ(text("{{ 'x' if false else 'y' }} {{ 1 < 2 < 3 }} {{ 'b' in 'abc' }}"), "y True True");
  EXPECT_EQ(text("{{ ' a '.strip() }}{{ 'a,b'.split(',') }}{{ 'ß'.upper() }}"), "a['a', 'b']SS");
  EXPECT_EQ(text("{{ undefined_thing }}|{{ x.y is defined }}", {{"x", Json::object()}}), "|False");
}

TEST(ChatTemplate, TojsonIsPythons) {
  const Json context = {{"x", {{"name", "Zürich <b>"}, {"list", {1, 2.5, nullptr, true}}}}};
  EXPECT_EQ(text("{{ x | tojson }}", context),
            R"({"name": "Zürich <b>", "list": [1, 2.5, null, true]})");
  EXPECT_EQ(text("{{ [1] | tojson(indent=2) }}"), "[\n  1\n]");
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  EXPECT_NE(error("a\n{% frobnicate %}").find("line 2"), std::string::npos);
  EXPECT_NE(error("a\n{% frobnicate %}").find("frobnicate"), std::string::npos);
  EXPECT_NE(error("{{ 'a' | nofilter }}").find("nofilter"), std::string::npos);
  EXPECT_NE(error("\n\n{{ raise_exception('no system') }}").find("no system"), std::string::npos);
  EXPECT_NE(error("{{ x.y.z }}").find("line 1"), std::string::npos);
  EXPECT_NE(error("{% for x in y %}").find("line 1"), std::string::npos);
  EXPECT_TRUE(is_one_line(error("{{ raise_exception('a\\nb\\x1b') }}")));
  EXPECT_LT(error("{{ raise_exception('a' * 100000) }}").size(), 2000u);
}

TEST(ChatTemplate, BoundedInTimeMemoryDepthAndOutput) {
  EXPECT_FALSE(
      render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", {},
             {.max_steps = 100'000})
          .ok());
  EXPECT_FALSE(render("{{ 'a' * 10000000000 }}").ok());
  EXPECT_FALSE(render("{{ range(100000000000) | list }}").ok());
  EXPECT_FALSE(
      render("{% for a in range(1000) %}0123456789{% endfor %}", {}, {.max_output_bytes = 1000})
          .ok());
  EXPECT_FALSE(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").ok());
  EXPECT_FALSE(
      render("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}").ok());
  EXPECT_FALSE(render("{{ " + std::string(100000, '-') + "1 }}").ok());
  std::string nested;
  for (int i = 0; i < 100000; ++i) nested += "{% if true %}";
  EXPECT_FALSE(render(nested).ok());
}

TEST(ChatTemplate, TheBuiltInModelsOwn) {
  const std::string demo = std::string(FERRY_SOURCE_DIR) + "/demo/";
  auto config = parse_json(read_file(demo + "tokenizer_config.json"));
  auto goldens = parse_json(read_file(demo + "goldens/chat_template.json"));
  ASSERT_TRUE(config.ok() && goldens.ok());
  auto parsed = ChatTemplate::parse((*config)["chat_template"].get<std::string>());
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  ASSERT_EQ(goldens->size(), 12u);
  for (Json context : *goldens) {
    context["bos_token"] = "<｜begin▁of▁sentence｜>";
    context["eos_token"] = "<｜end▁of▁sentence｜>";
    auto rendered = parsed->render(context);
    ASSERT_TRUE(rendered.ok()) << rendered.error().message;
    EXPECT_EQ(*rendered, context["rendered"].get<std::string>());
  }
}

TEST(ChatTemplate, TemplatesOfPublicCheckpoints) {
  std::ifstream expected(shared_dir() + "/templates/expected.jsonl");
  if (!expected) GTEST_SKIP() << "no shared templates";
  int compared = 0;
  for (std::string line; std::getline(expected, line);) {
    auto golden = parse_json(line);
    ASSERT_TRUE(golden.ok());
    const std::string name = (*golden)["template"];
    const std::string where = name + ", " + (*golden)["case"].get<std::string>();
    auto rendered = render(read_file(shared_dir() + "/templates/" + name), (*golden)["context"],
                           noon_of_the_goldens());
    if (golden->contains("error")) {
      EXPECT_FALSE(rendered.ok()) << where << " rendered, jinja2 refused";
    } else {
      ASSERT_TRUE(rendered.ok()) << where << ": " << rendered.error().message;
      EXPECT_EQ(*rendered, (*golden)["rendered"].get<std::string>()) << where;
    }
    ++compared;
  }
  EXPECT_GE(compared, 100);
}

}  // namespace
}  // namespace ferry::text
