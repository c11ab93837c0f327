// The parts of the chat that need no terminal: settings, and what a terminal may be shown.
#include "cmd/chat.h"

#include <gtest/gtest.h>

#include "cmd/engine_flags.h"

namespace ferry::cmd {
namespace {

TEST(Chat, SettingsByName) {
  ChatSettings settings;
  EXPECT_TRUE(change_setting(settings, "temperature", "0.25").ok());
  EXPECT_TRUE(change_setting(settings, "top_k", "40").ok());
  EXPECT_TRUE(change_setting(settings, "max_tokens", "77").ok());
  EXPECT_TRUE(change_setting(settings, "seed", "12345678901234567890").ok());
  EXPECT_EQ(settings.sampling.temperature, 0.25);
  EXPECT_EQ(settings.sampling.top_k, 40);
  EXPECT_EQ(settings.stop.max_tokens, 77);
  EXPECT_EQ(settings.sampling.seed, 12345678901234567890u);
  EXPECT_NE(describe_settings(settings).find("temperature 0.25"), std::string::npos);
  EXPECT_TRUE(change_setting(settings, "seed", "random").ok());
  EXPECT_FALSE(settings.sampling.seed.has_value());
  for (const auto& [name, value] : {std::pair("temperature", "warm"),
                                    {"top_k", "1.5"},
                                    {"height", "3"},
                                    {"top_p", ""},
                                    {"seed", "-1"}}) {
    EXPECT_FALSE(change_setting(settings, name, value).ok()) << name;
  }
  EXPECT_EQ(settings.sampling.temperature, 0.25);
}

TEST(Chat, ATerminalGetsNoControlCharacters) {
  EXPECT_EQ(without_controls("a\tb\nc é 😀"), "a\tb\nc é 😀");
  EXPECT_EQ(without_controls("\033[2Jx"), "\\x1b[2Jx");
  EXPECT_EQ(without_controls("\r\b\x7f"), "\\x0d\\x08\\x7f");
  EXPECT_EQ(without_controls("\xc2\x9b"
                             "31m\xc2\xa0"),
            "\\x9b"
            "31m\xc2\xa0");
}

TEST(Chat, FlagsOverTheModelsDefaults) {
  SamplingParams defaults;
  defaults.temperature = 0.6;
  defaults.top_p = 0.95;
  SamplingFlags flags;
  flags.top_p = 0.5;
  flags.logit_bias = {"3=-1.5", "70=100"};
  const Result<SamplingParams> params = apply_sampling_flags(flags, defaults);
  ASSERT_TRUE(params.ok());
  EXPECT_EQ(params->temperature, 0.6);
  EXPECT_EQ(params->top_p, 0.5);
  ASSERT_EQ(params->logit_bias.size(), 2u);
  EXPECT_EQ(params->logit_bias[0].first, 3);
  EXPECT_EQ(params->logit_bias[0].second, -1.5f);
  for (const char* wrong : {"3", "=1", "x=1", "3=", "3=1x"}) {
    flags.logit_bias = {wrong};
    EXPECT_FALSE(apply_sampling_flags(flags, defaults).ok()) << wrong;
  }
}

}  // namespace
}  // namespace ferry::cmd
