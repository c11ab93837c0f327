// See metrics.h.
#include "server/http/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace ferry::server {
namespace {

const std::vector<double> kFirstTokenLimits = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06,
                                               0.08,  0.1,    0.25,  0.5,  0.75, 1,    2.5,
                                               5,     7.5,    10,    20,   40,   80,   160};
const std::vector<double> kGapLimits = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075,
                                        0.1,    0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,
                                        2.5,    5,     7.5,    10,    20,   40,    80};
const std::vector<double> kRequestLimits = {0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,
                                            10,   15,   20,  30,  40,  50,  60, 120, 240, 480, 960};

// Label values: backslash, quote and newline are escaped.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

void write_head(std::string& out, const std::string& name, std::string_view help,
                std::string_view type) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

// The engine counts its steps itself: entry i are those of at most 2^i tokens.
void write_steps(std::string& out, const std::string& name, const std::string& labels,
                 const EngineStats& stats) {
  write_head(out, name, "Tokens of a step of the engine.", "histogram");
  int64_t sum = 0;
  for (size_t i = 0; i < stats.steps_by_tokens.size(); ++i) {
    sum += stats.steps_by_tokens[i];
    const bool last = i + 1 == stats.steps_by_tokens.size();
    const std::string limit = last ? "+Inf" : std::to_string(int64_t{1} << i);
    out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, limit, sum);
  }
  out += fmt::format("{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name, labels, stats.step_tokens_total,
                     name, labels, stats.num_steps_total);
}

void write_value(std::string& out, const std::string& name, std::string_view help,
                 std::string_view type, const std::string& labels, double value) {
  write_head(out, name, help, type);
  out += fmt::format("{}{{{}}} {}\n", name, labels, value);
}

// What vLLM has no names for.
void write_expert_reads(std::string& out, const std::string& labels, const EngineStats& stats) {
  const auto counter = [&](const char* name, std::string_view help, double value) {
    write_value(out, std::string("ferry_expert_") + name, help, "counter", labels, value);
  };
  counter("hits_total", "Matrices of experts that were wanted and in memory.",
          static_cast<double>(stats.expert_hits_total));
  counter("misses_total", "Matrices of experts that had to be waited for.",
          static_cast<double>(stats.expert_misses_total));
  counter("guesses_total", "Matrices of experts that were read ahead of their layer.",
          static_cast<double>(stats.expert_guesses_total));
  counter("guesses_right_total", "Of these, wanted.",
          static_cast<double>(stats.expert_guesses_right_total));
  counter("read_bytes_total", "Bytes of experts read from the file.",
          static_cast<double>(stats.expert_read_bytes_total));
  counter("read_seconds_total", "Time with such a read going on.", stats.expert_read_seconds_total);
  counter("wait_seconds_total", "Of it, with nothing to compute meanwhile.",
          stats.expert_wait_seconds_total);
}

}  // namespace

void Histogram::add(double value, int64_t times) {
  const auto at = std::lower_bound(limits_.begin(), limits_.end(), value);
  counts_[static_cast<size_t>(at - limits_.begin())] += times;
  sum_ += value * static_cast<double>(times);
}

void Histogram::write(std::string& out, const std::string& name, std::string_view help,
                      const std::string& labels) const {
  write_head(out, name, help, "histogram");
  const std::string comma = labels.empty() ? "" : ",";
  int64_t sum = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    sum += counts_[i];
    const std::string limit = i < limits_.size() ? fmt::format("{}", limits_[i]) : "+Inf";
    out += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma, limit, sum);
  }
  out += fmt::format("{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name, labels, sum_, name, labels, sum);
}

Metrics::Metrics(bool vllm_names, std::string model_name)
    : prefix_(vllm_names ? "vllm:" : "ferry_"),
      label_(fmt::format("model_name=\"{}\"", escaped(model_name))),
      ttft_(kFirstTokenLimits),
      gap_(kGapLimits),
      whole_(kRequestLimits),
      queue_(kRequestLimits),
      prefill_(kRequestLimits),
      decode_(kRequestLimits) {}

void Metrics::first_token(double since_arrival_s, int64_t prompt_tokens) {
  ttft_.add(since_arrival_s);
  prompt_tokens_ += prompt_tokens;
}

