// See embeddings.h.
#include "server/api/embeddings.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "server/api/answer_parts.h"
#include "server/api/base64.h"
#include "server/api/prompts.h"
#include "server/api/sampling_fields.h"

namespace ferry::server::api {
namespace {

constexpr size_t kMaxInputs = 2048;

std::vector<float> unit_length(const std::vector<float>& vector) {
  double sum = 0;
  for (const float value : vector) sum += static_cast<double>(value) * value;
  const double scale = sum > 0 ? 1 / std::sqrt(sum) : 0;
  std::vector<float> out;
  out.reserve(vector.size());
  for (const float value : vector) out.push_back(static_cast<float>(value * scale));
  return out;
}

std::string little_endian_base64(const std::vector<float>& vector) {
  std::string bytes;
  bytes.reserve(vector.size() * 4);
  for (const float value : vector) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xFF);
  }
  return base64(bytes);
}

std::string write_vectors(const std::string& name, bool as_base64,
                          std::span<const std::vector<float>> vectors, int64_t prompt_tokens) {
  Json body{{"object", "list"}, {"data", Json::array()}, {"model", name}};
  for (size_t i = 0; i < vectors.size(); ++i) {
    const std::vector<float> vector = unit_length(vectors[i]);
    body["data"].push_back(
        {{"object", "embedding"},
         {"index", i},
         {"embedding", as_base64 ? Json(little_endian_base64(vector)) : Json(vector)}});
  }
  body["usage"] = {{"prompt_tokens", prompt_tokens}, {"total_tokens", prompt_tokens}};
  return dump(body);
}

class EmbeddingAnswer : public Answer {
 public:
  EmbeddingAnswer(std::string name, bool as_base64, size_t num_inputs)
      : name_(std::move(name)), as_base64_(as_base64), vectors_(num_inputs) {}

  std::string begin(std::span<const int64_t> prompt_tokens) override {
    for (const int64_t count : prompt_tokens) prompt_tokens_ += count;
    return {};
  }

  std::string event(size_t request, const StreamEvent& event) override {
    if (!event.finish.has_value()) return {};
    if (event.embedding.empty()) return fail(finish_error(*event.finish));
    vectors_[request] = event.embedding;
    return {};
  }

  std::string end() override { return write_vectors(name_, as_base64_, vectors_, prompt_tokens_); }

  std::string fail(const ApiError& error) override {
    failure_ = error;
    return {};
  }

 private:
  const std::string name_;
  const bool as_base64_;
  std::vector<std::vector<float>> vectors_;
  int64_t prompt_tokens_ = 0;
};

}  // namespace

ApiResult<Reply> embeddings(const ServedModel& model, std::string_view text) {
  ApiResult<Json> json = parse_body(text);
  if (!json.ok()) return std::move(json).error();
  Failure failure;
  Fields body(*json, "", failure);
  check_model(body, model);
  const std::vector<Prompt> inputs = read_prompts(body, "input", model, kMaxInputs);
  const std::string encoding =
      body.one_of("encoding_format", {"float", "base64"}).value_or("float");
  const bool last = body.one_of("pooling", {"mean", "last"}) == "last";
  const auto dimensions = body.integer("dimensions", 1, INT64_MAX);
  if (dimensions.value_or(model.info.hidden_size) != model.info.hidden_size) {
    body.fail(unsupported_value("dimensions", fmt::format("this model's embeddings have {} entries",
                                                          model.info.hidden_size)));
  }
  if (failure.has_value()) return *failure;
  Job job;
  for (const Prompt& input : inputs) {
    Request request;
    request.prompt = input;
    request.embed = last ? Pooling::kLast : Pooling::kMean;
    job.requests.push_back(std::move(request));
  }
  job.answer = std::make_unique<EmbeddingAnswer>(model.name(), encoding == "base64", inputs.size());
  return Reply(std::move(job));
}

}  // namespace ferry::server::api
