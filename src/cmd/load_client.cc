// See load_client.h.
#include "cmd/load_client.h"

#include <curl/curl.h>

#include <algorithm>

#include "base/check.h"
#include "base/quote_name.h"

namespace ferry::cmd {
namespace {

constexpr size_t kEventBytesMax = 1 << 20;
constexpr size_t kErrorBytesMax = 4096;  // of a refusal's text
constexpr size_t kJsonBytesMax = 8 << 20;
constexpr long kConnectTimeout_s = 30;
constexpr int kPollMs = 50;  // how often `stop` is asked at least

void set_common(CURL* handle, const LoadTarget& target, curl_slist* headers) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK(initialised == CURLE_OK);
  curl_easy_setopt(handle, CURLOPT_URL, target.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "ferry-bench/" FERRY_VERSION);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, kConnectTimeout_s);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(target.timeout_s * 1000));
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
}

curl_slist* make_headers(const LoadTarget& target) {
  curl_slist* headers = curl_slist_append(nullptr, "Content-Type: application/json");
  headers = curl_slist_append(headers, "Expect:");  // no round trip before a long prompt
  if (!target.api_key.empty()) {
    headers = curl_slist_append(headers, ("Authorization: Bearer " + target.api_key).c_str());
  }
  return headers;
}

const Json* member(const Json& value, const char* key) {
  return value.is_object() ? json_find(value, key) : nullptr;
}

bool has_text(const Json& value, const char* key) {
  const Json* text = member(value, key);
  return text != nullptr && text->is_string() && !text->get_ref<const std::string&>().empty();
}

// A piece of the answer that a user would see or a program would use.
bool carries_text(const Json& choice) {
  if (has_text(choice, "text")) return true;
  const Json* delta = member(choice, "delta");
  if (delta == nullptr) return false;
  const Json* calls = member(*delta, "tool_calls");
  return has_text(*delta, "content") || has_text(*delta, "reasoning_content") ||
         has_text(*delta, "reasoning") || (calls != nullptr && !calls->empty());
}

void take_count(const Json& usage, const char* key, int64_t& count) {
  const Json* value = member(usage, key);
  if (value != nullptr && value->is_number_integer()) count = value->get<int64_t>();
}

std::string first_line(std::string_view text) {
  return one_line(text.substr(0, text.find_first_of("\r\n")));
}

}  // namespace

std::string error_text(std::string_view body) {
  const Result<Json> parsed = parse_json(body, {.max_bytes = kErrorBytesMax, .max_depth = 16});
  if (parsed.ok()) {
    const Json* error = member(*parsed, "error");
    const Json* message = error != nullptr ? member(*error, "message") : member(*parsed, "message");
    if (error != nullptr && error->is_string()) message = error;
    if (message != nullptr && message->is_string()) return first_line(message->get<std::string>());
  }
  return first_line(body);
}

Status EventReader::push(std::string_view bytes,
                         const std::function<void(std::string_view)>& on_event) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (line_.size() + data_.size() > kEventBytesMax) {
      return io_error("an event of more than {} bytes", kEventBytesMax);
    }
    if (end == std::string_view::npos) return {};
    bytes.remove_prefix(end + 1);
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    if (line_.empty()) {
      if (has_data_) on_event(data_);
      data_.clear();
      has_data_ = false;
    } else if (line_.starts_with("data:")) {
      if (has_data_) data_ += '\n';
      data_ += line_.substr(line_.size() > 5 && line_[5] == ' ' ? 6 : 5);
      has_data_ = true;
    }
    line_.clear();
  }
  return {};
}

bool take_event(LoadAnswer& answer, std::string_view data, double now_s) {
  if (data == "[DONE]") return false;
  const Result<Json> parsed = parse_json(data, {.max_bytes = kEventBytesMax, .max_depth = 64});
  if (!parsed.ok()) {
    answer.failure = "an event that is no JSON";
    return true;
  }
  const Json* error = member(*parsed, "error");
  if (error != nullptr) {
    answer.failure = "error event: " + error_text(data);
    return true;
  }
  const Json* usage = member(*parsed, "usage");
  if (usage != nullptr) {
    take_count(*usage, "prompt_tokens", answer.prompt_tokens);
    take_count(*usage, "completion_tokens", answer.completion_tokens);
  }
  const Json* choices = member(*parsed, "choices");
  if (choices == nullptr || !choices->is_array() || choices->empty()) return true;
  if (!carries_text(choices->front())) return true;
  if (answer.pieces == 0) {
    answer.first_s = now_s;
  } else {
    answer.gaps_s.push_back(now_s - answer.last_s);
  }
  answer.last_s = now_s;
  ++answer.pieces;
  return true;
}

struct LoadClient::Transfer {
  LoadClient* client = nullptr;
  CURL* handle = nullptr;
  std::string body;
  LoadAnswer* answer = nullptr;
  EventReader events;
  std::string refusal;  // the text of an answer that is not 200
  bool done = false;    // [DONE] has come

  ~Transfer() { curl_easy_cleanup(handle); }
};

LoadClient::LoadClient(LoadTarget target)
    : target_(std::move(target)), multi_(curl_multi_init()), headers_(make_headers(target_)) {
  CHECK(multi_ != nullptr);
}