void Metrics::more_tokens(int64_t count, double since_last_s) {
  gap_.add(since_last_s / static_cast<double>(count), count);
}

void Metrics::finished(const Finish& finish, double since_arrival_s) {
  ++finishes_[std::string(finish_reason_name(finish.reason))];
  whole_.add(since_arrival_s);
  queue_.add(finish.wait_seconds);
  prefill_.add(finish.prompt_seconds);
  decode_.add(finish.decode_seconds);
}

void Metrics::write_requests(std::string& out) const {
  const std::string name = prefix_ + "request_success_total";
  write_head(out, name, "Requests that ended, by reason.", "counter");
  for (const char* reason : {"stop", "length", "tool_calls", "cancelled", "error"}) {
    const auto found = finishes_.find(reason);
    out += fmt::format("{}{{{},finished_reason=\"{}\"}} {}\n", name, label_, reason,
                       found == finishes_.end() ? 0 : found->second);
  }
  ttft_.write(out, prefix_ + "time_to_first_token_seconds",
              "From the arrival of a request to its first token.", label_);
  gap_.write(out, prefix_ + "inter_token_latency_seconds", "Between one token and the next.",
             label_);
  whole_.write(out, prefix_ + "e2e_request_latency_seconds",
               "From the arrival of a request to its end.", label_);
  queue_.write(out, prefix_ + "request_queue_time_seconds", "From submission to the first step.",
               label_);
  prefill_.write(out, prefix_ + "request_prefill_time_seconds",
                 "From the first step to the first token.", label_);
  decode_.write(out, prefix_ + "request_decode_time_seconds", "From the first token to the last.",
                label_);
}

std::string Metrics::text(const Engine* engine, int64_t num_connections) const {
  const EngineStats stats = engine == nullptr ? EngineStats() : engine->stats();
  const double used = stats.kv_tokens == 0 ? 0
                                           : 1 - static_cast<double>(stats.kv_tokens_free) /
                                                     static_cast<double>(stats.kv_tokens);
  std::string out;
  const auto gauge = [&](const char* name, std::string_view help, double value) {
    write_value(out, prefix_ + name, help, "gauge", label_, value);
  };
  const auto counter = [&](const char* name, std::string_view help, int64_t value) {
    write_value(out, prefix_ + name, help, "counter", label_, static_cast<double>(value));
  };
  gauge("num_requests_running", "Requests in the batch.", static_cast<double>(stats.num_running));
  gauge("num_requests_waiting", "Requests that wait for room.",
        static_cast<double>(stats.num_waiting));
  gauge("kv_cache_usage_perc", "Share of the cache that is in use; 1 is all of it.", used);
  gauge("weights_to_pack_bytes",
        "Of weights that will be read faster once they are packed, which is done between steps.",
        static_cast<double>(stats.bytes_to_pack));
  counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.",
          stats.prefix_queries_total);
  counter("prefix_cache_hits_total", "Of these, found there.", stats.prefix_hits_total);
  counter("prompt_tokens_total", "Prompt tokens of requests that got their first token.",
          prompt_tokens_);
  counter("generation_tokens_total", "Tokens generated.", generation_tokens_);
  counter("num_preemptions_total", "Requests that had to give their pages back for a while.",
          stats.num_preemptions);
  counter("spec_decode_num_draft_tokens_total", "Guessed tokens that were checked.",
          stats.draft_tokens_total);
  counter("spec_decode_num_accepted_tokens_total", "Of these, right.", stats.accepted_tokens_total);
  write_expert_reads(out, label_, stats);
  write_steps(out, prefix_ + "iteration_tokens_total", label_, stats);
  write_requests(out);
  write_head(out, "ferry_http_responses_total", "Answers by route and status.", "counter");
  for (const auto& [key, count] : answers_) {
    out += fmt::format("ferry_http_responses_total{{route=\"{}\",status=\"{}\"}} {}\n", key.first,
                       key.second, count);
  }
  write_value(out, "ferry_http_connections", "Open connections.", "gauge", "",
              static_cast<double>(num_connections));
  return out;
}

}  // namespace ferry::server
