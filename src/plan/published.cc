// Reads published measurements; see calibrate.h for the layout.
#include <algorithm>
#include <charconv>
#include <map>

#include "base/quote_name.h"
#include "plan/calibrate.h"

namespace ferry::plan {
namespace {

constexpr size_t kMaxRows = 100000;
constexpr size_t kMaxBytes = 64 << 20;

using Fields = std::map<std::string, std::string, std::less<>>;

// The next line of CSV from `at` on. Quoted fields may hold commas, quotes ("") and newlines.
Result<std::vector<std::string>> next_line(std::string_view text, size_t& at) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        fields.back() += text[++at];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      ++at;
      break;
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  if (quoted) return invalid_input("a quoted field does not end");
  return fields;
}

Result<double> number(const Fields& fields, std::string_view key, double max) {
  const auto found = fields.find(key);
  if (found == fields.end() || found->second.empty()) return 0.0;
  const std::string& text = found->second;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0) || value > max) {
    return invalid_input("{}: expected a number from 0 to {}, found {}", key, max,
                         quote_name(text, 40));
  }
  return value;
}

class Reader {
 public:
  explicit Reader(const Catalogue& catalogue) : catalogue_(catalogue) {}

  Result<Published> read(const Fields& fields) {
    Published row;
    const auto text = [&fields](std::string_view key) {
      const auto found = fields.find(key);
      return found == fields.end() ? std::string() : found->second;
    };
    row.id = text("id");
    row.group = text("group");
    row.stage = text("stage");
    row.metric = text("metric");
    row.stack = text("stack").empty() ? "tuned" : text("stack");
    row.incomplete = text("incomplete");
    row.inferred = text("inferred");
    row.deployment.balanced = text("balance") == "forced";
    row.source = text("source");
    row.confidence = text("confidence");
    FERRY_TRY(row.measured, number(fields, "measured", 1e9));
    FERRY_TRY(row.batch, number(fields, "batch", 1e9));
    FERRY_TRY(row.input, number(fields, "input", 1e8));
    FERRY_TRY(row.output, number(fields, "output", 1e8));
    FERRY_TRY(row.context, number(fields, "context", 1e8));
    FERRY_TRY(row.hit, number(fields, "hit", 0.999));
    if (!row.incomplete.empty()) return row;
    const std::string balance = text("balance");
    if (!balance.empty() && balance != "forced") {
      return invalid_input("balance: expected \"forced\" or nothing, found {}",
                           quote_name(balance, 40));
    }
    FERRY_TRY_VOID(check(row));
    FERRY_TRY_VOID(deploy(fields, text("model"), text("chip"), text("weights"), row));
    return row;
  }

 private:
  static Status check(const Published& row) {
    if (row.measured <= 0) return invalid_input("measured: expected a positive number");
    const bool prefill = row.stage == "prefill";
    if (!prefill && row.stage != "decode" && row.stage != "mixed") {
      return invalid_input("stage: expected prefill, decode or mixed, found {}",
                           quote_name(row.stage, 40));
    }
    if (row.metric != "tpot_ms" && row.metric != "prefill_tok_s_chip" &&
        row.metric != "decode_tok_s_chip" && row.metric != "total_tok_s_chip") {
      return invalid_input("metric: {} is not known", quote_name(row.metric, 40));
    }
    if (prefill != (row.metric == "prefill_tok_s_chip")) {
      return invalid_input("metric: {} does not go with stage {}", row.metric, row.stage);
    }
    if (!prefill && row.batch <= 0) return invalid_input("batch: expected a positive number");
    if (row.stage != "decode" && row.input <= 0) return invalid_input("input: expected tokens");
    if (row.stage == "mixed" && row.output <= 0) return invalid_input("output: expected tokens");
    if (row.stage == "decode" && row.context <= 0) return invalid_input("context: expected tokens");
    return {};
  }

  Status deploy(const Fields& fields, const std::string& model, const std::string& chip,
                const std::string& weights, Published& row) {
    auto& known = models_[model];
    if (known == nullptr) {
      FERRY_TRY(PlanModel found, find_model(model));
      known = std::make_shared<const PlanModel>(std::move(found));
    }
    row.model = known;
    FERRY_TRY(const Chip* found, catalogue_.find(chip));
    auto own = std::make_shared<Chip>(*found);
    FERRY_TRY(const double node, number(fields, "node", 1e5));
    if (node > 0) own->node_chips = static_cast<int64_t>(node);
    row.chip = own;
    Deployment& d = row.deployment;
    d.model = row.model.get();
    d.chip = row.chip.get();
    const auto kv = fields.find("kv");
    const bool stated = kv != fields.end() && !kv->second.empty();
    FERRY_TRY(d.precision, find_precision(weights, stated ? kv->second : "bf16"));
    FERRY_TRY(const double chips, number(fields, "chips", 1e6));
    FERRY_TRY(const double tp, number(fields, "tp", 1e6));
    FERRY_TRY(const double ep, number(fields, "ep", 1e6));
    FERRY_TRY(const double mtp, number(fields, "mtp", 16));
    FERRY_TRY(d.accepted, number(fields, "accept", 16));
    d.tp = std::max<int64_t>(static_cast<int64_t>(tp), 1);
    d.ep = std::max<int64_t>(static_cast<int64_t>(ep), 1);
    d.mtp = static_cast<int64_t>(mtp);
    d.stack = row.stack;
    const auto count = static_cast<int64_t>(chips);
    if (count < 1 || count % d.tp != 0) {
      return invalid_input("chips: {} can't be cut by tp={}", count, d.tp);
    }
    d.dp = count / d.tp;
    return check_deployment(d);
  }

  const Catalogue& catalogue_;
  std::map<std::string, std::shared_ptr<const PlanModel>> models_;
};

}  // namespace

Result<std::vector<Published>> read_published(std::string_view csv, const Catalogue& catalogue) {
  if (csv.size() > kMaxBytes) return invalid_input("more than {} bytes", kMaxBytes);
  size_t at = 0;
  FERRY_TRY(const std::vector<std::string> header, next_line(csv, at));
  for (const char* key : {"id", "group", "model", "chip", "stage", "metric", "measured"}) {
    if (std::find(header.begin(), header.end(), key) == header.end()) {
      return invalid_input("line 1: no column \"{}\"", key);
    }
  }
  std::vector<Published> rows;
  Reader reader(catalogue);
  for (size_t line = 2; at < csv.size(); ++line) {
    FERRY_TRY(const std::vector<std::string> values, next_line(csv, at));
    if (values.size() == 1 && values[0].empty()) continue;
    if (values.size() != header.size()) {
      return invalid_input("line {}: {} fields, the header has {}", line, values.size(),
                           header.size());
    }
    Fields fields;
    for (size_t i = 0; i < header.size(); ++i) fields[header[i]] = values[i];
    auto row = reader.read(fields);
    if (!row.ok()) return row.error().in("line " + std::to_string(line));
    if (rows.size() >= kMaxRows) return invalid_input("more than {} rows", kMaxRows);
    rows.push_back(std::move(*row));
  }
  return rows;
}

}  // namespace ferry::plan
