// See bench_report.h.
#include "cmd/bench_report.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <utility>

#include "cmd/command.h"

namespace ferry::cmd {
namespace {

// Rates of one phase, derived.
struct Rates {
  double median = 0, min = 0, max = 0;  // tokens per second
  double read_bytes_per_s = 0;
  double operations_per_s = 0;
  double memory_bytes_per_s = 0;  // 0: not asked
  double share_of_memory = 0;
};

Rates rates_of(const Measured& measured) {
  Rates rates;
  const auto tokens = static_cast<double>(measured.tokens);
  const auto [least, most] = std::minmax_element(measured.seconds.begin(), measured.seconds.end());
  rates.median = tokens / median(measured.seconds);
  rates.min = tokens / *most;
  rates.max = tokens / *least;
  rates.read_bytes_per_s = (measured.weight_bytes + measured.cache_bytes) * rates.median;
  rates.operations_per_s = measured.operations * rates.median;
  if (measured.memory_bytes_per_s.size() != measured.seconds.size()) return rates;
  rates.memory_bytes_per_s = median(measured.memory_bytes_per_s);
  std::vector<double> shares;
  for (size_t i = 0; i < measured.seconds.size(); ++i) {
    shares.push_back((measured.weight_bytes + measured.cache_bytes) * tokens / measured.seconds[i] /
                     measured.memory_bytes_per_s[i]);
  }
  rates.share_of_memory = median(shares);
  return rates;
}

double read_ceiling(const BenchResult& result) {
  return result.ceilings ? result.ceilings->read_bytes_per_s : 0;
}

// null where there is no ceiling to compare with.
Json share(double value, double ceiling) { return ceiling > 0 ? Json(value / ceiling) : Json(); }

double per_s(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }

Json profile_json(const Measured& measured) {
  Json out = Json::array();
  for (const OpTime& time : measured.ops) {
    const auto& [cost, seconds] = time.profile;
    out.push_back(
        {{"op", op_name(time.op)},
         {"calls", cost.calls},
         {"ms", seconds * 1e3},
         {"share", per_s(seconds, measured.profile_s)},
         {"gb_per_s",
          per_s(static_cast<double>(cost.weight_bytes + cost.cache_bytes), seconds) / 1e9},
         {"gop_per_s", per_s(cost.flops, seconds) / 1e9}});
  }
  return out;
}

// null where nothing is read on demand.
Json experts_json(const Measured& measured, const BenchResult& result) {
  if (result.expert_memory == 0) return {};
  const OnDemandStats& experts = measured.experts;
  const auto tokens =
      static_cast<double>(measured.tokens) * static_cast<double>(measured.seconds.size());
  const double seconds = std::accumulate(measured.seconds.begin(), measured.seconds.end(), 0.0);
  const auto read = static_cast<double>(experts.read_bytes);
  return {{"hits", experts.hits},
          {"misses", experts.misses},
          {"hit_rate", per_s(static_cast<double>(experts.hits),
                             static_cast<double>(experts.hits + experts.misses))},
          {"guesses", experts.guesses},
          {"guesses_right", experts.guesses_used},
          {"read_bytes_per_token", read / tokens},
          {"read_gb_per_s", per_s(read, experts.read_seconds) / 1e9},
          {"reading_share", per_s(experts.read_seconds, seconds)},
          {"waiting_share", per_s(experts.wait_seconds, seconds)}};
}

Json phase_json(const Measured& measured, const BenchResult& result) {
  const Rates rates = rates_of(measured);
  Json out = {
      {"tokens", measured.tokens},
      {"tokens_per_s", rates.median},
      {"tokens_per_s_min", rates.min},
      {"tokens_per_s_max", rates.max},
      {"seconds", measured.seconds},
      {"weight_bytes_per_token", measured.weight_bytes},
      {"kv_bytes_per_token", measured.cache_bytes},
      {"operations_per_token", measured.operations},
      {"read_gb_per_s", rates.read_bytes_per_s / 1e9},
      {"gop_per_s", rates.operations_per_s / 1e9},
      {"share_of_read_ceiling", share(rates.read_bytes_per_s, read_ceiling(result))},
      {"share_of_matmul_ceiling", share(rates.operations_per_s, result.matmul_operations_per_s)}};
  if (rates.memory_bytes_per_s > 0) {
    out["memory_gb_per_s"] = rates.memory_bytes_per_s / 1e9;
    for (const double rate : measured.memory_bytes_per_s) {
      out["memory_gb_per_s_by_repeat"].push_back(rate / 1e9);
    }
    out["share_of_memory"] = rates.share_of_memory;
  }
  if (result.expert_memory > 0) out["experts"] = experts_json(measured, result);
  if (!measured.ops.empty()) {
    out["profile_ms"] = measured.profile_s * 1e3;
    out["profile"] = profile_json(measured);
  }
  return out;
}

Json point_json(const BenchPoint& point, const BenchResult& result) {
  Json out = {{"batch", point.batch}, {"context", point.context}};
  if (!point.skipped.empty()) {
    out["skipped"] = point.skipped;
    return out;
  }
  const Measured& prefill = result.prefill[point.prefill];
  if (!prefill.seconds.empty()) out["prefill"] = phase_json(prefill, result);
  if (!point.decode.seconds.empty()) out["decode"] = phase_json(point.decode, result);
  // What most readers look for, flat: the speeds, and each phase against what bounds it.
  const auto from = [&out](const char* phase, const char* key) {
    return out.contains(phase) ? out[phase][key] : Json();
  };
  out["prefill_tokens_per_s"] = from("prefill", "tokens_per_s");
  out["decode_tokens_per_s"] = from("decode", "tokens_per_s");
  out["read_gb_per_s"] = from("decode", "read_gb_per_s");
  out["share_of_read_ceiling"] = from("decode", "share_of_read_ceiling");
  out["share_of_matmul_ceiling"] = from("prefill", "share_of_matmul_ceiling");
  return out;
}

Json measured_ceilings_json(const BenchResult& result) {
  if (!result.ceilings) return {};
  Json out = {{"read_gb_per_s", result.ceilings->read_bytes_per_s / 1e9},
              {"matmul", Json::array()},
              {"matmul_instruction", result.matmul_instruction},
              {"matmul_gop_per_s", result.matmul_operations_per_s / 1e9}};
  for (const cpu::MatmulCeiling& matmul : result.ceilings->matmul) {
    out["matmul"].push_back(
        {{"instruction", matmul.instruction}, {"gop_per_s", matmul.operations_per_s / 1e9}});
  }
  return out;
}

std::string percent(double value, double ceiling) {
  return ceiling > 0 ? fmt::format("{:.1f} %", 100 * value / ceiling) : "-";
}

// Digits that carry something: 7.31, 42.8, 1234.
std::string number(double value) {
  if (value >= 1000) return fmt::format("{:.0f}", value);
  return value >= 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

void print_row(const std::vector<std::string>& cells) {
  std::string line;
  for (const std::string& cell : cells) line += fmt::format("{:>12}", cell);
  std::puts(line.c_str());
}

// What memory gave while a phase ran, where it was asked.
std::vector<std::string> memory_cells(const Rates& rates) {
  if (rates.memory_bytes_per_s == 0) return {"-", "-"};
  return {number(rates.memory_bytes_per_s / 1e9), percent(rates.share_of_memory, 1)};
}

void print_phase(const std::vector<std::string>& where, const Measured& measured,
                 const BenchResult& result, bool with_memory) {
  const Rates rates = rates_of(measured);
  std::vector<std::string> cells = where;
  cells.insert(
      cells.end(),
      {number(rates.median), number(rates.min), number(rates.max),
       number((measured.weight_bytes + measured.cache_bytes) / 1e6),
       number(rates.read_bytes_per_s / 1e9), percent(rates.read_bytes_per_s, read_ceiling(result)),
       number(measured.operations / 1e6), number(rates.operations_per_s / 1e9),
       percent(rates.operations_per_s, result.matmul_operations_per_s)});
  if (with_memory) {
    for (std::string& cell : memory_cells(rates)) cells.push_back(std::move(cell));
  }
  print_row(cells);
}

std::vector<std::string> heading(std::vector<std::string> where) {
  where.insert(where.end(), {"tokens/s", "min", "max", "MB/token", "GB/s", "of ceiling",
                             "MOP/token", "GOP/s", "of ceiling"});
  return where;
}

void print_profile(const std::string& title, const Measured& measured) {
  if (measured.ops.empty()) return;
  std::printf("\nWhere the time of %s goes (a run of its own, op by op: %.1f ms)\n", title.c_str(),
              measured.profile_s * 1e3);
  std::printf("  %-22s %8s %10s %8s %8s %8s\n", "op", "calls", "ms", "share", "GB/s", "GOP/s");
  double in_ops = 0;
  for (const OpTime& time : measured.ops) {
    const auto& [cost, seconds] = time.profile;
    in_ops += seconds;
    std::printf(
        "  %-22s %8lld %10.2f %8s %8s %8s\n", std::string(op_name(time.op)).c_str(),
        static_cast<long long>(cost.calls), seconds * 1e3,
        percent(seconds, measured.profile_s).c_str(),
        number(per_s(static_cast<double>(cost.weight_bytes + cost.cache_bytes), seconds) / 1e9)
            .c_str(),
        number(per_s(cost.flops, seconds) / 1e9).c_str());
  }
  std::printf("  %-22s %8s %10.2f %8s\n", "between the ops", "",
              (measured.profile_s - in_ops) * 1e3,
              percent(measured.profile_s - in_ops, measured.profile_s).c_str());
}

void print_head(const BenchResult& result) {
  std::printf("%s: %s, %s in the file; %s (%s), %d thread%s, cache in %s\n", result.model.c_str(),
              result.architecture.c_str(), format_bytes(result.file_bytes).c_str(),
              result.backend.c_str(), result.detail.c_str(), result.threads,
              result.threads == 1 ? "" : "s", result.kv_dtype.c_str());
  if (!result.ceilings) return;
  std::printf("ceilings: read %.1f GB/s", result.ceilings->read_bytes_per_s / 1e9);
  if (!result.matmul_instruction.empty()) {
    std::printf("; %s %.0f GOP/s", result.matmul_instruction.c_str(),
                result.matmul_operations_per_s / 1e9);
  }
  std::printf("\n");
}

void print_prefill(const BenchResult& result) {
  std::printf("\nPrefill of %lld tokens behind a context, one sequence, at most %lld a forward\n",
              static_cast<long long>(result.prompt), static_cast<long long>(result.chunk));
  print_row(heading({"context"}));
  for (size_t i = 0; i < result.prefill.size(); ++i) {
    for (const BenchPoint& point : result.points) {
      if (!point.skipped.empty() || point.prefill != i) continue;
      print_phase({std::to_string(point.context)}, result.prefill[i], result, false);
      break;
    }
  }
}

void print_decode(const BenchResult& result) {
  std::printf("\nDecode of %lld tokens for each sequence of a batch; tokens/s over the batch\n",
              static_cast<long long>(result.generate));
  std::vector<std::string> columns = heading({"batch", "context"});
  columns.insert(columns.end(), {"memory GB/s", "of memory"});
  print_row(columns);
  for (const BenchPoint& point : result.points) {
    if (!point.skipped.empty()) continue;
    print_phase({std::to_string(point.batch), std::to_string(point.context)}, point.decode, result,
                true);
  }
}

void print_experts_row(const std::vector<std::string>& where, const Measured& measured,
                       const BenchResult& result) {
  const Json experts = experts_json(measured, result);
  std::vector<std::string> cells = where;
  const auto share = [&](const char* key) { return percent(experts[key], 1); };
  cells.insert(cells.end(),
               {share("hit_rate"), std::to_string(measured.experts.guesses),
                percent(static_cast<double>(measured.experts.guesses_used),
                        static_cast<double>(measured.experts.guesses)),
                number(experts["read_bytes_per_token"].get<double>() / 1e6),
                number(experts["read_gb_per_s"]), share("reading_share"), share("waiting_share")});
  print_row(cells);
}

// What was read from the file while the repeats ran.
void print_experts(const BenchResult& result) {
  std::printf("\nExperts read on demand, %s of them kept in memory\n",
              format_bytes(result.expert_memory).c_str());
  print_row({"phase", "batch", "context", "hits", "guesses", "right", "MB/token", "GB/s", "reading",
             "waiting"});
  std::vector<char> shown(result.prefill.size());
  for (const BenchPoint& point : result.points) {
    if (!point.skipped.empty()) continue;
    const std::string context = std::to_string(point.context);
    if (result.prompt > 0 && std::exchange(shown[point.prefill], 1) == 0) {
      print_experts_row({"prefill", "1", context}, result.prefill[point.prefill], result);
    }
    if (result.generate == 0) continue;
    print_experts_row({"decode", std::to_string(point.batch), context}, point.decode, result);
  }
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

const cpu::MatmulCeiling* matmul_ceiling(const cpu::Ceilings& ceilings, double rounding,
                                         std::string_view level) {
  const char* kind = rounding == 0 ? "f32" : rounding < 1.0 / 300 ? "bf16" : "int8";
  const cpu::MatmulCeiling* best = nullptr;
  for (const cpu::MatmulCeiling& matmul : ceilings.matmul) {
    const auto has = [&](const char* word) {
      return matmul.instruction.find(word) != std::string::npos;
    };
    const bool allowed =
        level == "amx" || (level == "avx512" && !has("AMX")) || (level == "avx2" && has("AVX2"));
    if (!allowed || !has(kind)) continue;
    if (best == nullptr || matmul.operations_per_s > best->operations_per_s) best = &matmul;
  }
  return best;
}

Json bench_json(const BenchResult& result) {
  Json out = {{"model", result.model},
              {"architecture", result.architecture},
              {"backend", result.backend},
              {"detail", result.detail},
              {"threads", result.threads},
              {"kv_dtype", result.kv_dtype},
              {"file_bytes", result.file_bytes},
              {"weights_packed", result.packed},
              {"packed_copy_bytes", result.packed_copy_bytes},
              {"expert_memory_bytes", result.expert_memory},
              {"prompt", result.prompt},
              {"generate", result.generate},
              {"chunk", result.chunk},
              {"repeat", result.repeat},
              {"ceilings", measured_ceilings_json(result)},
              {"results", Json::array()}};
  for (const BenchPoint& point : result.points) {
    out["results"].push_back(point_json(point, result));
  }
  return out;
}

void print_bench(const BenchResult& result) {
  print_head(result);
  const bool any = std::any_of(result.points.begin(), result.points.end(),
                               [](const BenchPoint& point) { return point.skipped.empty(); });
  if (any && result.prompt > 0) print_prefill(result);
  if (any && result.generate > 0) print_decode(result);
  if (any && result.expert_memory > 0) print_experts(result);
  std::vector<bool> shown(result.prefill.size());
  for (const BenchPoint& point : result.points) {
    if (!point.skipped.empty()) continue;
    if (!shown[point.prefill]) {
      shown[point.prefill] = true;
      print_profile(fmt::format("prefill behind {}", point.context), result.prefill[point.prefill]);
    }
    print_profile(fmt::format("decode, batch {}, context {}", point.batch, point.context),
                  point.decode);
  }
  for (const BenchPoint& point : result.points) {
    if (point.skipped.empty()) continue;
    std::printf("\nnot measured: batch %lld, context %lld: %s", static_cast<long long>(point.batch),
                static_cast<long long>(point.context), point.skipped.c_str());
    if (&point == &result.points.back()) std::printf("\n");
  }
}

}  // namespace ferry::cmd
