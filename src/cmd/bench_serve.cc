// `ferry bench serve URL`: load on a running OpenAI-compatible server, ferry's or any other, and
// what its users would notice of it. Closed loop (--concurrency), Poisson (--rate) or a trace.
#include "cmd/bench_serve.h"

#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cstdio>

#include "base/quote_name.h"
#include "cmd/http.h"
#include "cmd/interrupt.h"
#include "cmd/load_client.h"
#include "cmd/load_plan.h"
#include "cmd/load_report.h"
#include "cmd/read_input.h"

namespace ferry::cmd {
namespace {

constexpr const char* kBenchServeFooter =
    R"(Closed loop: so many requests at a time, the next when one ends. With --rate, requests arrive
at random (Poisson) whether the server keeps up or not, and times count from their arrival. A trace
has one JSON object a line: {"timestamp": ms, "input_length": tokens, "output_length": tokens}.

Prompts are random words from --seed, no two alike but for the --prefix tokens they share. The
server's tokenizer decides how many words make --input tokens: two short requests find out.
Answers are asked to go on until --output tokens (ignore_eos), which servers may not know.

Exit code: 0; 1 if any request failed; 3 if all did.

Examples:
  ferry bench serve http://127.0.0.1:8000 --concurrency 1,4,16 --input 512 --output 128
  ferry bench serve http://127.0.0.1:8000 --rate 2 --requests 200 --slo ttft=500,tpot=50 --json)";

constexpr int64_t kProbeWords[2] = {16, 80};

struct ServeFlags {
  std::string url;
  std::string model;
  std::string api_key;
  std::string endpoint = "chat";
  std::vector<int64_t> concurrency = {1, 4, 16, 64};
  std::vector<double> rates;
  std::string trace;
  int64_t input = 128;
  int64_t output = 64;
  int64_t prefix = 0;
  int64_t requests = 0;
  uint64_t seed = 1;
  double timeout_s = 600;
  std::string slo;
  bool respect_eos = false;
  bool json = false;
};

bool stopped() { return interrupted(); }

class Bench {
 public:
  explicit Bench(const ServeFlags& flags) : flags_(flags) {}

  Result<int> run() {
    FERRY_TRY(objectives_, parse_objectives(flags_.slo));
    FERRY_TRY(base_, base_url());
    std::vector<LoadItem> trace;
    if (!flags_.trace.empty()) {
      FERRY_TRY(const std::string text, read_input(flags_.trace));
      FERRY_TRY(trace, parse_trace(text, flags_.trace));
      if (flags_.requests > 0 && flags_.requests < static_cast<int64_t>(trace.size())) {
        trace.resize(static_cast<size_t>(flags_.requests));
      }
    }
    FERRY_TRY(model_, model_name());
    FERRY_TRY_VOID(probe());
    catch_interrupts();
    if (!trace.empty()) {
      add_run({.load = "trace"}, trace);
    } else if (!flags_.rates.empty()) {
      for (const double rate : flags_.rates) run_at_rate(rate);
    } else {
      for (const int64_t concurrency : flags_.concurrency) run_closed(concurrency);
    }
    if (flags_.json) print_json(result());
    return code();
  }

 private:
  // "http://host:8000/" or "http://host:8000/v1/chat/completions" → "http://host:8000/v1"
  Result<std::string> base_url() const {
    std::string url = flags_.url;
    if (origin_of(url).empty()) {
      return invalid_input("{} is no http or https address", quote_name(flags_.url));
    }
    for (const char* ending : {"/", "/chat/completions", "/completions", "/"}) {
      if (url.ends_with(ending)) url.erase(url.size() - std::string_view(ending).size());
    }
    return url.ends_with("/v1") ? url : url + "/v1";
  }

  LoadTarget target(const std::string& route) const {
    return {.url = base_ + route, .api_key = flags_.api_key, .timeout_s = flags_.timeout_s};
  }
  std::string route() const {
    return flags_.endpoint == "chat" ? "/chat/completions" : "/completions";
  }

