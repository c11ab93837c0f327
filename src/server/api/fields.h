// Fields: typed reading of one JSON object of a request, under written ranges. The first thing that
// is wrong is kept, with the path of its field, and every later read returns nothing; so a parser
// reads all it wants and asks once at the end. A field that is null counts as absent.
//
//   Failure failure;
//   Fields body(json, "", failure);
//   const auto n = body.integer("n", 1, 16).value_or(1);
//   if (failure) return *failure;
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "server/api/api_error.h"

namespace ferry::server::api {

using Failure = std::optional<ApiError>;

// "messages" + "content" → "messages.content"; "" + "n" → "n".
std::string path_of(std::string_view parent, std::string_view key);
std::string path_of(std::string_view parent, size_t index);

class Fields {
 public:
  // `json` and `failure` stay where they are for as long as this lives.
  // A value that is no object is a failure.
  Fields(const Json& json, std::string path, Failure& failure);

  const std::string& path() const { return path_; }
  std::string path(std::string_view key) const { return path_of(path_, key); }
  Failure& failure() const { return *failure_; }

  // nullptr: absent or null.
  const Json* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }

  std::optional<bool> boolean(std::string_view key);
  // Numbers without a fraction (3.0) are integers too: some languages write no other.
  std::optional<int64_t> integer(std::string_view key, int64_t low, int64_t high);
  std::optional<double> number(std::string_view key, double low, double high);
  std::optional<std::string> string(std::string_view key);
  std::optional<std::string> one_of(std::string_view key,
                                    std::initializer_list<std::string_view> allowed);
  const Json* array(std::string_view key);
  const Json* object(std::string_view key);

  // The same, but absence is a failure.
  std::string required_string(std::string_view key);
  const Json* required_array(std::string_view key);

  // Keeps `error` unless something was wrong before.
  void fail(ApiError error) const;
  void fail_type(std::string_view key, std::string_view expected, const Json& found) const;
  // A field that ferry does not have: a failure when it is there.
  void refuse(std::string_view key, std::string_view why) const;

 private:
  const Json* json_;
  std::string path_;
  Failure* failure_;
};

}  // namespace ferry::server::api
