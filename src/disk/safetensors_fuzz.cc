// Fuzzes the safetensors reader: the input is one file.
#include <cstddef>
#include <cstdint>

#include "base/check_message.h"
#include "disk/exercise.h"
#include "disk/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto file = ferry::disk::MappedFile::view("fuzz.safetensors", {data, size});
  auto checkpoint = ferry::disk::read_safetensors_file(std::move(file));
  if (ferry::ok_or_told(checkpoint)) ferry::disk::exercise(*checkpoint);
  return 0;
}
