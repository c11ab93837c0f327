// The planner's page: one file with inline SVG and style, no script, nothing from the network.
#include <algorithm>
#include <cmath>

#include "cmd/plan_parts.h"
#include "plan/rules.h"

namespace ferry::cmd {
namespace {

constexpr double kWidth = 860;
constexpr double kLabel = 250;  // left of bars
constexpr double kBar = 22;     // height of a row of bars
constexpr const char* kColours[] = {"#3569b0", "#d1713c", "#4f9d5d", "#9a5ba5",
                                    "#b8a038", "#4aa3a8", "#b5485d", "#707070"};

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string label_of(const plan::Option& o) {
  return fmt::format("{} ×{} {}", o.deployment.chip->name.substr(0, 24), o.chips(),
                     o.deployment.precision.name);
}

std::string svg(double height, const std::string& inside) {
  return fmt::format(
      "<svg viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "role=\"img\">{2}</svg>\n",
      kWidth, height, inside);
}

std::string text_at(double x, double y, std::string_view text, const char* anchor = "start") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>", x, y, anchor,
                     escaped(text));
}

std::string rectangle(double x, double y, double width, double height, const char* colour,
                      std::string_view title) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\">"
      "<title>{}</title></rect>",
      x, y, std::max(width, 0.0), height, colour, escaped(title));
}

struct PagePart {
  const char* name;
  double value;
};

// Rows of stacked parts, each row as long as its share of the longest.
std::string stacked(const std::vector<plan::Option>& options, const char* unit,
                    std::vector<PagePart> (*parts_of)(const plan::Option&)) {
  double longest = 0;
  for (const plan::Option& option : options) {
    double sum = 0;
    for (const PagePart& part : parts_of(option)) sum += part.value;
    longest = std::max(longest, sum);
  }
  std::string body;
  double y = 24;
  double x = kLabel;
  int colour = 0;
  for (const PagePart& part : parts_of(options.front())) {
    body += rectangle(x, 4, 10, 10, kColours[colour++ % 8], part.name);
    body += text_at(x + 14, 13, part.name);
    x += 110;
  }
  for (const plan::Option& option : options) {
    body += text_at(0, y + 14, label_of(option));
    x = kLabel;
    colour = 0;
    for (const PagePart& part : parts_of(option)) {
      const double width = part.value / longest * (kWidth - kLabel - 70);
      body += rectangle(x, y, width, kBar - 6, kColours[colour++ % 8],
                        fmt::format("{}: {} {}", part.name, short_number(part.value), unit));
      x += width;
    }
    y += kBar;
  }
  return svg(y + 4, body);
}

std::vector<PagePart> memory_parts(const plan::Option& o) {
  const plan::MemoryUse& m = o.memory;
  constexpr double kGb = 1e9;
  const double context =
      o.steady.requests_s > 0
          ? (o.steady.input_tokens_s + o.steady.output_tokens_s) / o.steady.requests_s
          : 0;
  const double copies = static_cast<double>(o.deployment.dp);
  const double cache = std::min(m.free_for_kv(), (m.kv_per_token * context + m.kv_per_sequence) *
                                                     static_cast<double>(o.batch) / copies);
  return {{"experts", m.expert_weights / kGb},
          {"other weights", (m.other_weights + m.embeddings) / kGb},
          {"scratch", (m.workspace + m.reserve) / kGb},
          {"KV cache", cache / kGb},
          {"free", (m.free_for_kv() - cache) / kGb}};
}

std::vector<PagePart> step_parts(const plan::Option& o) {
  const plan::StepTime& step = o.steady.decode;
  return {{"memory", step.memory * 1e3},
          {"compute", step.compute * 1e3},
          {"network", step.network * 1e3},
          {"overhead", step.overhead * 1e3}};
}

std::string cost_bars(const std::vector<plan::Option>& options) {
  double longest = 0;
  for (const plan::Option& option : options) {
    if (option.usd_per_million_output) {
      longest = std::max(longest, option.usd_per_million_output->high);
    }
  }
  if (longest <= 0) return "<p>No price or rental of these chips is known.</p>\n";
  std::string body;
  double y = 4;
  const double scale = (kWidth - kLabel - 90) / longest;
  for (const plan::Option& option : options) {
    body += text_at(0, y + 14, label_of(option));
    if (const auto& cost = option.usd_per_million_output) {
      body += rectangle(kLabel, y, cost->value * scale, kBar - 6, kColours[0],
                        range_text(cost) + " USD");
      body += fmt::format(
          "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" class=\"range\"/>",
          kLabel + cost->low * scale, kLabel + cost->high * scale, y + 8, y + 8);
      body += text_at(kLabel + cost->high * scale + 6, y + 13, short_number(cost->value));
    } else {
      body += text_at(kLabel, y + 14, "price unknown");
    }
    y += kBar;
  }
  return svg(y + 4, body);
}

