// See packed_int4.h.
#include "disk/packed_int4.h"

#include <optional>
#include <string>
#include <string_view>

namespace ferry::disk {
namespace {

constexpr std::string_view kPacked = ".weight_packed";
constexpr int64_t kCodesPerInteger = 8;

bool is_compressed_tensors(const Json& config) {
  const Json* quantization = json_find(config, "quantization_config");
  if (quantization == nullptr || !quantization->is_object()) return false;
  const Json* method = json_find(*quantization, "quant_method");
  return method != nullptr && method->is_string() &&
         method->get_ref<const std::string&>() == "compressed-tensors";
}

}  // namespace

Status unpack_int4_names(const Json& config, Checkpoint* checkpoint) {
  if (!is_compressed_tensors(config)) return {};
  const quant::StorageFormat* int4 = quant::find_format("INT4");
  FERRY_TRY_VOID(checkpoint->reinterpret([&](FileTensor& tensor) -> Status {
    if (!tensor.name.ends_with(kPacked)) return {};
    const bool fits = tensor.format->safetensors == "I32" && tensor.shape.size() == 2 &&
                      tensor.shape[1] * kCodesPerInteger % int4->block_elements == 0;
    if (!fits) {
      return invalid_input("stored as {} {}, expected I32 [rows, columns / 8] with columns in {}s",
                           tensor.format->name, tensor.shape_text(), int4->block_elements);
    }
    tensor.format = int4;
    tensor.shape[1] *= kCodesPerInteger;  // no overflow: the bytes are in a file
    return {};
  }));
  return checkpoint->rename([](std::string_view name) -> std::optional<std::string> {
    if (!name.ends_with(kPacked)) return std::nullopt;
    return std::string(name.substr(0, name.size() - kPacked.size())) + ".weight";
  });
}

}  // namespace ferry::disk