  // The one that was named, or the first one the server has.
  Result<std::string> model_name() const {
    if (!flags_.model.empty()) return flags_.model;
    FERRY_TRY(const Json models, call_json(target("/models"), ""));
    const Json* data = models.is_object() ? json_find(models, "data") : nullptr;
    if (data == nullptr || !data->is_array() || data->empty() || !data->front().is_object()) {
      return io_error("{}/models lists no model; name one with --model", base_);
    }
    return json_string(data->front(), "id");
  }

  Json body(const std::string& prompt, int64_t output) const {
    Json request = {{"model", model_}};
    if (flags_.endpoint == "chat") {
      request["messages"] = Json::array({{{"role", "user"}, {"content", prompt}}});
    } else {
      request["prompt"] = prompt;
    }
    request["max_tokens"] = output;
    request["temperature"] = 0;
    if (!flags_.respect_eos) request["ignore_eos"] = true;
    return request;
  }

  // How many words make how many tokens. Also finds out whether the server answers at all.
  Status probe() {
    int64_t tokens[2] = {};
    for (int i = 0; i < 2; ++i) {
      const std::string prompt = make_prompt(~flags_.seed, 0, kProbeWords[i], 0);
      FERRY_TRY(const Json answer, call_json(target(route()), body(prompt, 1).dump()));
      const Json* usage = answer.is_object() ? json_find(answer, "usage") : nullptr;
      if (usage == nullptr || !usage->is_object() || !json_int(*usage, "prompt_tokens").ok()) {
        std::fputs("ferry: the server does not count tokens: one word is taken for one\n", stderr);
        return {};
      }
      tokens[i] = *json_int(*usage, "prompt_tokens");
    }
    rate_ = WordRate::from_probes(kProbeWords[0], tokens[0], kProbeWords[1], tokens[1]);
    return {};
  }

  std::vector<LoadItem> items(int64_t fallback) const {
    const int64_t count = flags_.requests > 0 ? flags_.requests : fallback;
    return std::vector<LoadItem>(static_cast<size_t>(count),
                                 {.input_tokens = flags_.input, .output_tokens = flags_.output});
  }

  void run_closed(int64_t concurrency) {
    add_run({.load = fmt::format("concurrency {}", concurrency), .concurrency = concurrency},
            items(std::max<int64_t>(4 * concurrency, 16)));
  }

  void run_at_rate(double rate) {
    std::vector<LoadItem> arrivals = items(64);
    arrive_at_random(arrivals, rate, flags_.seed);
    add_run({.load = fmt::format("{} requests/s", rate), .rate = rate}, arrivals);
  }

  void add_run(LoadRun run, const std::vector<LoadItem>& items) {
    if (stopped()) return;
    const int64_t shared =
        flags_.prefix > 0 ? WordRate{0, rate_.per_word}.words_for(flags_.prefix) : 0;
    std::vector<LoadRequest> requests;
    for (const LoadItem& item : items) {
      const std::string prompt =
          make_prompt(flags_.seed, num_prompts_++, rate_.words_for(item.input_tokens), shared);
      Json request = body(prompt, item.output_tokens);
      request["stream"] = true;
      request["stream_options"] = {{"include_usage", true}};
      requests.push_back({.body = request.dump(), .due_s = item.due_s});
    }
    const bool terminal = isatty(STDERR_FILENO) == 1;
    size_t done = 0;
    const auto on_end = [&] {
      ++done;
      if (terminal) {
        std::fprintf(stderr, "\r%s: %zu of %zu ", run.load.c_str(), done, requests.size());
      }
    };
    LoadClient client(target(route()));
    run.answers = client.run(requests, run.concurrency, on_end, stopped);
    run.seconds = client.run_s();
    if (terminal) std::fputs("\r\x1b[K", stderr);
    if (!flags_.json) {
      if (runs_.empty()) print_head();
      print_load(run, objectives_);
      std::fflush(stdout);
    }
    runs_.push_back(std::move(run));
  }

  void print_head() const {
    std::printf("%s%s, model %s", base_.c_str(), route().c_str(), model_.c_str());
    if (flags_.trace.empty()) {
      std::printf(", %lld tokens in, %lld out", static_cast<long long>(flags_.input),
                  static_cast<long long>(flags_.output));
    }
    std::printf("\n");
  }

