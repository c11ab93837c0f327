#include "cmd/model_argument.h"

#include "cmd/builtin_model.h"

namespace ferry::cmd {

Result<disk::ModelSource> open_model_argument(const std::string& argument,
                                              const disk::OpenOptions& options) {
  if (!is_builtin_model(argument)) return disk::open_model(argument, options);
  std::vector<disk::MemoryFile> files;
  for (const ModelFile& file : builtin_model_files()) {
    files.push_back(
        {std::string(file.name),
         {reinterpret_cast<const uint8_t*>(file.contents.data()), file.contents.size()}});
  }
  return disk::open_model_from_memory(std::string(kBuiltinModelName), std::move(files), options);
}

}  // namespace ferry::cmd
