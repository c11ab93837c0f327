// `ferry serve [MODEL]`: the HTTP server that OpenAI's and DeepSeek's clients talk to.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "cmd/api_keys.h"
#include "cmd/builtin_model.h"
#include "cmd/command.h"
#include "cmd/engine_flags.h"
#include "cmd/plan_request.h"
#include "server/http/server.h"

namespace ferry::cmd {
namespace {

constexpr const char* kServeFooter =
    R"(Without MODEL the small built-in one answers. Any "model" of a request is taken for the one
that is loaded, unless --strict-model-name. The server listens at once and loads behind that:
/livez says that it is there, /readyz that it can answer.

Routes, with and without /v1: chat/completions, completions, responses, embeddings, models,
models/ID, tokenize, detokenize; /beta/completions and /beta/chat/completions as DeepSeek has them;
livez, readyz, health, version, metrics, stats; POST plan and GET plan/catalogue as ferry plan
answers; the web page at /.

API keys: --api-key, the variable FERRY_API_KEY, or lines of --api-key-file, each a key or
"sha256:" and the 64 hex digits of its SHA-256. Without any, only this machine may connect.

SIGTERM and SIGINT stop accepting and let answers come to their end, up to --drain-timeout; a
second one ends them at once.

Exit codes: 0 ended by a signal, all answers finished; 2 wrong flag, file or model; 3 the address
can't be had; 4 out of memory; 5 device; 130 a second signal.

Examples:
  ferry serve
  ferry serve deepseek-ai/DeepSeek-V2-Lite-Chat --port 8080 -c 16384 --max-num-seqs 32
  ferry serve model.gguf --host 0.0.0.0 --api-key-file /etc/ferry/keys --access-log -
  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"messages":[{"role":"user","content":"Hello!"}],"stream":true}')";

struct ServerFlags {
  EngineFlags engine;
  server::ServerOptions server;
  int64_t max_num_seqs = 64;
  int64_t max_batch_tokens = 512;
  int64_t max_waiting = 1024;
  int64_t kv_tokens = 0;
  int64_t max_body_mib = 256;
  std::vector<std::string> api_keys;
  std::string api_key_file;
  std::string metrics_compat = "ferry";
  bool thinking = false;
  bool has_thinking = false;
};

Result<server::ServerOptions> server_options(const ServerFlags& flags) {
  server::ServerOptions options = flags.server;
  options.version = FERRY_VERSION;
  options.planner = server::Planner{.plan = answer_plan_request, .catalogue = plan_catalogue};
  options.max_body_bytes = static_cast<size_t>(flags.max_body_mib) << 20;
  options.vllm_metric_names = flags.metrics_compat == "vllm";
  if (flags.has_thinking) options.thinking = flags.thinking;
  if (options.names.empty()) {
    options.names = {is_builtin_model(flags.engine.model) ? std::string(kBuiltinModelName)
                                                          : flags.engine.model};
  }
  if (options.log_prompts && options.access_log.empty()) {
    return invalid_input("--log-prompts: needs --access-log");
  }
  auto keys = std::make_shared<ApiKeys>();
  for (const std::string& key : flags.api_keys) {
    const Status added = keys->add(key);
    if (!added.ok()) return added.error().in("--api-key");
  }
  if (!flags.api_key_file.empty()) FERRY_TRY_VOID(keys->add_file(flags.api_key_file));
  if (!keys->empty()) {
    options.authorize = [keys](std::string_view key) { return keys->contains(key); };
  }
  return options;
}

int serve_model(const ServerFlags& flags) {
  Result<server::ServerOptions> options = server_options(flags);
  if (!options.ok()) return fail(options.error());
  Result<std::unique_ptr<server::Server>> server =
      server::Server::listen(std::move(options).value());
  if (!server.ok()) return fail(server.error());
  const std::string url = (*server)->url();
  std::fprintf(stderr, "ferry: listening on %s\n", url.c_str());
  const auto load = [&flags] {
    EngineOptions engine = engine_options(flags.engine);
    engine.max_sequences = flags.max_num_seqs;
    engine.max_batch_tokens = std::max(flags.max_batch_tokens, flags.max_num_seqs);
    engine.max_waiting = flags.max_waiting;
    engine.kv_tokens = flags.kv_tokens;
    return load_engine(flags.engine, std::move(engine));
  };
  const auto ready = [&url](const Engine& engine) {
    std::fprintf(stderr, "ferry: %s is ready at %s (context %lld tokens, cache %lld tokens)\n",
                 engine.info().name.c_str(), url.c_str(),
                 static_cast<long long>(engine.info().max_context),
                 static_cast<long long>(engine.info().memory.kv_tokens));
  };
  const server::Server::Ending ending = (*server)->run(load, ready);
  if (ending.load_error.has_value()) return fail(*ending.load_error);
  const int code = ending.forced ? 130 : 0;
  if (ending.still_loading) {
    std::fflush(nullptr);
    std::_Exit(code);  // the thread that loads can't be told to stop
  }
  return code;
}

void add_model_flags(CLI::App& command, ServerFlags& flags) {
  command
      .add_option("model,-m,--model", flags.engine.model,
                  "Path, alias or org/name; without it: the built-in model")
      ->type_name("MODEL");
  command
      .add_option("--served-model-name", flags.server.names,
                  "What the model is called to clients (may repeat); else as it was named here")
      ->type_name("NAME")
      ->default_str("");
  command.add_flag("--strict-model-name", flags.server.strict_names,
                   "Refuse requests for any other model with 404");
  const auto number = [&](const char* name, int64_t& value, int64_t least, int64_t most,
                          const char* help) {
    command.add_option(name, value, help)->type_name("N")->check(CLI::Range(least, most));
  };
  number("--max-num-seqs", flags.max_num_seqs, 1, 1024, "Requests that are computed together");
  number("--max-num-batched-tokens", flags.max_batch_tokens, 1, 1 << 20,
         "Tokens of one step, prompts and answers");
  number("--max-waiting", flags.max_waiting, 0, 1 << 20,
         "Requests that may wait; further ones get 429");
  number("--kv-tokens", flags.kv_tokens, 0, int64_t{1} << 40,
         "Tokens the cache holds; 0: as many as the requests need, within half of free memory");
}

void add_network_flags(CLI::App& command, ServerFlags& flags) {
  server::ServerOptions& server = flags.server;
  const std::string group = "Network";
  command.add_option("--host", server.host, "Address to listen on")
      ->group(group)
      ->type_name("HOST");
  command.add_option("--port", server.port, "Port to listen on; 0: a free one")
      ->group(group)
      ->type_name("N")
      ->check(CLI::Range(0, 65535));
  command.add_option("--api-key", flags.api_keys, "A key that clients must send (may repeat)")
      ->group(group)
      ->type_name("KEY")
      ->default_str("")
      ->configurable(false);  // --print-config must not print it
  command.add_option("--api-key-file", flags.api_key_file, "Further keys, one per line")
      ->group(group)
      ->type_name("FILE");
  command
      .add_flag("--allow-unauthenticated", server.allow_unauthenticated,
                "Listen where others can connect, without any key")
      ->group(group);
  command
      .add_option("--allow-origin", server.allowed_origins,
                  "Web pages from here may ask too (may repeat); *: all")
      ->group(group)
      ->type_name("ORIGIN")
      ->default_str("");
  command
      .add_option("--drain-timeout", server.drain_timeout_s,
                  "Seconds that answers get to finish after SIGTERM")
      ->group(group)
      ->type_name("S")
      ->check(CLI::Range(0.0, 86400.0));
  command
      .add_option("--max-body-mib", flags.max_body_mib,
                  "Bodies of all requests together while they are read; further ones get 503")
      ->group(group)
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));
}

