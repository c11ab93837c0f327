// See load_report.h.
#include "cmd/load_report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>

#include "base/quote_name.h"

namespace ferry::cmd {
namespace {

struct Distributions {
  std::vector<double> ttft, itl, tpot, e2e;  // seconds, sorted
};

double tpot_of(const LoadAnswer& answer) {
  const int64_t tokens = answer.output_tokens();
  return tokens > 1 ? (answer.last_s - answer.first_s) / static_cast<double>(tokens - 1) : 0;
}

bool meets(const LoadAnswer& answer, const Objectives& objectives) {
  if (!answer.good() || answer.pieces == 0) return false;
  const auto within = [](const std::optional<double>& limit, double value) {
    return !limit || value <= *limit;
  };
  return within(objectives.ttft_s, answer.first_s - answer.sent_s) &&
         within(objectives.tpot_s, tpot_of(answer)) &&
         within(objectives.e2e_s, answer.end_s - answer.sent_s);
}

Distributions distributions_of(const LoadRun& run) {
  Distributions out;
  for (const LoadAnswer& answer : run.answers) {
    if (!answer.good()) continue;
    out.e2e.push_back(answer.end_s - answer.sent_s);
    if (answer.pieces == 0) continue;
    out.ttft.push_back(answer.first_s - answer.sent_s);
    if (answer.output_tokens() > 1) out.tpot.push_back(tpot_of(answer));
    out.itl.insert(out.itl.end(), answer.gaps_s.begin(), answer.gaps_s.end());
  }
  for (auto* values : {&out.ttft, &out.itl, &out.tpot, &out.e2e}) {
    std::sort(values->begin(), values->end());
  }
  return out;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// In milliseconds; null where there was nothing to count.
Json distribution_json(const std::vector<double>& sorted) {
  if (sorted.empty()) return {};
  return {{"count", sorted.size()},
          {"mean", mean(sorted) * 1e3},
          {"p50", percentile(sorted, 50) * 1e3},
          {"p90", percentile(sorted, 90) * 1e3},
          {"p99", percentile(sorted, 99) * 1e3},
          {"max", sorted.back() * 1e3}};
}

struct Totals {
  int64_t good = 0, failed = 0, unfinished = 0, met = 0;
  int64_t input_tokens = 0, output_tokens = 0;
  std::map<std::string, int64_t> failures;
};

Totals totals_of(const LoadRun& run, const Objectives& objectives) {
  Totals totals;
  for (const LoadAnswer& answer : run.answers) {
    if (!answer.ended) {
      ++totals.unfinished;
    } else if (!answer.failure.empty()) {
      ++totals.failed;
      ++totals.failures[answer.failure];
    } else {
      ++totals.good;
      totals.met += meets(answer, objectives) ? 1 : 0;
      totals.input_tokens += std::max<int64_t>(answer.prompt_tokens, 0);
      totals.output_tokens += answer.output_tokens();
    }
  }
  return totals;
}

double load_per_s(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

void print_distribution(const char* name, const std::vector<double>& sorted) {
  if (sorted.empty()) return;
  std::printf("  %-22s %10.1f %10.1f %10.1f %10.1f %10.1f\n", name, mean(sorted) * 1e3,
              percentile(sorted, 50) * 1e3, percentile(sorted, 90) * 1e3,
              percentile(sorted, 99) * 1e3, sorted.back() * 1e3);
}

Result<double> parse_time_goal(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  const bool known = unit.empty() || unit == "ms" || unit == "s";
  if (error != std::errc() || !known || !std::isfinite(value) || value <= 0) {
    return invalid_input("{} is no time; expected something like 500, 500ms or 0.5s",
                         quote_name(text));
  }
  return unit == "s" ? value : value / 1e3;
}

}  // namespace

double percentile(const std::vector<double>& sorted, double percent) {
  const double place = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double weight = place - static_cast<double>(below);
  return sorted[below] * (1 - weight) + sorted[above] * weight;
}

Result<Objectives> parse_objectives(const std::string& text) {
  Objectives objectives;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    const std::string_view entry = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t equals = entry.find('=');
    const std::string_view name = entry.substr(0, equals);
    std::optional<double>* limit = name == "ttft"   ? &objectives.ttft_s
                                   : name == "tpot" ? &objectives.tpot_s
                                   : name == "e2e"  ? &objectives.e2e_s
                                                    : nullptr;
    if (limit == nullptr || equals == std::string_view::npos) {
      return invalid_input("--slo: {}; expected ttft=…, tpot=… or e2e=…, with commas between",
                           quote_name(entry));
    }
    Result<double> value = parse_time_goal(entry.substr(equals + 1));
    if (!value.ok()) return value.error().in(fmt::format("--slo: {}", name));
    *limit = *value;
  }
  return objectives;
}

int64_t count_failed(const LoadRun& run) { return totals_of(run, {}).failed; }
int64_t count_good(const LoadRun& run) { return totals_of(run, {}).good; }

Json load_json(const LoadRun& run, const Objectives& objectives) {
  const Totals totals = totals_of(run, objectives);
  const Distributions times = distributions_of(run);
  Json out;
  if (run.concurrency > 0) out["concurrency"] = run.concurrency;
  if (run.rate > 0) out["rate"] = run.rate;
  out["requests"] = run.answers.size();
  out["good"] = totals.good;
  out["failed"] = totals.failed;
  out["unfinished"] = totals.unfinished;
  out["seconds"] = run.seconds;
  out["requests_per_s"] = load_per_s(totals.good, run.seconds);
  out["input_tokens_per_s"] = load_per_s(totals.input_tokens, run.seconds);
  out["output_tokens_per_s"] = load_per_s(totals.output_tokens, run.seconds);
  out["input_tokens"] = totals.input_tokens;
  out["output_tokens"] = totals.output_tokens;
  out["goodput_requests_per_s"] =
      objectives.any() ? Json(load_per_s(totals.met, run.seconds)) : Json();
  out["ttft_ms"] = distribution_json(times.ttft);
  out["itl_ms"] = distribution_json(times.itl);
  out["tpot_ms"] = distribution_json(times.tpot);
  out["e2e_ms"] = distribution_json(times.e2e);
  out["failures"] = Json::object();
  for (const auto& [failure, count] : totals.failures) out["failures"][failure] = count;
  return out;
}

void print_load(const LoadRun& run, const Objectives& objectives) {
  const Totals totals = totals_of(run, objectives);
  const Distributions times = distributions_of(run);
  std::printf(
      "\n%s: %lld good, %lld failed%s in %.2f s\n", run.load.c_str(),
      static_cast<long long>(totals.good), static_cast<long long>(totals.failed),
      totals.unfinished > 0 ? fmt::format(", {} unfinished", totals.unfinished).c_str() : "",
      run.seconds);
  std::printf("  %.2f requests/s, %.1f output tokens/s, %.1f input tokens/s",
              load_per_s(totals.good, run.seconds), load_per_s(totals.output_tokens, run.seconds),
              load_per_s(totals.input_tokens, run.seconds));
  if (objectives.any()) {
    std::printf("; goodput %.2f requests/s (%.1f %% of all)", load_per_s(totals.met, run.seconds),
                100 * static_cast<double>(totals.met) / static_cast<double>(run.answers.size()));
  }
  std::printf("\n");
  if (totals.good > 0) {
    std::printf("  %-22s %10s %10s %10s %10s %10s\n", "ms", "mean", "p50", "p90", "p99", "max");
    print_distribution("time to first token", times.ttft);
    print_distribution("between pieces (ITL)", times.itl);
    print_distribution("per token (TPOT)", times.tpot);
    print_distribution("end to end", times.e2e);
  }
  for (const auto& [failure, count] : totals.failures) {
    std::printf("  %lld × %s\n", static_cast<long long>(count), failure.c_str());
  }
}

}  // namespace ferry::cmd
