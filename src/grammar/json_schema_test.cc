// JSON schemas as constraints: texts that fit and texts that don't, refusals by keyword and place,
// hostile schemas, and exact masks.
#include <chrono>

#include "base/json.h"
#include "base/quote_name.h"
#include "grammar/testing.h"

namespace ferry::grammar {
namespace {

struct Case {
  const char* schema;
  std::vector<std::string> yes, no;
};

void check(const std::vector<Case>& cases) {
  for (const Case& test : cases) {
    const GrammarRef grammar = compiled_schema(test.schema);
    for (const std::string& text : test.yes) {
      EXPECT_TRUE(matches(grammar, text)) << test.schema << " ~ " << text;
    }
    for (const std::string& text : test.no) {
      EXPECT_FALSE(matches(grammar, text)) << test.schema << " ~ " << text;
    }
  }
}

TEST(JsonSchema, Types) {
  check({
      {R"({"type": "null"})", {"null"}, {"true", "", " null"}},
      {R"({"type": "boolean"})", {"true", "false"}, {"True", "0"}},
      {R"({"type": "integer"})", {"0", "-1", "123456789012345678"}, {"01", "1.0", "-", "1e3"}},
      {R"({"type": "number"})", {"0", "-1.5", "1e3", "2E-7", "0.001"}, {"1.", ".5", "+1", "1e999"}},
      {R"({"type": "string"})",
       {R"("")", R"("aé日")", R"("\"\\\/\b\n\u00e9")", R"("\ud83d\ude00")"},
       {R"("a)", "\"\n\"", R"("\x")", R"("\ud83d")", R"("\ude00")", "\"\xff\""}},
      {R"({"type": ["string", "null"]})", {"\"a\"", "null"}, {"1"}},
      {R"({"type": "array"})", {"[]", "[1, \"a\", {}]", "[[]]", "[ ]"}, {"[1,]", "[,]"}},
      {R"({"type": "object"})", {"{}", R"({"a": {"b": [1]}})", "{\n  \"a\":1\n}"}, {"{,}", "[]"}},
      {"true", {"1", "{}", "\"\""}, {""}},
      {"{}", {"1", "[null]"}, {"nul"}},
  });
}

TEST(JsonSchema, Numbers) {
  check({
      {R"({"type": "integer", "minimum": -5, "maximum": 120})",
       {"-5", "-1", "0", "9", "99", "100", "119", "120"},
       {"-6", "121", "-0", "130", "1000", "00"}},
      {R"({"type": "integer", "exclusiveMinimum": 9, "exclusiveMaximum": 1001})",
       {"10", "99", "999", "1000"},
       {"9", "1001", "1", "-10"}},
      {R"({"type": "integer", "minimum": 7})", {"7", "10", "70", "999999999999999999"}, {"6", "1"}},
      {R"({"type": "integer", "maximum": -100})", {"-100", "-999", "-1000"}, {"-99", "0", "5"}},
      {R"({"type": "integer", "minimum": 1.5, "maximum": 3.5})", {"2", "3"}, {"1", "4"}},
      {R"({"type": "number", "minimum": 0, "maximum": 1})",
       {"0", "1", "0.5", "1.0", "0.999"},
       {"-0.1", "1.01", "2", "-0", "1e0"}},
      {R"({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})",
       {"0.1", "0.01", "0.99"},
       {"0", "1", "0.0", "1.0", "-1"}},
      {R"({"type": "number", "minimum": -2.25, "maximum": 3.5})",
       {"-2.25", "-2.2", "-0", "-1", "3.5", "3.50", "3"},
       {"-2.26", "-2.251", "3.51", "4", "-3"}},
      {R"({"type": "number", "exclusiveMaximum": -1.5})",
       {"-1.6", "-2", "-1.51"},
       {"-1.5", "-1", "0"}},
      {R"({"minimum": 10, "type": ["integer", "string"]})", {"10", "\"\""}, {"9"}},
      {R"({"type": "integer", "format": "int32", "minimum": 2147483640})",
       {"2147483647"},
       {"2147483648"}},
      {R"({"type": "integer", "multipleOf": 1})", {"3"}, {}},
  });
}

TEST(JsonSchema, Strings) {
  check({
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {"\"ab\"", "\"éé日\"", R"("\n\"")", R"("\ud83d\ude00a")"},
       {"\"a\"", "\"abcd\"", R"("\n")"}},
      {R"({"type": "string", "pattern": "^[a-z]+$"})", {"\"abc\""}, {"\"\"", "\"a1\""}},
      {R"({"type": "string", "pattern": "b"})", {"\"abc\"", "\"b\""}, {"\"ac\"", R"("\u0062")"}},
      {R"({"type": "string", "pattern": "^a\"\\\\\n$"})", {R"("a\"\\\n")"}, {R"("a")"}},
      {R"({"pattern": "^a*$", "minLength": 2, "maxLength": 4})",
       {"\"aa\"", "\"aaaa\""},
       {"\"a\"", "\"aaaaa\"", "\"ab\""}},
      {R"({"type": "string", "format": "date"})",
       {"\"2024-02-29\"", "\"2000-02-29\"", "\"2023-12-31\"", "\"0004-02-29\""},
       {"\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\"", "\"2023-13-01\"", "\"0000-01-01\""}},
      {R"({"type": "string", "format": "date-time"})",
       {"\"2024-02-29T23:59:59Z\"", "\"2024-01-01T00:00:00.25+05:30\""},
       {"\"2024-02-29\"", "\"2024-01-01T24:00:00Z\"", "\"2024-01-01T00:00:00\""}},
      {R"({"format": "time"})", {"\"12:30:00Z\""}, {"\"12:30\"", "\"25:00:00Z\""}},
      {R"({"format": "uuid"})", {"\"123e4567-e89b-12d3-a456-426614174000\""}, {"\"123e4567\""}},
      {R"({"format": "email"})", {"\"a.b@c-d.org\""}, {"\"a@b\"", "\"@b.c\"", "\"a@-b.c\""}},
      {R"({"format": "ipv4"})",
       {"\"255.0.10.199\""},
       {"\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\""}},
      {R"({"format": "ipv6"})",
       {"\"::1\"", "\"2001:db8::ff00:42:8329\"", "\"::\""},
       {"\"1::2::3\"", "\"12345::\""}},
      {R"({"format": "hostname"})", {"\"a.b-c.org\""}, {"\"-a\"", "\"a..b\""}},
      {R"({"format": "uri"})", {"\"https://a.org/x?y=1#z\""}, {"\"a\"", "\"http://\""}},
      {R"({"format": "duration"})",
       {"\"P1Y2M3DT4H5M6S\"", "\"PT5M\"", "\"P3W\""},
       {"\"P\"", "\"PT\""}},
      {R"({"type": "string", "format": "password"})", {"\"x\""}, {}},
      {R"({"enum": ["a", "é\n", 1, 2.5, null, {"x": [1]}]})",
       {"\"a\"", "\"é\\n\"", "1", "2.5", "null", "{\"x\": [1]}", "{\"x\":[1]}"},
       {"\"b\"", "{\"x\": [2]}", "2"}},
      {R"({"const": "only"})", {"\"only\""}, {"\"onl\""}},
      {R"({"type": "string", "enum": ["a", 1, "bb"], "maxLength": 1})", {"\"a\""}, {"1", "\"bb\""}},
      {R"({"type": "integer", "enum": [1, 5, 9], "minimum": 4})", {"5", "9"}, {"1"}},
  });
}

