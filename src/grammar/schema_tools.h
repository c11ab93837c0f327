// JSON schemas as data: what keywords there are, what $ref means, and how schemas that must all
// hold (allOf, $ref with siblings, anyOf with siblings) become one. Nothing here knows about
// automata.
//
// Closed by default: an object with `properties` and without `additionalProperties` gets no further
// properties, and an array with `prefixItems` and without `items` no further items. What is written
// is valid either way.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/budget.h"

namespace ferry::grammar {

// A schema and where it stands: "#/properties/a".
struct Schema {
  Json value;
  std::string path;
};

std::string child_path(const std::string& path, std::string_view key);
Error refuse_keyword(std::string_view keyword, const std::string& path, std::string_view why);

// The schema without annotations (title, description, …), const as enum. Errors name the first
// keyword that can't be honoured, or whose value has the wrong type, and its place.
Result<Json> checked_schema(const Schema& schema);

class SchemaDocument {
 public:
  SchemaDocument(const Json& root, Budget& budget) : root_(root), budget_(budget) {}

  // What `reference` ("#/$defs/a") points to. Errors name what is not there.
  Result<Schema> resolve(const Schema& from) const;

  // `schema` as alternatives that have no $ref, allOf, anyOf or oneOf of their own. Alternatives
  // that contradict themselves are left out. Errors: branches of a oneOf that can hold together.
  Result<std::vector<Schema>> alternatives(const Schema& schema, int depth = 0) const;

 private:
  Result<std::vector<Schema>> branches(const Schema& schema, const char* keyword, int depth) const;
  Status make_disjoint(std::vector<Schema>& parts, const std::vector<size_t>& branch_of,
                       const std::string& path) const;
  Result<std::vector<Schema>> product(const std::vector<Schema>& left,
                                      const std::vector<Schema>& right) const;

  const Json& root_;
  Budget& budget_;
};

// The types a schema without combinations allows: those named, else those its keywords are about
// ({"properties": …} means objects), else all. "integer" counts as its own type beside "number".
std::vector<std::string> types_of(const Json& schema);

}  // namespace ferry::grammar
