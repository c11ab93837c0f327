// Short names of models: a table of well-known ones, and the user's own in
// $XDG_CONFIG_HOME/ferry/aliases.json (default ~/.config): {"mine": "org/name", "big": "/path"}.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::disk {

struct Alias {
  std::string_view name;    // lower case
  std::string_view target;  // org/name on the hub
};

std::span<const Alias> built_in_aliases();

// Path of the user's file, whether or not it is there.
std::string user_alias_file();

// What `name` stands for; the user's file goes before the table, and one entry of it may name one
// of the table. nullopt: not an alias. Errors: the user's file is there and wrong.
Result<std::optional<std::string>> resolve_alias(std::string_view name,
                                                 const std::string& user_file);

}  // namespace ferry::disk
