// See plan_request.h.
#include "cmd/plan_request.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/quote_name.h"
#include "cmd/plan_json.h"
#include "cmd/plan_parts.h"
#include "plan/workload.h"
#include "server/api/fields.h"

namespace ferry::cmd {
namespace {

namespace api = server::api;

constexpr size_t kMaxNames = 256;  // of chips or formats

// The options of `ferry plan` that a request may use: their names, ranges and defaults stand once,
// with the command.
struct RequestFields {
  RequestFields() {
    app.set_help_flag();
    app.option_defaults()->always_capture_default();
    app.add_option("--model", flags.model, "A public model by name");
    add_search_flags(app, flags);
    app.add_flag("--compare", flags.compare, "One row per chip");
  }

  static std::string name_of(const CLI::Option& option) {
    std::string name = option.get_lnames()[0];
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
  }

  CLI::App app;
  PlanFlags flags;
};

bool is_flag(const CLI::Option& option) { return option.get_expected_max() == 0; }

api::ApiError wrong_type(const std::string& field, std::string_view expected, const Json& found) {
  return {400, fmt::format("{}: expected {}, found {}", field, expected, json_type_name(found)),
          field, "invalid_type"};
}

// "--kv-dtype: …" of a command line → the field kv_dtype.
api::ApiError about_field(const Error& error) {
  const size_t end = error.message.find(": ");
  if (!error.message.starts_with("--") || end == std::string::npos) return api::from_engine(error);
  std::string field = error.message.substr(2, end - 2);
  std::replace(field.begin(), field.end(), '-', '_');
  return api::invalid_value(field, error.message.substr(end + 2));
}

api::ApiResult<std::vector<std::string>> names_in(const std::string& field, const Json& list) {
  if (list.size() > kMaxNames) {
    return api::invalid_value(field, fmt::format("{} names; at most {}", list.size(), kMaxNames));
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_string()) return wrong_type(api::path_of(field, i), "a string", list[i]);
    names.push_back(list[i].get<std::string>());
  }
  return names;
}

// A value as it stands on a command line; nullopt: absent.
api::ApiResult<std::optional<std::string>> text_of(const std::string& field, const Json& value,
                                                   bool flag) {
  using Text = std::optional<std::string>;
  if (value.is_null()) return Text();
  if (flag) {
    if (!value.is_boolean()) return wrong_type(field, "a boolean", value);
    return Text(value.get<bool>() ? "true" : "false");
  }
  if (value.is_number_float() && std::abs(value.get<double>()) < 0x1p53 &&
      std::floor(value.get<double>()) == value.get<double>()) {
    return Text(std::to_string(static_cast<int64_t>(value.get<double>())));  // 64.0 is 64
  }
  if (value.is_number()) return Text(value.dump());
  if (value.is_array()) {
    auto names = names_in(field, value);
    if (!names.ok()) return names.error();
    std::string joined;
    for (const std::string& name : *names) joined += (joined.empty() ? "" : ",") + name;
    return joined.empty() ? Text() : Text(joined);
  }
  if (!value.is_string()) return wrong_type(field, "a number, a string or a list", value);
  auto text = value.get<std::string>();
  return text.empty() ? Text() : Text(std::move(text));
}

std::optional<api::ApiError> set_field(CLI::Option& option, const std::string& field,
                                       const Json& value) {
  const auto text = text_of(field, value, is_flag(option));
  if (!text.ok()) return text.error();
  if (!text->has_value()) return std::nullopt;
  try {
    option.add_result(**text);
    option.run_callback();
  } catch (const CLI::ConversionError&) {
    return api::invalid_value(field, "can't be read: " + one_line(value.dump(), 100));
  } catch (const CLI::Error& error) {
    const std::string_view message = error.what();
    const size_t colon = message.find(": ");  // behind the name of the option
    return api::invalid_value(
        field, one_line(message.substr(colon == std::string_view::npos ? 0 : colon + 2)));
  }
  return std::nullopt;
}

// Everything but chips given as a list, whose names may have commas.
std::optional<api::ApiError> read_fields(const Json& request, RequestFields& fields) {
  std::vector<std::string> known;
  for (const CLI::Option* option : fields.app.get_options()) {
    known.push_back(RequestFields::name_of(*option));
  }
  for (const auto& [field, value] : request.items()) {
    const auto at = std::find(known.begin(), known.end(), field);
    if (at == known.end()) {
      const std::string shown = one_line(field, 60);
      return api::ApiError{
          400, fmt::format("{}: no such field{}", shown, plan::nearest_names(shown, known)), shown,
          "unknown_parameter"};
    }
    if (field == "chips" && value.is_array()) continue;
    CLI::Option* option = fields.app.get_options()[static_cast<size_t>(at - known.begin())];
    if (auto error = set_field(*option, field, value)) return error;
  }
  if (fields.flags.model.empty()) return api::missing_field("model");
  if (fields.flags.chips.ends_with(".json")) {
    return api::invalid_value("chips", "names of chips, or all: no file is read here");
  }
  return std::nullopt;
}

api::ApiResult<std::vector<const plan::Chip*>> chips_named(const Json& request,
                                                           const PlanFlags& flags,
                                                           const plan::Catalogue& catalogue) {
  const Json* list = json_find(request, "chips");
  std::vector<const plan::Chip*> chips;
  if (list == nullptr || !list->is_array() || list->empty()) {
    auto chosen = choose_chips(catalogue, flags.chips);
    if (!chosen.ok()) return api::invalid_value("chips", chosen.error().message);
    return std::move(*chosen);
  }
  const auto names = names_in("chips", *list);
  if (!names.ok()) return names.error();
  for (size_t i = 0; i < names->size(); ++i) {
    const auto chip = catalogue.find((*names)[i]);
    if (!chip.ok()) return api::invalid_value(api::path_of("chips", i), chip.error().message);
    if (std::find(chips.begin(), chips.end(), *chip) == chips.end()) chips.push_back(*chip);
  }
  return chips;
}

Json models_json() {
  Json models = Json::array();
  for (const std::string& name : plan::model_names()) {
    const auto model = plan::find_model(name);
    if (!model.ok()) continue;
    models.push_back({{"name", name},
                      {"parameters", model->total_parameters()},
                      {"active_parameters", model->active_parameters()},
                      {"experts", model->num_experts},
                      {"max_context", model->max_context},
                      {"source", model->source}});
  }
  return models;
}

api::ApiResult<api::Body> catalogue_body() {
  const auto catalogue = plan::builtin_catalogue();
  if (!catalogue.ok()) return api::from_engine(catalogue.error());
  Json out = {{"as_of", catalogue->as_of},   {"chips", Json::array()},
              {"models", models_json()},     {"workloads", Json::array()},
              {"fields", Json::array()},     {"rules_until", plan::kFactsEnd},
              {"note", plan::kNoLegalAdvice}};
  for (const plan::Chip& chip : catalogue->chips) out["chips"].push_back(chip_json(chip));
  for (const plan::WorkloadPreset& preset : plan::workload_presets()) {
    out["workloads"].push_back({{"name", preset.name},
                                {"basis", preset.basis},
                                {"input", preset.input_mean()},
                                {"output", preset.output_mean()},
                                {"cached", preset.cached},
                                {"arrival_cv", preset.arrival_cv}});
  }
  RequestFields fields;
  for (const CLI::Option* option : fields.app.get_options()) {
    out["fields"].push_back(
        {{"name", RequestFields::name_of(*option)},
         {"help", option->get_description()},
         {"default", is_flag(*option) ? Json(false) : Json(option->get_default_str())}});
  }
  return api::Body{api::dump(out)};
}

}  // namespace