TEST(JsonSchema, Objects) {
  check({
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"},
          "c": {"type": "null"}}, "required": ["b"]})",
       {R"({"b": true})", R"({"a": 1, "b":false})", R"({"a":1,"b":true,"c":null})",
        "{\n  \"b\": true,\n  \"c\": null\n}", R"({ "b": true })"},
       {"{}", R"({"a": 1})", R"({"b": true, "a": 1})", R"({"b": true,})", R"({"b": true, "d": 1})",
        R"({"b": true "c": null})", R"({"b": 1})"}},
      {R"({"properties": {"a": {}, "b": {}}})",
       {"{}", R"({"a": 1})", R"({"b": []})", R"({"a": 1, "b": 2})"},
       {R"({,"b": 1})", R"({"a": 1 ,"b": 2})", "1"}},
      {R"({"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}})",
       {"{}", R"({"a": 1})", R"({"a": 1, "x": "y", "zz": ""})", R"({"x": "y"})", R"({"aa": ""})"},
       {R"({"a": "x"})", R"({"x": 1})", R"({"\u0061": "x"})", R"({"x": "", "a": 1})"}},
      {R"({"type": "object", "additionalProperties": false})", {"{}", "{ }"}, {R"({"a": 1})"}},
      {R"({"type": "object", "required": ["a"]})",
       {R"({"a": 1})", R"({"a": 1, "b": 2})"},
       {"{}", R"({"b": 1})"}},
      {R"({"patternProperties": {"^x-": {"type": "integer"}}, "properties": {"a": {}},
          "additionalProperties": false})",
       {R"({"a": [], "x-b": 1, "x-": 2})", "{}"},
       {R"({"x-b": "s"})", R"({"y": 1})"}},
      {R"({"type": "object", "propertyNames": {"pattern": "^[a-z]+$", "maxLength": 2}})",
       {R"({"ab": 1})"},
       {R"({"abc": 1})", R"({"A": 1})"}},
      {R"({"properties": {"é\"": {}}, "required": ["é\""]})", {R"({"é\"": 1})"}, {"{}"}},
      {R"({"properties": {"a": false, "b": {}}})", {R"({"b": 1})"}, {R"({"a": 1})"}},
      {R"({"properties": {"a": {}}, "required": ["a"], "minProperties": 1, "maxProperties": 1})",
       {R"({"a": 1})"},
       {"{}"}},
  });
}

