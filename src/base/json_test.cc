// JSON from outside: every limit at its border, hostile texts, and what the messages say.
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/quote_name.h"

namespace ferry {
namespace {

using testing::HasSubstr;

std::string error_of(std::string_view text, const JsonLimits& limits = {}) {
  auto result = parse_json(text, limits);
  if (result.ok()) return "";
  EXPECT_EQ(ErrorKind::kInvalidInput, result.error().kind);
  EXPECT_EQ(std::string::npos, result.error().message.find('\n')) << result.error().message;
  EXPECT_TRUE(is_utf8(result.error().message)) << result.error().message;
  return result.error().message;
}

Json object_of(std::string_view text) {
  auto result = parse_json(text);
  EXPECT_TRUE(result.ok()) << text;
  return result.ok() ? *result : Json::object();
}

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, KeepsValuesAndTheOrderOfKeys) {
  const Json json = object_of(R"( {"z": [1, -2, 2.5, true, null, "\u00e9\n"], "a": {"b": {}}} )");
  EXPECT_EQ(R"({"z":[1,-2,2.5,true,null,"é\n"],"a":{"b":{}}})", json.dump());
}

TEST(Json, ScalarsAloneAreComplete) {
  EXPECT_EQ(7, object_of("7").get<int>());
  EXPECT_EQ("x", object_of("\"x\"").get<std::string>());
  EXPECT_TRUE(object_of("null").is_null());
}

TEST(Json, DepthIsLimited) {
  EXPECT_EQ("", error_of(nested(128)));
  EXPECT_THAT(error_of(nested(129)), HasSubstr("deeper than 128 levels"));
  EXPECT_THAT(error_of(nested(1'000'000)), HasSubstr("deeper than 128 levels"));
  EXPECT_THAT(error_of(std::string(1'000'000, '[')), HasSubstr("deeper than 128 levels"));
  std::string objects;
  for (int i = 0; i < 200; ++i) objects += "{\"a\":";
  EXPECT_THAT(error_of(objects), HasSubstr("deeper than 128 levels"));
  EXPECT_EQ("", error_of("[[]]", {.max_depth = 2}));
  EXPECT_NE("", error_of("[[]]", {.max_depth = 1}));
}

TEST(Json, DepthIsFreedAgain) {
  std::string siblings = "[";
  for (int i = 0; i < 1000; ++i) siblings += "[[]],";
  EXPECT_EQ("", error_of(siblings + "[]]", {.max_depth = 3}));
}

TEST(Json, ADeepValueIsDestroyedWithoutRecursionTrouble) {
  EXPECT_EQ("", error_of(nested(100'000), {.max_depth = 100'000}));
}

TEST(Json, KeysMayNotAppearTwice) {
  EXPECT_THAT(error_of(R"({"a": 1, "b": 2, "a": 3})"), HasSubstr("key \"a\" appears twice"));
  EXPECT_THAT(error_of(R"({"a": 1, "\u0061": 3})"), HasSubstr("key \"a\" appears twice"));
  EXPECT_THAT(error_of(R"([{"x": {"": 1, "": 1}}])"), HasSubstr("appears twice"));
  EXPECT_EQ("", error_of(R"({"a": {"a": [{"a": 1}, {"a": 2}]}})"));
  EXPECT_LT(error_of("{\"" + std::string(5000, 'k') + "\":1,\"" + std::string(5000, 'k') + "\":2}")
                .size(),
            300u);
}

TEST(Json, MessagesAreOneLineOfUtf8WhateverTheTextHolds) {
  EXPECT_EQ(R"(key "a\x0ab" appears twice in one object)", error_of(R"({"a\nb": 1, "a\nb": 2})"));
  // Byte 200 is the second one of an é.
  const std::string key = std::string(199, 'k') + "éé";
  EXPECT_THAT(error_of("{\"" + key + "\": 1, \"" + key + "\": 2}"),
              HasSubstr("ké…\" appears twice"));
  EXPECT_THAT(error_of("[\"a\x7f\xc3\"]"), HasSubstr("\"a\\x7f\\xc3"));
  EXPECT_LT(error_of("[\"" + std::string(5000, 'k') + "\n\"]").size(), 400u);
}

TEST(Json, SizeAndNumberOfValuesAreLimited) {
  EXPECT_EQ("", error_of("[1,2]", {.max_bytes = 5}));
  EXPECT_THAT(error_of("[1,2] ", {.max_bytes = 5}), HasSubstr("6 bytes, the limit is 5"));
  EXPECT_EQ("", error_of("[1,2]", {.max_values = 3}));
  EXPECT_THAT(error_of("[1,2,3]", {.max_values = 3}), HasSubstr("more than 3 JSON values"));
  EXPECT_THAT(error_of("[[],{}]", {.max_values = 2}), HasSubstr("more than 2 JSON values"));
}

TEST(Json, BrokenTextsAreErrorsWithAPlace) {
  for (const char* text :
       {"",         " ",       "{",         "[",           "[1,",      "[1,]",       "{\"a\"}",
        "{\"a\":}", "{a:1}",   "01",        "1.",          "+1",       "- 1",        "tru",
        "\"",       "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"a\nb\"", "[1] 2",      "[1]]",
        "/**/1",    "// x\n1", "NaN",       "Infinity",    "'a'",      "{\"a\":1,}", "\xef\xbb"}) {
    EXPECT_THAT(error_of(text), HasSubstr("not valid JSON at byte")) << text;
  }
  EXPECT_THAT(error_of("[1, 2, x]"), HasSubstr("at byte 8"));
  EXPECT_THAT(error_of(std::string_view("[1]\0", 4)), HasSubstr("byte 3: a zero byte"));
  EXPECT_THAT(error_of(std::string_view("[\"\0\"]", 5)), HasSubstr("byte 2: a zero byte"));
}

TEST(Json, InvalidUtf8IsAnError) {
  for (const char* bytes : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xff",
                            "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_THAT(error_of("[\"" + std::string(bytes) + "\"]"), HasSubstr("not valid JSON")) << bytes;
  }
  EXPECT_EQ("", error_of("[\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"]"));
}

TEST(Json, NumbersOutOfRange) {
  EXPECT_NE("", error_of("1e999"));
  const Json json =
      object_of(R"({"u": 18446744073709551615, "i": -9223372036854775808, "f": 1e300})");
  EXPECT_EQ(INT64_MIN, *json_int(json, "i"));
  EXPECT_THAT(json_int(json, "u").error().message, HasSubstr("does not fit into 64 bits"));
  EXPECT_FALSE(json_int(json, "f").ok());
  EXPECT_EQ(1e300, *json_number(json, "f"));
}

TEST(JsonGetters, ReturnWhatIsThere) {
  const Json json = object_of(R"({"i": 5, "whole": 1024.0, "n": 0.5, "b": true, "s": "x"})");
  EXPECT_EQ(5, *json_int(json, "i"));
  EXPECT_EQ(1024, *json_int(json, "whole"));
  EXPECT_EQ(0.5, *json_number(json, "n"));
  EXPECT_EQ(5.0, *json_number(json, "i"));
  EXPECT_TRUE(*json_bool(json, "b"));
  EXPECT_EQ("x", *json_string(json, "s"));
  EXPECT_NE(nullptr, json_find(json, "i"));
  EXPECT_EQ(nullptr, json_find(json, "j"));
}

TEST(JsonGetters, WrongTypesNameTheKeyAndBothTypes) {
  const Json json = object_of(R"({"s": "x", "n": 0.5, "o": {}, "l": [], "i": 1, "b": false})");
  EXPECT_EQ("s: expected an integer, found a string", json_int(json, "s").error().message);
  EXPECT_EQ("n: expected an integer, found a number", json_int(json, "n").error().message);
  EXPECT_EQ("o: expected a number, found an object", json_number(json, "o").error().message);
  EXPECT_EQ("i: expected a boolean, found an integer", json_bool(json, "i").error().message);
  EXPECT_EQ("l: expected a string, found an array", json_string(json, "l").error().message);
  EXPECT_EQ("b: expected an integer, found a boolean", json_int(json, "b").error().message);
  EXPECT_EQ("gone: expected an integer, found nothing", json_int(json, "gone").error().message);
}

TEST(JsonGetters, DefaultsAreForAbsentAndNullOnly) {
  const Json json = object_of(R"({"null": null, "s": "x", "i": 3})");
  EXPECT_EQ(9, *json_int_or(json, "absent", 9));
  EXPECT_EQ(9, *json_int_or(json, "null", 9));
  EXPECT_EQ(3, *json_int_or(json, "i", 9));
  EXPECT_FALSE(json_int_or(json, "s", 9).ok());
  EXPECT_EQ(0.5, *json_number_or(json, "null", 0.5));
  EXPECT_FALSE(json_number_or(json, "s", 0.5).ok());
  EXPECT_TRUE(*json_bool_or(json, "absent", true));
  EXPECT_FALSE(json_bool_or(json, "i", true).ok());
  EXPECT_EQ("d", *json_string_or(json, "absent", "d"));
  EXPECT_FALSE(json_string_or(json, "i", "d").ok());
}

}  // namespace
}  // namespace ferry
