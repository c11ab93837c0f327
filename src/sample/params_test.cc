// Every field at its borders, and that the message begins with the field's name.
#include "sample/params.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ferry::sample {
namespace {

constexpr int64_t kVocab = 100;

void expect_refused(const SamplingParams& params, const std::string& field) {
  const Status status = validate(params, kVocab);
  ASSERT_FALSE(status.ok()) << field;
  EXPECT_EQ(status.error().message.rfind(field + ":", 0), 0u) << status.error().message;
}

void expect_refused(const StopConditions& stop, const std::string& field) {
  const Status status = validate(stop, kVocab);
  ASSERT_FALSE(status.ok()) << field;
  EXPECT_EQ(status.error().message.rfind(field + ":", 0), 0u) << status.error().message;
}

TEST(Params, DefaultsAndBordersPass) {
  EXPECT_TRUE(validate(SamplingParams{}, kVocab).ok());
  EXPECT_TRUE(validate(SamplingParams{.temperature = 0,
                                      .top_k = 1,
                                      .top_p = 1e-9,
                                      .min_p = 1,
                                      .presence_penalty = -2,
                                      .frequency_penalty = 2,
                                      .repetition_penalty = 0.1,
                                      .logit_bias = {{99, -100.0f}},
                                      .logprobs = 20},
                       kVocab)
                  .ok());
  EXPECT_TRUE(validate(StopConditions{}, kVocab).ok());
  EXPECT_TRUE(
      validate(StopConditions{.strings = {"é"}, .token_ids = {0}, .max_tokens = 3, .min_tokens = 3},
               kVocab)
          .ok());
}

TEST(Params, WrongSamplingFieldsAreNamed) {
  for (double bad : {-0.1, 101.0, std::nan(""), HUGE_VAL}) {
    expect_refused(SamplingParams{.temperature = bad}, "temperature");
  }
  expect_refused(SamplingParams{.top_k = -1}, "top_k");
  expect_refused(SamplingParams{.top_p = 0}, "top_p");
  expect_refused(SamplingParams{.top_p = 1.01}, "top_p");
  expect_refused(SamplingParams{.min_p = -0.1}, "min_p");
  expect_refused(SamplingParams{.presence_penalty = 2.1}, "presence_penalty");
  expect_refused(SamplingParams{.frequency_penalty = -2.1}, "frequency_penalty");
  expect_refused(SamplingParams{.repetition_penalty = 0}, "repetition_penalty");
  expect_refused(SamplingParams{.logit_bias = {{100, 0.0f}}}, "logit_bias");
  expect_refused(SamplingParams{.logit_bias = {{-1, 0.0f}}}, "logit_bias");
  expect_refused(SamplingParams{.logit_bias = {{1, 101.0f}}}, "logit_bias");
  expect_refused(SamplingParams{.logit_bias = {{1, 0.0f}, {1, 1.0f}}}, "logit_bias");
  expect_refused(SamplingParams{.logprobs = 21}, "logprobs");
}

TEST(Params, WrongStopFieldsAreNamed) {
  expect_refused(StopConditions{.strings = {""}}, "stop");
  expect_refused(StopConditions{.strings = {"\xff"}}, "stop");
  expect_refused(StopConditions{.strings = {"\xed\xa0\x80"}}, "stop");
  expect_refused(StopConditions{.strings = {"\xc3"}}, "stop");
  expect_refused(StopConditions{.strings = {std::string(1025, 'x')}}, "stop");
  expect_refused(StopConditions{.strings = std::vector<std::string>(17, "x")}, "stop");
  expect_refused(StopConditions{.token_ids = {100}}, "stop_token_ids");
  expect_refused(StopConditions{.max_tokens = -1}, "max_tokens");
  expect_refused(StopConditions{.min_tokens = -1}, "min_tokens");
  expect_refused(StopConditions{.max_tokens = 2, .min_tokens = 3}, "min_tokens");
}

}  // namespace
}  // namespace ferry::sample