TEST(JsonSchema, Arrays) {
  check({
      {R"({"type": "array", "items": {"type": "integer"}})",
       {"[]", "[1]", "[1, 2,3]", "[\n  1\n]"},
       {"[1 2]", "[\"a\"]", "[,1]"}},
      {R"({"items": {"enum": [0]}, "minItems": 2, "maxItems": 3})",
       {"[0,0]", "[0, 0, 0]"},
       {"[]", "[0]", "[0,0,0,0]"}},
      {R"({"items": {"enum": [0]}, "maxItems": 0})", {"[]"}, {"[0]"}},
      {R"({"items": {"enum": [0]}, "minItems": 1})", {"[0]", "[0,0]"}, {"[]"}},
      {R"({"prefixItems": [{"enum": [1]}, {"enum": [2]}], "items": {"enum": [3]}})",
       {"[]", "[1]", "[1,2]", "[1,2,3,3]"},
       {"[2]", "[1,3]", "[1,2,1]"}},
      {R"({"prefixItems": [{"enum": [1]}, {"enum": [2]}], "minItems": 2})",
       {"[1,2]"},
       {"[1]", "[1,2,3]", "[]"}},
      {R"({"prefixItems": [{"enum": [1]}, {"enum": [2]}], "items": {"enum": [3]}, "minItems": 3,
          "maxItems": 4})",
       {"[1,2,3]", "[1,2,3,3]"},
       {"[1,2]", "[1,2,3,3,3]"}},
      {R"({"prefixItems": [{"enum": [1]}, {"enum": [2]}], "maxItems": 1})",
       {"[]", "[1]"},
       {"[1,2]"}},
      {R"({"items": false})", {"[]"}, {"[1]"}},
  });
}

TEST(JsonSchema, Combinations) {
  check({
      {R"({"anyOf": [{"type": "string"}, {"type": "null"}]})", {"\"a\"", "null"}, {"1"}},
      {R"({"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]},
          {"properties": {"b": {"type": "string"}, "a": {"minimum": 3}}}]})",
       {R"({"a": 3})", R"({"a": 4, "b": ""})"},
       {R"({"b": ""})", R"({"a": 2})"}},
      {R"({"allOf": [{"type": "integer", "minimum": 1}, {"type": "number", "maximum": 5}]})",
       {"1", "5"},
       {"0", "6", "1.5"}},
      {R"({"allOf": [{"pattern": "^a"}, {"pattern": "z$"}, {"minLength": 3, "type": "string"}]})",
       {"\"abz\""},
       {"\"az\"", "\"abc\"", "\"bzz\""}},
      {R"({"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"],
          "anyOf": [{"properties": {"x": {"type": "integer"}}, "required": ["x"]},
                    {"properties": {"y": {"type": "integer"}}, "required": ["y"]}]})",
       {R"({"k": "", "x": 1})", R"({"k": "", "y": 1})"},
       {R"({"k": ""})", R"({"x": 1})"}},
      {R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})", {"1", "\"\""}, {"null"}},
      {R"({"oneOf": [{"properties": {"t": {"const": "a"}, "v": {"type": "integer"}}},
                     {"properties": {"t": {"const": "b"}, "v": {"type": "string"}}}]})",
       {R"({"t": "a", "v": 1})", R"({"t": "b", "v": ""})", R"({"t": "a"})"},
       {"{}", R"({"t": "a", "v": ""})", R"({"v": 1})"}},
      {R"({"oneOf": [
             {"properties": {"a": {}}, "required": ["a"], "additionalProperties": false},
             {"properties": {"b": {}}, "required": ["b"], "additionalProperties": false}]})",
       {R"({"a": 1})", R"({"b": 1})"},
       {"{}"}},
      {R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties":
          {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
          "required": ["v", "next"]}}})",
       {R"({"v": 1, "next": null})", R"({"v": 1, "next": {"v": 2, "next": null}})"},
       {R"({"v": 1})", R"({"v": 1, "next": {}})"}},
      {R"({"type": "array", "items": {"$ref": "#"}})", {"[]", "[[], [[]]]"}, {"[1]"}},
      {R"({"$defs": {"a/b~c": {"type": "null"}}, "$ref": "#/$defs/a~1b~0c"})", {"null"}, {"1"}},
      {R"({"$defs": {"s": {"type": "string"}}, "$ref": "#/$defs/s", "maxLength": 1})",
       {"\"a\""},
       {"\"ab\"", "1"}},
      {R"({"enum": [1, 2, 3], "allOf": [{"enum": [2, 3, 4]}], "const": 3})", {"3"}, {"2"}},
  });
}