  Json result() const {
    Json out = {{"url", base_ + route()}, {"model", model_}, {"seed", flags_.seed}};
    if (flags_.trace.empty()) {
      out["input"] = flags_.input;
      out["output"] = flags_.output;
    } else {
      out["trace"] = flags_.trace;
    }
    out["prefix"] = flags_.prefix;
    out["slo"] = flags_.slo;
    out["runs"] = Json::array();
    for (const LoadRun& run : runs_) out["runs"].push_back(load_json(run, objectives_));
    return out;
  }

  int code() const {
    int64_t good = 0, failed = 0;
    for (const LoadRun& run : runs_) {
      good += count_good(run);
      failed += count_failed(run);
    }
    if (stopped()) return 130;
    if (failed == 0) return 0;
    return good > 0 ? 1 : 3;
  }

  const ServeFlags& flags_;
  Objectives objectives_;
  std::string base_;
  std::string model_;
  WordRate rate_;
  uint64_t num_prompts_ = 0;
  std::vector<LoadRun> runs_;
};

void add_load_flags(CLI::App& command, ServeFlags& flags) {
  constexpr int64_t kMost = int64_t{1} << 24;
  const std::string group = "Load";
  const auto number = [&](const char* name, int64_t& value, int64_t least, const char* help) {
    command.add_option(name, value, help)
        ->group(group)
        ->type_name("N")
        ->check(CLI::Range(least, kMost));
  };
  auto* concurrency =
      command.add_option("--concurrency", flags.concurrency, "Requests at a time, run after run")
          ->group(group)
          ->type_name("N,N,…")
          ->delimiter(',')
          ->check(CLI::Range(int64_t{1}, int64_t{4096}));
  auto* rate = command.add_option("--rate", flags.rates, "Requests per second, arriving at random")
                   ->group(group)
                   ->type_name("R,R,…")
                   ->delimiter(',')
                   ->check(CLI::Range(1e-3, 1e6))
                   ->default_str("");
  auto* trace = command.add_option("--trace", flags.trace, "Arrivals and lengths from this file")
                    ->group(group)
                    ->type_name("FILE");
  concurrency->excludes(rate)->excludes(trace);
  rate->excludes(trace);
  number("--input", flags.input, 1, "Prompt tokens of each request");
  number("--output", flags.output, 1, "Tokens of each answer");
  number("--prefix", flags.prefix, 0, "Of the prompt, tokens that all requests share");
  number("--requests", flags.requests, 0,
         "Requests of each run; 0: 4 × concurrency, at least 16; 64 with --rate; all of a trace");
  command.add_option("--seed", flags.seed, "The same seed sends the same prompts")
      ->group(group)
      ->type_name("N");
}

}  // namespace

void add_bench_serve(CLI::App& bench, Action& action) {
  CLI::App* command =
      bench.add_subcommand("serve", "Put load on a running OpenAI-compatible server");
  command->footer(kBenchServeFooter);
  command->fallthrough(false);  // flags of `bench` mean nothing here
  auto flags = std::make_shared<ServeFlags>();
  command->add_option("url", flags->url, "Where the server is: http://127.0.0.1:8000")
      ->required()
      ->type_name("URL");
  command->add_option("--model", flags->model, "Model to ask for; else the first one it lists")
      ->type_name("NAME");
  command->add_option("--api-key", flags->api_key, "Sent as a bearer token")->type_name("KEY");
  command->add_option("--endpoint", flags->endpoint, "Route to use: chat or completions")
      ->type_name("NAME")
      ->check(CLI::IsMember({"chat", "completions"}));
  add_load_flags(*command, *flags);
  command
      ->add_option("--slo", flags->slo,
                   "What a good answer keeps to: ttft=500,tpot=50,e2e=9s (ms unless said)")
      ->type_name("LIMITS");
  command->add_option("--timeout", flags->timeout_s, "Seconds after which a request has failed")
      ->type_name("S")
      ->check(CLI::Range(0.1, 1e6));
  command->add_flag("--respect-eos", flags->respect_eos,
                    "Let answers end before --output tokens (no ignore_eos)");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([&action, flags] {
    action = [flags] {
      const Result<int> code = Bench(*flags).run();
      return code.ok() ? *code : fail(code.error());
    };
  });
}

}  // namespace ferry::cmd
