// libFuzzer: a hostile config.json, from canonical form through the choice of an architecture and
// its spec to the list of its tensors.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/check_message.h"
#include "disk/hf_config.h"
#include "models/registry/select.h"
#include "weights/shape_recorder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry;
  auto json = parse_json({reinterpret_cast<const char*>(data), size});
  if (!ok_or_told(json) || !json->is_object()) return 0;
  auto config = disk::canonical_config(std::move(*json), "config.json");
  if (!ok_or_told(config)) return 0;
  auto architecture = models::select_architecture(*config);
  if (!ok_or_told(architecture)) return 0;
  auto spec = (*architecture)->read_spec(*config);
  if (!ok_or_told(spec)) return 0;
  // Lists of tensors grow with layers and experts; a few of each show all there is to see.
  if (spec->num_hidden_layers > 16 || spec->moe.num_experts > 64) return 0;
  weights::ShapeRecorder recorder;
  CHECK((*architecture)->build(*spec, recorder, {.max_context = 64}) != nullptr);
  CHECK(!recorder.records().empty() && recorder.bytes() > 0);
  return 0;
}
