// What sampling needs is found on devices whose memory is not the host's, and no answer changes.
#include "engine/top_logits_testing.h"
#include "far/far_backend.h"

namespace ferry::engine {
namespace {

using namespace engine::testing;

TEST(TopLogits, ChooseOnAFarDeviceWhatWholeRowsDo) {
  expect_top_logits_do(far::make_far_backend(), 24);
}

// Rows behind guesses go the same way, and so do the module's guesses.
TEST(TopLogits, JudgeGuesses) {
  DemoLoops loops(far::make_far_backend());
  const std::vector<Request> requests = requests_for_top_logits(40, true);
  const DemoLoops::Answers plain = loops.answer(requests, true);
  for (const Speculation speculation : {Speculation::kPromptLookup, Speculation::kMtp}) {
    const DemoLoops::Answers whole = loops.answer(requests, true, speculation);
    const DemoLoops::Answers top = loops.answer(requests, false, speculation);
    for (size_t i = 0; i < requests.size(); ++i) {
      expect_same_bits(plain.completions[i], top.completions[i], i);
      EXPECT_EQ(whole.completions[i].finish.draft_tokens, top.completions[i].finish.draft_tokens);
      EXPECT_EQ(whole.completions[i].finish.accepted_tokens,
                top.completions[i].finish.accepted_tokens);
    }
    EXPECT_GT(top.stats.accepted_tokens_total, 0);
    EXPECT_LT(top.bytes_out, whole.bytes_out);
  }
}

TEST(TopLogits, AreNotLookedForWhereTheHostSeesTheMemory) {
  DemoLoops loops(backend_named("reference"));
  const DemoLoops::Answers answers = loops.answer(requests_for_top_logits(3, false), false);
  EXPECT_EQ(answers.num_top_logits, 0);
}

}  // namespace
}  // namespace ferry::engine
