// Embeddings as the API has them: one request per input, vectors of length 1, two encodings.
#include "server/api/embeddings.h"

#include <gtest/gtest.h>

#include "server/api/testing.h"

namespace ferry::server::api {
namespace {

StreamEvent vector_event(std::vector<float> vector) {
  StreamEvent event = finish_event(FinishReason::kStop);
  event.embedding = std::move(vector);
  return event;
}

TEST(Embeddings, OneVectorOfLengthOnePerInput) {
  const ServedModel model = fake_model();
  auto reply =
      embeddings(model, R"({"model": "x", "input": ["one", [65, 66]], "pooling": "last"})");
  ASSERT_TRUE(reply.ok());
  Job& job = std::get<Job>(*reply);
  ASSERT_EQ(job.requests.size(), 2u);
  EXPECT_EQ(job.requests[0].embed, Pooling::kLast);
  EXPECT_EQ(std::get<std::vector<int32_t>>(job.requests[1].prompt), (std::vector<int32_t>{65, 66}));
  const int64_t prompt_tokens[] = {4, 2};
  EXPECT_EQ(job.answer->begin(prompt_tokens), "");
  EXPECT_EQ(job.answer->event(1, vector_event({0, 2})), "");
  EXPECT_EQ(job.answer->event(0, vector_event({3, 4})), "");
  const Json body = Json::parse(job.answer->end());
  EXPECT_EQ(body["object"], "list");
  EXPECT_EQ(body["data"].size(), 2u);
  EXPECT_FLOAT_EQ(body["data"][0]["embedding"][0].get<float>(), 0.6f);
  EXPECT_FLOAT_EQ(body["data"][0]["embedding"][1].get<float>(), 0.8f);
  EXPECT_EQ(body["data"][1]["embedding"], Json({0.0, 1.0}));
  EXPECT_EQ(body["usage"]["prompt_tokens"], 6);
}

TEST(Embeddings, Base64IsLittleEndianFloats) {
  const ServedModel model = fake_model();
  auto reply = embeddings(model, R"({"model": "x", "input": "a", "encoding_format": "base64"})");
  ASSERT_TRUE(reply.ok());
  Job& job = std::get<Job>(*reply);
  EXPECT_EQ(job.requests[0].embed, Pooling::kMean);
  const Json body = Json::parse(drive(*job.answer, {vector_event({0, 5})}));
  EXPECT_EQ(body["data"][0]["embedding"], "AAAAAAAAgD8=");
}

TEST(Embeddings, FailuresOfTheEngineAndOfFields) {
  const ServedModel model = fake_model();
  auto reply = embeddings(model, R"({"model": "x", "input": "a"})");
  Answer& answer = *std::get<Job>(*reply).answer;
  EXPECT_EQ(drive(answer, {finish_event(FinishReason::kCancelled)}), "");
  ASSERT_TRUE(answer.failure().has_value());
  EXPECT_GE(answer.failure()->status, 500);
  EXPECT_EQ(embeddings(model, R"({"model": "x"})").error().param, "input");
  EXPECT_EQ(embeddings(model, R"({"model": "x", "input": "a", "dimensions": 3})").error().param,
            "dimensions");
}

}  // namespace
}  // namespace ferry::server::api
