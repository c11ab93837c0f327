// See simulate.h.
#include "plan/simulate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <random>

#include "base/quote_name.h"
#include "engine/scheduler.h"

namespace ferry::plan {
namespace {

constexpr int64_t kMaxPages = 1 << 20;  // larger caches get larger pages
constexpr int64_t kMaxTraceLines = 10'000'000;
constexpr double kMaxTokens = 1 << 24;

int64_t draw_length(const LengthDistribution& d, double mean, std::mt19937_64& random) {
  const double factor = mean / d.mean();
  std::lognormal_distribution<double> lengths(d.mu + std::log(factor), d.sigma);
  return static_cast<int64_t>(std::clamp(lengths(random), 1.0, std::max(1.0, d.cap * factor)));
}

// Sorts `values`.
Percentiles percentiles_of(std::vector<double>& values) {
  Percentiles p;
  if (values.empty()) return p;
  std::sort(values.begin(), values.end());
  const auto at = [&values](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
  };
  for (double value : values) p.mean += value / static_cast<double>(values.size());
  p.p50 = at(0.5);
  p.p90 = at(0.9);
  p.p99 = at(0.99);
  p.max = values.back();
  return p;
}

// Counts of times in bins 2 % wide: there are as many gaps as tokens.
class GapHistogram {
 public:
  void add(double seconds) {
    const double bin = std::log(std::max(seconds, kLeast) / kLeast) / std::log(kWidth);
    ++counts_[static_cast<size_t>(std::min(bin, kBins - 1.0))];
    ++total_;
    sum_ += seconds;
    most_ = std::max(most_, seconds);
  }
  Percentiles percentiles() const {
    if (total_ == 0) return {};
    return {sum_ / static_cast<double>(total_), at(0.5), at(0.9), at(0.99), most_};
  }

 private:
  static constexpr double kLeast = 1e-6, kWidth = 1.02;
  static constexpr int kBins = 1400;  // up to 10^6 s

  double at(double share) const {
    const double wanted = share * static_cast<double>(total_ - 1);
    double seen = 0;
    size_t bin = 0;
    while ((seen += static_cast<double>(counts_[bin])) <= wanted) ++bin;
    return std::min(most_, kLeast * std::pow(kWidth, static_cast<double>(bin) + 0.5));
  }

  std::array<int64_t, kBins> counts_{};
  int64_t total_ = 0;
  double sum_ = 0, most_ = 0;
};

// The chance that a draft is right when those before it were, so that `accepted` of `drafts` are
// on average: p + p² + … + p^drafts.
double draft_chance(int64_t drafts, double accepted) {
  double low = 0, high = 1;
  for (int i = 0; i < 50; ++i) {
    const double p = (low + high) / 2;
    double sum = 0, power = 1;
    for (int64_t d = 0; d < drafts; ++d) sum += power *= p;
    (sum < accepted ? low : high) = p;
  }
  return low;
}

engine::SchedulerLimits limits_of(const Deployment& d, const MemoryUse& memory,
                                  const SimulationOptions& options) {
  const auto copies = static_cast<double>(d.dp);
  const double per_copy = memory.kv_per_sequence * static_cast<double>(options.max_batch) / copies;
  const double free = (memory.free_for_kv() - per_copy) * copies;
  const double tokens = std::min(std::max(free, 0.0) / memory.kv_per_token, 1e15);
  engine::SchedulerLimits limits;
  while (tokens / static_cast<double>(limits.block_size) > kMaxPages) limits.block_size *= 2;
  limits.num_pages = static_cast<int64_t>(tokens) / limits.block_size;
  limits.max_sequences = options.max_batch;
  limits.max_batch_tokens = std::max(options.step_tokens * d.dp, options.max_batch * (d.mtp + 1));
  limits.max_draft_step_tokens = d.mtp > 0 ? limits.max_batch_tokens : 0;
  return limits;
}

class Simulator {
 public:
  Simulator(const Deployment& d, const Efficiency& e, const engine::SchedulerLimits& limits,
            std::span<const Arrival> arrivals, const SimulationOptions& options)
      : d_(d),
        e_(e),
        limits_(limits),
        arrivals_(arrivals),
        options_(options),
        scheduler_(limits),
        random_(options.seed),
        chance_(draft_chance(d.mtp, d.accepted)),
        requests_(arrivals.size()) {}

  Result<SimulationResult> run() {
    double busy = 0;
    while (ended_ + result_.too_long < std::ssize(arrivals_)) {
      take_arrivals();
      if (live_ == 0) {
        if (next_ < std::ssize(arrivals_)) clock_ = arrivals_[static_cast<size_t>(next_)].at_s;
        continue;
      }
      const engine::Schedule schedule = scheduler_.next();
      FERRY_TRY(const double seconds, seconds_of(schedule));
      scheduler_.computed(schedule);
      clock_ += seconds;
      busy += seconds;
      ++result_.steps;
      running_ += std::ssize(schedule.chunks);
      for (const engine::Chunk& chunk : schedule.chunks) {
        if (chunk.wants_logits) give_tokens(chunk);
      }
    }
    return summary(busy);
  }

