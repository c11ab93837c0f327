// See hf_config.h: config.json.
#include "disk/hf_config.h"

namespace ferry::disk {
namespace {

constexpr std::string_view kConfigName = "config.json";

// {"rope_theta": t, "rope_type": "yarn", …} → rope_theta beside rope_scaling.
void split_rope_parameters(Json& config) {
  Json scaling = config["rope_parameters"];
  config.erase("rope_parameters");
  if (scaling.contains("rope_theta")) {
    if (json_find(config, "rope_theta") == nullptr) config["rope_theta"] = scaling["rope_theta"];
    scaling.erase("rope_theta");
  }
  if (json_find(config, "rope_scaling") == nullptr) config["rope_scaling"] = std::move(scaling);
}

Status canonical_scaling(Json& config) {
  Json& scaling = config["rope_scaling"];
  if (!scaling.is_object()) {
    return invalid_input("rope_scaling: expected an object, found {}", json_type_name(scaling));
  }
  const std::string key = json_find(scaling, "rope_type") != nullptr ? "rope_type" : "type";
  auto type = json_string(scaling, key);
  if (!type.ok()) return type.error().in("rope_scaling");
  if (*type == "default") {
    scaling = nullptr;
  } else {
    scaling["type"] = *type;
    scaling["rope_type"] = *type;
  }
  return {};
}

}  // namespace

Result<Json> canonical_config(Json config, const std::string& path) {
  const Json* parameters = json_find(config, "rope_parameters");
  // Models with several rotary tables keep one object per table there; that is for their own
  // architecture file to read.
  if (parameters != nullptr && parameters->is_object() &&
      (parameters->contains("rope_theta") || parameters->contains("rope_type"))) {
    split_rope_parameters(config);
  }
  if (json_find(config, "rope_scaling") != nullptr) {
    auto ok = canonical_scaling(config);
    if (!ok.ok()) return ok.error().in(path);
  }
  const Json* rank = json_find(config, "q_lora_rank");
  if (rank != nullptr && *rank == 0) config["q_lora_rank"] = nullptr;
  return config;
}

Result<Json> read_hf_config(const Folder& folder) {
  FERRY_TRY(Json config, folder.read_json(kConfigName));
  return canonical_config(std::move(config), folder.path_of(kConfigName));
}

}  // namespace ferry::disk