void add_log_flags(CLI::App& command, ServerFlags& flags) {
  const std::string group = "Logs and metrics";
  command
      .add_option("--access-log", flags.server.access_log,
                  "Append one JSON line per request to this file; -: standard output")
      ->group(group)
      ->type_name("FILE");
  command
      .add_flag("--log-prompts", flags.server.log_prompts, "Put request bodies into the access log")
      ->group(group);
  command
      .add_option("--metrics-compat", flags.metrics_compat,
                  "Names in /metrics: ferry (ferry_…) or vllm (vllm:…)")
      ->group(group)
      ->type_name("NAMES")
      ->check(CLI::IsMember({"ferry", "vllm"}));
}

}  // namespace

void add_serve(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("serve", "Serve a model over HTTP, with a web page");
  command->footer(kServeFooter);
  auto flags = std::make_shared<ServerFlags>();
  add_model_flags(*command, *flags);
  CLI::Option* thinking =
      command->add_flag("--thinking,!--no-thinking", flags->thinking,
                        "Whether the model thinks where a request does not say");
  add_engine_flags(*command, flags->engine);
  add_network_flags(*command, *flags);
  add_log_flags(*command, *flags);
  command->callback([&action, flags, thinking] {
    flags->has_thinking = thinking->count() > 0;
    action = [flags] { return serve_model(*flags); };
  });
}

}  // namespace ferry::cmd
