// See request_table.h.
#include "server/http/request_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "server/api/api_error.h"

namespace ferry::server {
namespace {

constexpr size_t kMaxEnded = 100;
constexpr size_t kMaxListed = 200;

double rounded(double value) { return std::round(value * 1000) / 1000; }

Json milliseconds(std::optional<double> seconds) {
  return seconds.has_value() ? Json(rounded(*seconds * 1000)) : Json(nullptr);
}

std::string state_of(const RequestRecord& record) {
  if (!record.ended_s.has_value()) return record.first_token_s.has_value() ? "running" : "waiting";
  return record.error.empty() ? "done" : "error";
}

Json tokens_per_s(const RequestRecord& record) {
  if (!record.first_token_s.has_value() || record.output_tokens < 2) return nullptr;
  const double seconds = record.ended_s.value_or(record.age_s()) - *record.first_token_s;
  if (seconds <= 0) return nullptr;
  return rounded(static_cast<double>(record.output_tokens - 1) / seconds);
}

Json row(const RequestRecord& record) {
  return {
      {"id", record.id},
      {"started", rounded(record.started)},
      {"state", state_of(record)},
      {"finish_reason", record.finish_reason.empty() ? Json(nullptr) : Json(record.finish_reason)},
      {"route", record.route},
      {"prompt_tokens", record.prompt_tokens},
      {"cached_tokens", record.cached_tokens},
      {"output_tokens", record.output_tokens},
      {"ttft_ms", milliseconds(record.first_token_s)},
      {"tokens_per_s", tokens_per_s(record)},
      {"duration_ms", milliseconds(record.ended_s.value_or(record.age_s()))}};
}

}  // namespace

void RequestTable::begin(const std::shared_ptr<RequestRecord>& record) {
  running_.emplace(record.get(), record);
}

void RequestTable::end(const std::shared_ptr<RequestRecord>& record) {
  if (running_.erase(record.get()) == 0) return;
  ended_.push_front(record);
  if (ended_.size() > kMaxEnded) ended_.pop_back();
}

std::string RequestTable::json(double uptime_s) const {
  std::vector<const RequestRecord*> rows;
  for (const auto& [key, record] : running_) rows.push_back(key);
  for (const auto& record : ended_) rows.push_back(record.get());
  std::sort(rows.begin(), rows.end(),
            [](const RequestRecord* a, const RequestRecord* b) { return a->begun > b->begun; });
  if (rows.size() > kMaxListed) rows.resize(kMaxListed);
  Json out{{"uptime_seconds", rounded(uptime_s)}, {"requests", Json::array()}};
  for (const RequestRecord* record : rows) out["requests"].push_back(row(*record));
  return api::dump(out);
}

std::string access_line(const RequestRecord& record) {
  Json out{{"time", rounded(record.started)},
           {"request_id", record.id},
           {"client", record.client},
           {"method", record.method},
           {"path", record.path},
           {"status", record.status},
           {"duration_ms", milliseconds(record.ended_s.value_or(record.age_s()))},
           {"bytes_in", record.bytes_in},
           {"bytes_out", record.bytes_out}};
  if (record.computes) {
    out["stream"] = record.stream;
    out["prompt_tokens"] = record.prompt_tokens;
    out["cached_tokens"] = record.cached_tokens;
    out["output_tokens"] = record.output_tokens;
    out["ttft_ms"] = milliseconds(record.first_token_s);
  }
  if (!record.finish_reason.empty()) out["finish_reason"] = record.finish_reason;
  if (!record.error.empty()) out["error"] = record.error;
  if (!record.prompt.empty()) out["body"] = record.prompt;
  return api::dump(out);
}

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string new_request_id() {
  thread_local std::mt19937_64 generator([] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }());
  const uint64_t high = generator();
  return fmt::format("req_{:016x}{:016x}", high, generator());
}

}  // namespace ferry::server
