// Result, the constructors of its errors, and the macros that pass them up.
#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/check.h"

namespace ferry {
namespace {

Result<int> parse(const std::string& text) {
  if (text.empty()) return invalid_input("expected a number, found \"{}\"", text);
  return static_cast<int>(text.size());
}

Result<std::string> twice(const std::string& text, bool* reached) {
  FERRY_TRY(const int first, parse(text));
  FERRY_TRY(auto second, parse(text));
  *reached = true;
  return std::to_string(first + second);
}

Status check(const std::string& text, int* calls) {
  FERRY_TRY_VOID([&]() -> Status {
    ++*calls;
    FERRY_TRY(auto length, parse(text));
    if (length > 3) return unsupported("length {}", length);
    return {};
  }());
  ++*calls;
  return {};
}

TEST(Result, HoldsAValueOrAnError) {
  Result<int> value = 5;
  EXPECT_TRUE(value.ok());
  EXPECT_TRUE(static_cast<bool>(value));
  EXPECT_EQ(5, *value);
  *value = 6;
  EXPECT_EQ(6, value.value());

  Result<int> error = not_found("{} of {}", 1, "two");
  EXPECT_FALSE(error.ok());
  EXPECT_EQ(ErrorKind::kNotFound, error.error().kind);
  EXPECT_EQ("1 of two", error.error().message);
}

TEST(Result, AnErrorAsAValueTypeStaysApart) {
  Result<std::string> text = std::string("text");
  EXPECT_TRUE(text.ok());
  EXPECT_EQ(4u, text->size());
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  ASSERT_TRUE(result.ok());
  std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(3, *taken);
}

TEST(Result, TryPassesTheFirstErrorUp) {
  bool reached = false;
  EXPECT_EQ("6", *twice("abc", &reached));
  EXPECT_TRUE(reached);
  reached = false;
  auto failed = twice("", &reached);
  EXPECT_FALSE(failed.ok());
  EXPECT_FALSE(reached);
  EXPECT_EQ("expected a number, found \"\"", failed.error().message);
}

TEST(Result, TryVoidEvaluatesOnceAndPassesErrorsUp) {
  int calls = 0;
  EXPECT_TRUE(check("abc", &calls).ok());
  EXPECT_EQ(2, calls);
  calls = 0;
  const Status failed = check("abcd", &calls);
  EXPECT_EQ(1, calls);
  EXPECT_EQ(ErrorKind::kUnsupported, failed.error().kind);
}

TEST(Result, InPutsTheContextInFront) {
  const Error error = io_error("disk full").in("model.gguf").in("load");
  EXPECT_EQ("load: model.gguf: disk full", error.message);
  EXPECT_EQ(ErrorKind::kIo, error.kind);
}

TEST(Result, EveryKindHasItsConstructor) {
  EXPECT_EQ(ErrorKind::kInvalidInput, invalid_input("x").kind);
  EXPECT_EQ(ErrorKind::kOutOfMemory, out_of_memory("{} bytes", 5).kind);
  EXPECT_EQ(ErrorKind::kDevice, device_error("x").kind);
  // Text from outside goes in as an argument, where braces mean nothing.
  EXPECT_EQ("{} {0", invalid_input("{}", "{} {0").message);
}

TEST(Check, NamesTheConditionAndThePlace) {
  CHECK(1 + 1 == 2);
  EXPECT_DEATH(CHECK(1 + 1 == 3), "CHECK\\(1 \\+ 1 == 3\\) failed at .*result_test.cc:");
}

}  // namespace
}  // namespace ferry
