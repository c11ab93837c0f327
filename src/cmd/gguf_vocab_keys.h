// The tokenizer side of a checkpoint that ferry writes: the vocabulary of a model as GGUF
// key-values, and a made-up byte-level one for models that have only shapes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "disk/gguf_writer.h"
#include "disk/model_source.h"

namespace ferry::cmd {

struct Vocabulary {
  std::string pre;                   // GGUF's name of the pre-tokenizer
  std::vector<std::string> tokens;   // by id, bytes in the GPT-2 alphabet
  std::vector<int32_t> token_types;  // 1 normal, 3 control, 4 user defined, 5 unused
  std::vector<std::string> merges;   // "left right", by rank
  int64_t bos_id = -1, eos_id = -1;
  bool add_bos = false;
  std::string chat_template;
};

// Every byte, some merges, and placeholders up to vocab_size; bos and eos at their ids (-1: none).
Vocabulary make_vocabulary(int64_t vocab_size, int64_t bos_id, int64_t eos_id);

// The vocabulary of a Hugging Face checkpoint, padded to vocab_size. `pre` is the
// name whose GGUF reading gives the same ids as tokenizer.json on sample texts.
// Errors: a tokenizer.json that is not understood, or one whose pre-tokenizer GGUF has no name for.
Result<Vocabulary> vocabulary_of(const disk::ModelSource& source, int64_t vocab_size);

void add_vocabulary(disk::GgufKeyValues& keys, const Vocabulary& vocabulary);

// tokenizer.json and tokenizer_config.json of a made-up vocabulary.
std::vector<std::pair<std::string, std::string>> tokenizer_files(const Vocabulary& vocabulary);

}  // namespace ferry::cmd
