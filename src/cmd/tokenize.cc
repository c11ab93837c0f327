// `ferry tokenize MODEL (--text T | --file F)`: text → token ids, as the model's own tokenizer
// gives them. A vocabulary-only GGUF will do.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "cmd/command.h"
#include "cmd/model_argument.h"
#include "cmd/read_input.h"
#include "engine/model_text.h"

namespace ferry::cmd {
namespace {

struct TokenizeFlags {
  std::string model;
  std::optional<std::string> text;
  std::string file;
  bool json = false;
  bool add_special = false;
  bool no_parse_special = false;
};

// One line per token: id, then its bytes as a JSON string would show them.
void print_tokens(const text::Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  for (int32_t id : ids) {
    const Json bytes = std::string(tokenizer.token_bytes(id));
    std::printf("%7d  %s\n", id,
                bytes.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  }
}

Result<int> tokenize(const TokenizeFlags& flags) {
  FERRY_TRY(const disk::ModelSource source,
            open_model_argument(flags.model, {.tokenizer_only = true}));
  FERRY_TRY(const text::Tokenizer tokenizer, engine::read_tokenizer(source));
  std::string text;
  if (flags.text) {
    text = *flags.text;
  } else {
    FERRY_TRY(text, read_input(flags.file));
  }
  const std::vector<int32_t> ids = tokenizer.encode(
      text, {.add_special = flags.add_special, .parse_special = !flags.no_parse_special});
  if (flags.json) {
    std::puts(Json(ids).dump().c_str());
  } else {
    print_tokens(tokenizer, ids);
    std::fprintf(stderr, "%zu tokens, %zu bytes\n", ids.size(), text.size());
  }
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("tokenize", "Turn text into the token ids of a model");
  command->footer(
      "Prints one token a line, or with --json the array of ids. Nothing is put in front of the\n"
      "text unless --add-special is given.\n\n"
      "Example: ferry tokenize model.gguf --text 'Hello, world!' --json");
  auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("model", flags->model, kModelHelp)->type_name("MODEL");
  auto* input = command->add_option_group("input");
  input->add_option("--text", flags->text, "The text itself")->type_name("TEXT");
  input->add_option("--file", flags->file, "A file with the text; - for standard input")
      ->type_name("FILE");
  input->require_option(1);
  command->add_flag("--json", flags->json, "Print a JSON array of ids");
  command->add_flag("--add-special", flags->add_special,
                    "Add what the tokenizer puts around a text by itself (BOS)");
  command->add_flag("--no-parse-special", flags->no_parse_special,
                    "Read the spelling of special tokens as ordinary text");
  command->callback([&action, flags] {
    action = [flags] {
      Result<int> code = tokenize(*flags);
      return code.ok() ? *code : fail(code.error());
    };
  });
}

}  // namespace ferry::cmd