TEST(JsonSchema, RefusesByKeywordAndPlace) {
  const auto message = [](const std::string& schema) {
    return refusal(ConstraintText::Kind::kJsonSchema, schema);
  };
  const auto expect = [&](const std::string& schema, const std::string& part) {
    EXPECT_NE(message(schema).find(part), std::string::npos) << schema << ": " << message(schema);
  };
  expect(R"({"properties": {"a/b": {"multipleOf": 0.5}}})",
         R"("multipleOf" at #/properties/a~1b is not supported)");
  for (const char* key : {"not", "if", "uniqueItems", "contains", "dependentRequired",
                          "unevaluatedProperties", "maxlength", "$dynamicRef"}) {
    expect("{\"items\": {\"" + std::string(key) + "\": {}}}",
           "\"" + std::string(key) + "\" at #/items is not supported");
  }
  expect(R"({"items": [{}]})", "prefixItems");
  expect(R"({"type": "string", "format": "iri"})", "\"iri\" can't be promised");
  expect(R"({"type": "number", "format": "date"})", "\"format\"");
  expect(R"({"type": "strin"})", "\"type\" at #: expected");
  expect(R"({"required": "a"})", "\"required\" at #: expected an array of strings");
  expect(R"({"minLength": -1})", "\"minLength\" at #: expected a count");
  expect(R"({"anyOf": []})", "\"anyOf\" at #");
  expect(R"({"enum": []})", "\"enum\" at #");
  expect(R"({"properties": {"a": 3}})", "\"properties\" at #");
  expect(R"({"$ref": "other.json"})", "\"$ref\" at # is not supported");
  expect(R"({"$ref": "#/$defs/x"})", "there is no #/$defs/x");
  expect(R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "\"oneOf\" at #");
  expect(R"x({"pattern": "(?=a)"})x", "\"pattern\" at #: regex: look-ahead");
  expect(R"({"type": "object", "minProperties": 1})", "\"minProperties\" at #");
  expect(R"({"type": "object", "maxProperties": 1})", "\"maxProperties\" at #");
  expect(R"({"patternProperties": {"a": {}, "b": {}}})", "two of its patterns");
  expect("{", "schema: not valid JSON");
  expect("3", "schema at #: expected");
  expect(R"({"type": "integer", "minimum": 5, "maximum": 4})", "nothing of at most");
  expect("false", "nothing of at most");
  expect(R"({"type": "string", "minLength": 3, "maxLength": 2})", "nothing");
}

TEST(JsonSchema, RefusalsAreOneLineWhateverTheSchemaHolds) {
  const std::string cut = std::string(99, 'a') + "ééé";  // byte 100 is within the first é
  for (const std::string& schema :
       {std::string(R"({"a\nb": {}})"), std::string(R"({"properties": {"a\nb": {"not": {}}}})"),
        std::string(R"({"$ref": "a\nb"})"), std::string(R"({"$ref": "#/a\nb"})"),
        std::string(R"({"$defs": {"a\nb": {"not": {}}}, "$ref": "#/$defs/a\nb"})"),
        std::string(R"({"type": "number", "format": "a\u007f"})"),
        "{\"type\": \"string\", \"format\": \"" + cut + "\"}",
        "{\"$ref\": \"" + cut + cut + "\"}"}) {
    const std::string said = refusal(ConstraintText::Kind::kJsonSchema, schema);
    EXPECT_NE(said, "accepted") << schema;
    EXPECT_TRUE(is_one_line(said)) << said;
  }
}

TEST(JsonSchema, RecursionWithoutProgressIsRefused) {
  const auto message = [](const std::string& schema) {
    return refusal(ConstraintText::Kind::kJsonSchema, schema);
  };
  for (const char* schema : {R"({"$ref": "#"})", R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})",
                             R"({"allOf": [{"$ref": "#"}]})",
                             R"({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
           "$ref": "#/$defs/a"})",
                             R"({"oneOf": [{"$ref": "#"}, {"type": "null"}]})"}) {
    const std::string said = message(schema);
    EXPECT_TRUE(said.find("itself") != std::string::npos ||
                said.find("nothing") != std::string::npos)
        << schema << ": " << said;
  }
  // Recursion that never ends although it goes on.
  EXPECT_NE(message(R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})")
                .find("nothing"),
            std::string::npos);
}

TEST(JsonSchema, HostileOnesMeetTheBudget) {
  std::vector<std::string> hostile = {
      R"({"type": "string", "maxLength": 1073741824})",
      R"({"items": {"type": "integer"}, "minItems": 1073741824})",
      R"({"pattern": "^(a|b)*a(a|b){30}$"})",
  };
  std::string optionals = R"({"properties": {)";
  for (int i = 0; i < 3000; ++i) {
    optionals +=
        (i ? ",\"" : "\"") + std::string("property_number_") + std::to_string(i) + "\": {}";
  }
  hostile.push_back(optionals + "}}");
  // allOf of anyOfs: 2^20 alternatives.
  std::string product = R"({"allOf": [)";
  for (int i = 0; i < 20; ++i) {
    const std::string n = std::to_string(i);
    product += std::string(i ? "," : "") + R"({"anyOf": [{"properties": {"a)" + n +
               R"(": {"type": "string"}}}, {"properties": {"b)" + n + R"(": {}}}]})";
  }
  hostile.push_back(product + "]}");
  // Definitions that double: 2^40 ways to the last.
  std::string doubling = R"({"$ref": "#/$defs/d0", "$defs": {)";
  for (int i = 0; i < 25; ++i) {
    const std::string next = R"({"$ref": "#/$defs/d)" + std::to_string(i + 1) + "\"}";
    doubling += "\"d" + std::to_string(i) + R"(": {"allOf": [)" + next + "," + next + "]},";
  }
  hostile.push_back(doubling + R"("d25": {"type": "null"}}})");
  for (const std::string& schema : hostile) {
    const auto start = std::chrono::steady_clock::now();
    const std::string said = refusal(ConstraintText::Kind::kJsonSchema, schema);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_NE(said, "accepted") << schema.substr(0, 100);
    EXPECT_LT(took.count(), 20.0) << schema.substr(0, 100);
  }
}