// Tokens per second and chip over tokens per second and user, as the batch grows.
std::string frontier(const std::vector<plan::Option>& options, const plan::SearchOptions& search) {
  constexpr double kHeight = 380, kLeft = 60, kBottom = 340;
  struct Point {
    double user, chip;
  };
  std::vector<std::vector<Point>> lines;
  double most_user = 1, most_chip = 1;
  for (const plan::Option& option : options) {
    std::vector<Point>& line = lines.emplace_back();
    for (double batch = 1; batch <= static_cast<double>(option.max_sequences); batch *= 2) {
      const auto s =
          plan::steady_state(option.deployment, option.efficiency, batch, search.workload.input,
                             search.workload.output, search.workload.cached);
      if (!s.ok()) break;
      line.push_back(
          {1 / s->tpot_s, s->output_tokens_s / static_cast<double>(option.deployment.chips())});
      most_user = std::max(most_user, line.back().user);
      most_chip = std::max(most_chip, line.back().chip);
    }
  }
  std::string body =
      fmt::format("<path d=\"M{0} 10V{1}H{2}\" class=\"axis\"/>", kLeft, kBottom, kWidth - 200);
  body += text_at(kLeft, kHeight - 8, "tokens/s of one user →");
  body += text_at(4, 12, "tokens/s/chip");
  body += text_at(kWidth - 200, kBottom + 14, short_number(most_user), "end");
  body += text_at(kLeft - 4, 26, short_number(most_chip), "end");
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string path;
    for (const Point& p : lines[i]) {
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L",
                          kLeft + p.user / most_user * (kWidth - 260),
                          kBottom - p.chip / most_chip * (kBottom - 20));
    }
    body += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>", path,
                        kColours[i % 8]);
    const double y = 20 + 16 * static_cast<double>(i);
    body += rectangle(kWidth - 190, y - 9, 10, 10, kColours[i % 8], "");
    body += text_at(kWidth - 176, y, label_of(options[i]));
  }
  return svg(kHeight, body);
}

std::string table(const std::vector<plan::Option>& options) {
  std::string rows;
  for (const plan::Option& o : options) {
    rows += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} ±{:.0f} "
        "%</td><td>{}</td>"
        "<td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        escaped(o.deployment.chip->name), o.chips(), split_text(o.deployment),
        escaped(o.deployment.precision.name), o.batch, short_number(o.tokens_s_per_chip),
        o.error * 100, duration_text(o.steady.tpot_s), duration_text(o.ttft_s),
        range_text(o.usd_per_million_output), o.binds, escaped(o.helps));
  }
  return "<table><tr><th>chip</th><th>chips</th><th>split</th><th>weights</th><th>batch</th>"
         "<th>tok/s/chip</th><th>TPOT</th><th>TTFT</th><th>USD/M output</th><th>binds</th>"
         "<th>would help</th></tr>\n" +
         rows + "</table>\n";
}

constexpr const char* kStyle =
    "body{font:14px system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;"
    "color:#222;background:#fff}table{border-collapse:collapse}td,th{padding:3px 8px;"
    "border-bottom:1px solid #ddd;text-align:left;font-size:13px}svg{max-width:100%;height:auto}"
    "text{font-size:12px;fill:#222}.axis{fill:none;stroke:#888}.range{stroke:#222;stroke-width:2}";

}  // namespace

std::string plan_html(const plan::PlanModel& model, const plan::SearchOptions& options,
                      const std::vector<plan::Option>& found) {
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>ferry plan "
      "{0}</title>"
      "<style>{1}</style></head><body>\n<h1>{0}</h1>\n<p>{2:.0f} tokens in ({3:.0f} % cached), "
      "{4:.0f} out. Predictions; ± is the median error on measurements that were left out.</p>\n",
      escaped(model.name), kStyle, options.workload.input, options.workload.cached * 100,
      options.workload.output);
  if (found.empty()) {
    page += "<p>No chip has an option.</p>\n";
  } else {
    std::vector<plan::Option> few(
        found.begin(),
        found.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(found.size(), 20)));
    page += table(found);
    page += "<h2>Throughput and latency</h2>\n" + frontier(few, options);
    page += "<h2>USD per million output tokens</h2>\n" + cost_bars(few);
    page += "<h2>Memory of a chip, GB</h2>\n" + stacked(few, "GB", memory_parts);
    page += "<h2>A step of decoding, ms</h2>\n" + stacked(few, "ms", step_parts);
  }
  return page + "<p>" + escaped(plan::kNoLegalAdvice) + "</p>\n</body></html>\n";
}

}  // namespace ferry::cmd