 private:
  struct Request {
    int64_t given = 0;
    double first_s = 0, last_s = 0;
  };

  void take_arrivals() {
    for (; next_ < std::ssize(arrivals_); ++next_) {
      const Arrival& arrival = arrivals_[static_cast<size_t>(next_)];
      if (arrival.at_s > clock_) return;
      if (!scheduler_.fits(arrival.input + arrival.output)) {
        ++result_.too_long;
        continue;
      }
      scheduler_.add(static_cast<engine::SequenceId>(next_ + 1), arrival.input,
                     arrival.input + arrival.output, 0, shared_keys(arrival.input));
      ++live_;
    }
  }

  // Of the blocks at the front that every prompt has.
  std::vector<engine::BlockKey> shared_keys(int64_t input) const {
    const double shared = static_cast<double>(input) * options_.cached;
    std::vector<engine::BlockKey> keys;
    for (int64_t b = 1; b * limits_.block_size <= static_cast<int64_t>(shared); ++b) {
      const auto number = static_cast<uint64_t>(b);
      keys.push_back({number * 0x9E3779B97F4A7C15, number});
    }
    return keys;
  }

  // Prompts and generated tokens of a step are computed with the same weights, one after the
  // other: their times add up, but what a step costs whatever it does is paid once.
  Result<double> seconds_of(const engine::Schedule& schedule) const {
    double sequences = 0, decode_context = 0, prompts = 0, prompt_tokens = 0, prompt_context = 0;
    for (const engine::Chunk& chunk : schedule.chunks) {
      const auto begin = static_cast<double>(chunk.begin), count = static_cast<double>(chunk.count);
      if (chunk.decode) {
        ++sequences;
        decode_context += begin + 1;
      } else {
        ++prompts;
        prompt_tokens += count;
        prompt_context += count * (begin + count / 2);
      }
    }
    StepTime decode, prefill;
    if (sequences > 0) {
      FERRY_TRY(decode, decode_step(d_, e_, sequences, decode_context / sequences));
    }
    if (prompt_tokens > 0) {  // a prompt of twice that length sees as much on average
      const double length = std::max(2 * prompt_context / prompt_tokens, 1.0);
      const double uneven = busiest_copy(prompts, static_cast<double>(d_.dp));
      FERRY_TRY(prefill, prefill_step(d_, e_, prompt_tokens, length, 0, uneven));
    }
    return decode.total() + prefill.total() - std::min(decode.overhead, prefill.overhead);
  }

  void give_tokens(const engine::Chunk& chunk) {
    Request& request = requests_[chunk.id - 1];
    const Arrival& arrival = arrivals_[chunk.id - 1];
    int64_t count = 1;
    while (count <= chunk.drafts && uniform_(random_) < chance_) ++count;
    count = std::min(count, arrival.output - request.given);
    if (request.given == 0) {
      request.first_s = clock_;
    } else {
      gaps_.add(clock_ - request.last_s);
    }
    request.last_s = clock_;
    request.given += count;
    if (request.given < arrival.output) {
      scheduler_.append(chunk.id, count);
      if (d_.mtp > 0) scheduler_.draft(chunk.id, d_.mtp);
      return;
    }
    scheduler_.remove(chunk.id);
    --live_;
    end(request, arrival);
  }

  void end(const Request& request, const Arrival& arrival) {
    ++ended_;
    output_tokens_ += arrival.output;
    const double ttft = request.first_s - arrival.at_s;
    const double tpot = arrival.output > 1 ? (request.last_s - request.first_s) /
                                                 static_cast<double>(arrival.output - 1)
                                           : 0;
    ttfts_.push_back(ttft);
    if (arrival.output > 1) tpots_.push_back(tpot);
    kept_ += (options_.slo.ttft_s <= 0 || ttft <= options_.slo.ttft_s) &&
             (options_.slo.tpot_s <= 0 || tpot <= options_.slo.tpot_s);
    if (options_.progress && ended_ % 256 == 0) options_.progress(ended_);
  }

  SimulationResult summary(double busy) {
    SimulationResult r = result_;
    r.requests = ended_;
    if (ended_ == 0) return r;
    r.seconds = clock_ - arrivals_.front().at_s;
    r.ttft_s = percentiles_of(ttfts_);
    r.tpot_s = percentiles_of(tpots_);
    r.gap_s = gaps_.percentiles();
    r.requests_s = static_cast<double>(ended_) / r.seconds;
    r.output_tokens_s = static_cast<double>(output_tokens_) / r.seconds;
    r.goodput_s = static_cast<double>(kept_) / r.seconds;
    r.busy = busy / r.seconds;
    r.mean_batch = static_cast<double>(running_) / static_cast<double>(r.steps);
    r.preemptions = scheduler_.stats().num_preemptions;
    return r;
  }

