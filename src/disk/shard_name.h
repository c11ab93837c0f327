// Names of the parts of a split model: `NAME-00002-of-00005.EXT`, counted from 1. Both formats use
// them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ferry::disk {

struct ShardName {
  std::string stem;  // "model"
  int number = 0;    // from 1
  int count = 0;
  std::string extension;  // ".gguf"

  std::string with_number(int other) const;
};

// nullopt when the name is not of that form or its numbers make no sense (0, above the count).
std::optional<ShardName> parse_shard_name(std::string_view file_name);

}  // namespace ferry::disk