LoadClient::~LoadClient() {
  for (const auto& transfer : running_) curl_multi_remove_handle(multi_, transfer->handle);
  running_.clear();
  curl_multi_cleanup(multi_);
  curl_slist_free_all(static_cast<curl_slist*>(headers_));
}

size_t LoadClient::on_data(char* data, size_t size, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const double now = transfer.client->now_s();
  const std::string_view bytes(data, size * count);
  long status = 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    const size_t room = kErrorBytesMax - transfer.refusal.size();
    transfer.refusal += bytes.substr(0, room);
    return bytes.size();
  }
  LoadAnswer& answer = *transfer.answer;
  const Status parsed = transfer.events.push(bytes, [&](std::string_view event) {
    if (!transfer.done && answer.failure.empty()) transfer.done = !take_event(answer, event, now);
  });
  if (!parsed.ok()) answer.failure = parsed.error().message;
  // A failed stream need not be read to its end.
  return answer.failure.empty() ? bytes.size() : 0;
}

void LoadClient::start(const LoadRequest& request, LoadAnswer& answer, double sent_s) {
  auto transfer = std::make_unique<Transfer>();
  transfer->client = this;
  transfer->handle = curl_easy_init();
  CHECK(transfer->handle != nullptr);
  transfer->body = request.body;
  transfer->answer = &answer;
  answer.sent_s = sent_s;
  CURL* handle = transfer->handle;
  set_common(handle, target_, static_cast<curl_slist*>(headers_));
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(transfer->body.size()));
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, transfer->body.c_str());
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer.get());
  curl_easy_setopt(handle, CURLOPT_PRIVATE, transfer.get());
  CHECK(curl_multi_add_handle(multi_, handle) == CURLM_OK);
  running_.push_back(std::move(transfer));
}

void LoadClient::finish_ended() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    char* owner = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
    auto* transfer = reinterpret_cast<Transfer*>(owner);
    LoadAnswer& answer = *transfer->answer;
    long status = 0;
    curl_easy_getinfo(transfer->handle, CURLINFO_RESPONSE_CODE, &status);
    answer.ended = true;
    answer.end_s = now_s();
    if (answer.failure.empty() && code != CURLE_OK && !transfer->done) {
      answer.failure = curl_easy_strerror(code);
    } else if (answer.failure.empty() && status != 200) {
      answer.failure = fmt::format("HTTP {}: {}", status, error_text(transfer->refusal));
    } else if (answer.failure.empty() && !transfer->done) {
      answer.failure = "the stream ended without [DONE]";
    }
    curl_multi_remove_handle(multi_, transfer->handle);
    std::erase_if(running_, [&](const auto& entry) { return entry.get() == transfer; });
  }
}

std::vector<LoadAnswer> LoadClient::run(std::span<const LoadRequest> requests, int64_t concurrency,
                                        const std::function<void()>& on_end,
                                        const std::function<bool()>& stop) {
  std::vector<LoadAnswer> answers(requests.size());
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS,
                    static_cast<long>(std::max<size_t>(requests.size(), 8)));
  start_ = Clock::now();
  size_t next = 0;
  while ((next < requests.size() || !running_.empty()) && !stop()) {
    while (next < requests.size()) {
      const bool due = concurrency > 0 ? static_cast<int64_t>(running_.size()) < concurrency
                                       : requests[next].due_s <= now_s();
      if (!due) break;
      // Waiting to be sent is the client's fault, and counts.
      start(requests[next], answers[next], concurrency > 0 ? now_s() : requests[next].due_s);
      ++next;
    }
    int active = 0;
    curl_multi_perform(multi_, &active);
    const size_t before = running_.size();
    finish_ended();
    for (size_t i = running_.size(); i < before; ++i) on_end();
    if (running_.size() < before) continue;  // the next may go
    int wait_ms = kPollMs;
    if (concurrency == 0 && next < requests.size()) {
      const double ms = (requests[next].due_s - now_s()) * 1e3;
      wait_ms = static_cast<int>(std::clamp(ms, 0.0, static_cast<double>(kPollMs)));
    }
    curl_multi_poll(multi_, nullptr, 0, wait_ms, nullptr);
  }
  run_s_ = now_s();
  for (const auto& transfer : running_) curl_multi_remove_handle(multi_, transfer->handle);
  running_.clear();
  return answers;
}

Result<Json> call_json(const LoadTarget& target, const std::string& body) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle(curl_easy_init(),
                                                                   curl_easy_cleanup);
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(make_headers(target),
                                                                            curl_slist_free_all);
  std::string answer;
  set_common(handle.get(), target, headers.get());
  if (!body.empty()) {
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, body.c_str());
  }
  size_t (*const take)(char*, size_t, size_t, void*) = [](char* data, size_t size, size_t count,
                                                          void* context) {
    auto& text = *static_cast<std::string*>(context);
    if (text.size() + size * count > kJsonBytesMax) return size_t{0};
    text.append(data, size * count);
    return size * count;
  };
  curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &answer);
  const CURLcode code = curl_easy_perform(handle.get());
  if (code != CURLE_OK) return io_error("{}: {}", target.url, curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    return io_error("{}: HTTP {}: {}", target.url, status, error_text(answer));
  }
  Result<Json> parsed = parse_json(answer, {.max_bytes = kJsonBytesMax, .max_depth = 64});
  if (!parsed.ok()) return io_error("{}: {}", target.url, parsed.error().message);
  return parsed;
}

}  // namespace ferry::cmd