TEST(JsonSchema, NestingIsBounded) {
  const GrammarRef grammar = compiled_schema("true");
  Matcher matcher(grammar);
  int depth = 0;
  while (matcher.accept('[')) ++depth;
  EXPECT_GE(depth, 60);
  EXPECT_LE(depth, 128);  // what parsers take
  expect_mask_is_exact(matcher);
  for (int i = 0; i < depth; ++i) ASSERT_TRUE(matcher.accept(']'));
  EXPECT_TRUE(matcher.can_end());
}

TEST(JsonSchema, AmbiguityStaysSmall) {
  // At each level two ways that only differ at the end: 2^n if they were followed one by one.
  const GrammarRef grammar = compiled_schema(R"({"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [
      {"type": "object", "properties": {"a": {"$ref": "#/$defs/t"}}, "required": ["a"]},
      {"type": "object", "properties": {"a": {"$ref": "#/$defs/t"}, "b": {"type": "null"}},
       "required": ["a", "b"]},
      {"type": "null"}]}}})");
  std::string text = "null";
  for (int i = 0; i < 30; ++i) text = "{\"a\":" + text + (i % 2 ? "}" : ",\"b\":null}");
  EXPECT_TRUE(matches(grammar, text));
  EXPECT_FALSE(matches(grammar, text.substr(0, text.size() - 2)));
}

}  // namespace
}  // namespace ferry::grammar
