// What the server counts, and /metrics from it: Prometheus text under ferry's own names, or under
// vLLM's, so that dashboards made for that work. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ferry/ferry.h"

namespace ferry::server {

class Histogram {
 public:
  explicit Histogram(std::vector<double> limits)
      : limits_(std::move(limits)), counts_(limits_.size() + 1) {}

  void add(double value, int64_t times = 1);
  // `labels`: `a="b"`, or empty.
  void write(std::string& out, const std::string& name, std::string_view help,
             const std::string& labels) const;

 private:
  std::vector<double> limits_;
  std::vector<int64_t> counts_;  // one more than limits: above all of them
  double sum_ = 0;
};

class Metrics {
 public:
  Metrics(bool vllm_names, std::string model_name);

  void answered(std::string_view route, int status) { ++answers_[{std::string(route), status}]; }
  void first_token(double since_arrival_s, int64_t prompt_tokens);
  void more_tokens(int64_t count, double since_last_s);
  void generated(int64_t count) { generation_tokens_ += count; }
  void finished(const Finish& finish, double since_arrival_s);

  // `engine`: nullptr while it is loading.
  std::string text(const Engine* engine, int64_t num_connections) const;

 private:
  void write_requests(std::string& out) const;

  std::string prefix_;
  std::string label_;
  std::map<std::pair<std::string, int>, int64_t> answers_;
  std::map<std::string, int64_t, std::less<>> finishes_;
  int64_t prompt_tokens_ = 0;
  int64_t generation_tokens_ = 0;
  Histogram ttft_, gap_, whole_, queue_, prefill_, decode_;
};

}  // namespace ferry::server