  const Deployment& d_;
  const Efficiency& e_;
  const engine::SchedulerLimits limits_;
  const std::span<const Arrival> arrivals_;
  const SimulationOptions& options_;
  engine::Scheduler scheduler_;
  std::mt19937_64 random_;
  std::uniform_real_distribution<double> uniform_{0, 1};
  const double chance_;

  double clock_ = 0;
  int64_t next_ = 0;  // arrival
  int64_t live_ = 0, ended_ = 0, kept_ = 0, output_tokens_ = 0, running_ = 0;
  std::vector<Request> requests_;
  std::vector<double> ttfts_, tpots_;
  GapHistogram gaps_;
  SimulationResult result_;
};

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  while (true) {
    const size_t comma = line.find(',');
    fields.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

struct TraceColumns {
  size_t at = SIZE_MAX, input = SIZE_MAX, output = SIZE_MAX;
};

Result<TraceColumns> read_trace_header(std::string_view line) {
  TraceColumns columns;
  const std::vector<std::string_view> names = fields_of(line);
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == "arrival_s") columns.at = i;
    if (names[i] == "input_tokens") columns.input = i;
    if (names[i] == "output_tokens") columns.output = i;
  }
  if (std::max({columns.at, columns.input, columns.output}) == SIZE_MAX) {
    return invalid_input(
        "line 1: expected a header with arrival_s, input_tokens and output_tokens");
  }
  return columns;
}

Result<double> read_trace_number(const std::vector<std::string_view>& fields, size_t column,
                                 double least, double most) {
  const std::string_view text = column < fields.size() ? fields[column] : std::string_view();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() ||
      !(value >= least && value <= most)) {
    return invalid_input("{}: expected a number from {} to {}", quote_name(text, 40), least, most);
  }
  return value;
}

}  // namespace

std::vector<Arrival> draw_arrivals(const WorkloadPreset& preset, double input, double output,
                                   double rate, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  // Gaps with the coefficient of variation that the preset names: 1 gives a Poisson process.
  const double shape = 1 / (preset.arrival_cv * preset.arrival_cv);
  std::gamma_distribution<double> gaps(shape, 1 / (rate * shape));
  std::vector<Arrival> arrivals;
  double at = 0;
  for (int64_t i = 0; i < count; ++i, at += gaps(random)) {
    const int64_t prompt = draw_length(preset.input, input, random);
    arrivals.push_back({at, prompt, draw_length(preset.output, output, random)});
  }
  return arrivals;
}

Result<std::vector<Arrival>> read_trace(std::string_view csv) {
  std::vector<Arrival> arrivals;
  TraceColumns columns;
  double first = 0;
  for (int64_t line = 1; !csv.empty(); ++line) {
    const size_t end = csv.find('\n');
    std::string_view text = csv.substr(0, end);
    csv.remove_prefix(end == std::string_view::npos ? csv.size() : end + 1);
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (line == 1) {
      FERRY_TRY(columns, read_trace_header(text));
      continue;
    }
    if (text.empty()) continue;
    if (line > kMaxTraceLines) return invalid_input("more than {} lines", kMaxTraceLines);
    const std::vector<std::string_view> fields = fields_of(text);
    const auto at = read_trace_number(fields, columns.at, 0, 1e12);
    const auto input = read_trace_number(fields, columns.input, 1, kMaxTokens);
    const auto output = read_trace_number(fields, columns.output, 1, kMaxTokens);
    for (const auto* value : {&at, &input, &output}) {
      if (!value->ok()) return value->error().in("line " + std::to_string(line));
    }
    if (arrivals.empty()) first = *at;
    const Arrival arrival{*at - first, static_cast<int64_t>(*input), static_cast<int64_t>(*output)};
    if (!arrivals.empty() && arrival.at_s < arrivals.back().at_s) {
      return invalid_input("line {}: arrives before the line above", line);
    }
    arrivals.push_back(arrival);
  }
  if (arrivals.empty()) return invalid_input("no requests");
  return arrivals;
}

Result<SimulationResult> simulate(const Deployment& deployment, const Efficiency& efficiency,
                                  const MemoryUse& memory, std::span<const Arrival> arrivals,
                                  const SimulationOptions& options) {
  if (options.max_batch < 1) return invalid_input("simulation: no sequence may run");
  const engine::SchedulerLimits limits = limits_of(deployment, memory, options);
  if (limits.num_pages < 1) return invalid_input("simulation: no memory is left for the cache");
  return Simulator(deployment, efficiency, limits, arrivals, options).run();
}

}  // namespace ferry::plan
