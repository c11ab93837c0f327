// Fuzzes the GGUF reader and what is made of its key-values: the input is one file.
#include <cstddef>
#include <cstdint>

#include "disk/exercise.h"
#include "disk/model_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using ferry::disk::exercise;
  const auto source = ferry::disk::open_model_from_memory("fuzz", {{"m.gguf", {data, size}}});
  exercise(source);
  return 0;
}