api::ApiResult<api::Body> answer_plan_request(std::string_view body,
                                              const std::function<bool()>& stop) {
  const auto request = api::parse_body(body);
  if (!request.ok()) return request.error();
  api::Failure failure;
  api::Fields(*request, "", failure);
  if (failure) return *failure;
  RequestFields fields;
  if (auto error = read_fields(*request, fields)) return *error;
  const PlanFlags& flags = fields.flags;
  const auto model = plan::find_model(flags.model);
  if (!model.ok()) return api::invalid_value("model", model.error().message);
  auto options = search_options(flags);
  if (!options.ok()) return about_field(options.error());
  for (const std::string& precision : options->precisions) {
    const auto known = plan::precision_for(*model, precision, flags.kv);
    if (!known.ok()) return api::invalid_value("precision", known.error().message);
  }
  const auto as_of = rules_day(flags);
  if (!as_of.ok()) return about_field(as_of.error());
  const auto catalogue = plan::builtin_catalogue();
  if (!catalogue.ok()) return api::from_engine(catalogue.error());
  auto chips = chips_named(*request, flags, *catalogue);
  if (!chips.ok()) return chips.error();
  options->chips = std::move(*chips);
  options->stop = stop;
  const auto found = find_options(*model, *options, flags);
  if (!found.ok()) return api::from_engine(found.error());
  return api::Body{api::dump(plan_json(*model, *options, *found, *as_of))};
}

api::ApiResult<api::Body> plan_catalogue() {
  static const api::ApiResult<api::Body> catalogue = catalogue_body();  // the binary's own data
  return catalogue;
}

}  // namespace ferry::cmd
