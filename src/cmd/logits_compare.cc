// See logits_compare.h.
#include "cmd/logits_compare.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

namespace ferry::cmd {
namespace {

using engine::Comparison;
using engine::OpDifference;

std::string place_of(const OpDifference& op) {
  const std::string layer = op.layer < 0 ? "outside the layers" : fmt::format("layer {}", op.layer);
  return fmt::format("forward {}, {}, op {}", op.forward, layer, op.position);
}

std::string error_of(const OpDifference& op) {
  return op.finite ? fmt::format("{:.2e}", op.error) : "not finite";
}

bool is_worse(const OpDifference& a, const OpDifference& b) {
  if (a.finite != b.finite) return b.finite;
  return a.error > b.error;
}

std::optional<OpDifference> first_wrong(const Comparison& comparison) {
  for (const OpDifference& op : comparison.ops) {
    if (comparison.is_wrong(op)) return op;
  }
  return std::nullopt;
}

Json op_json(const OpDifference& op) {
  return {{"op", op_name(op.op)}, {"forward", op.forward},
          {"layer", op.layer},    {"position", op.position},
          {"shape", op.shape},    {"error", op.finite ? Json(op.error) : Json("not finite")}};
}

}  // namespace

Json comparison_json(const Comparison& comparison) {
  Json out = {{"limit", comparison.limit}, {"first_wrong", nullptr}, {"ops", Json::array()}};
  for (const OpDifference& op : comparison.ops) out["ops"].push_back(op_json(op));
  if (const auto wrong = first_wrong(comparison)) out["first_wrong"] = op_json(*wrong);
  return out;
}

void print_comparison(const Comparison& comparison, const std::string& subject,
                      const std::string& reference) {
  struct Kind {
    int64_t calls = 0, wrong = 0;
    OpDifference worst{.error = -1};
  };
  std::array<Kind, kNumOps> kinds{};
  for (const OpDifference& op : comparison.ops) {
    Kind& kind = kinds[static_cast<size_t>(op.op)];
    ++kind.calls;
    kind.wrong += comparison.is_wrong(op);
    if (kind.calls == 1 || is_worse(op, kind.worst)) kind.worst = op;
  }
  std::printf("Every op of %s on the inputs that it has on %s; relative errors, %.2e is expected\n",
              subject.c_str(), reference.c_str(), comparison.limit);
  std::printf("  %-22s %7s %7s  %-10s %s\n", "op", "calls", "wrong", "worst", "where");
  for (int i = 0; i < kNumOps; ++i) {
    const Kind& kind = kinds[static_cast<size_t>(i)];
    if (kind.calls == 0) continue;
    std::printf("  %-22s %7lld %7lld  %-10s %s\n", std::string(op_name(static_cast<Op>(i))).c_str(),
                static_cast<long long>(kind.calls), static_cast<long long>(kind.wrong),
                error_of(kind.worst).c_str(), place_of(kind.worst).c_str());
  }
  const auto wrong = first_wrong(comparison);
  if (!wrong.has_value()) {
    std::printf("No op is further off than its rounding explains.\n");
    return;
  }
  std::printf("First wrong: %s, %s, output of %s: error %s\n",
              std::string(op_name(wrong->op)).c_str(), place_of(*wrong).c_str(),
              fmt::format("[{}]", fmt::join(wrong->shape, ", ")).c_str(), error_of(*wrong).c_str());
}

}  // namespace ferry::cmd
