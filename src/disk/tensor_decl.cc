// See tensor_decl.h.
#include "disk/tensor_decl.h"

#include <unordered_set>

#include "base/quote_name.h"
#include "disk/tensor_file.h"

namespace ferry::disk {

Result<std::vector<int64_t>> declared_bytes(const std::vector<TensorDecl>& tensors) {
  std::vector<int64_t> bytes;
  std::unordered_set<std::string> names;
  for (const TensorDecl& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return invalid_input("tensor {} is declared twice", quote_name(tensor.name));
    }
    auto size = tensor_bytes(*tensor.format, tensor.shape);
    if (!size.ok()) return size.error().in("tensor " + quote_name(tensor.name));
    bytes.push_back(*size);
  }
  return bytes;
}

}  // namespace ferry::disk
