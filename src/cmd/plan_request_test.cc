// Requests to the planner: the same answer as the command gives, an error with its field for
// everything that is wrong, and an end when it is asked for.
#include "cmd/plan_request.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>

#include "base/json.h"
#include "base/quote_name.h"
#include "cmd/testing.h"

namespace ferry::cmd {
namespace {

namespace api = server::api;
using ::testing::HasSubstr;

api::ApiResult<api::Body> planned(std::string_view body) {
  return answer_plan_request(body, [] { return false; });
}

Json output_of(const std::string& arguments) {
  const testing::Printed printed = testing::run_ferry("plan " + arguments);
  EXPECT_FALSE(printed.failed) << arguments << printed.text;
  const auto json = parse_json(printed.text);
  return json.ok() ? *json : Json(json.error().message);
}

TEST(PlanRequest, AnswersWhatTheCommandPrints) {
  const auto answer = planned(
      R"json({"model": "deepseek-v3", "chips": ["H800 SXM 80GB", "Ascend 910B4 (A2-280T, 32G)"],
          "slo": "tpot=50ms,ttft=2s", "rate": 20, "max_chips": 128.0, "mtp": 1, "kv_dtype": "fp8",
          "precision": ["fp8", "int8"], "input": 2000, "disaggregated": true, "context": 8192,
          "compare": true, "as_of": "2025-06-01", "workload": "", "tp": null})json");
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  const Json got = *parse_json(answer->json);
  EXPECT_EQ(got, output_of("compare deepseek-v3 --chips H800,910B4 --slo tpot=50ms,ttft=2s "
                           "--rate 20 --max-chips 128 --mtp 1 --kv-dtype fp8 --input 2000 "
                           "--precision fp8,int8 --disaggregated --context 8192 "
                           "--as-of 2025-06-01 --json"));
  ASSERT_EQ(got["options"].size() + got["rejected"].size(), 2u) << got.dump(1);
  ASSERT_GE(got["options"].size(), 1u) << got.dump(1);
  EXPECT_EQ(got["rules"]["as_of"], "2025-06-01");
  EXPECT_EQ(got["rules"]["positions"].size(), got["options"].size());
  ASSERT_EQ(got["chips"].size(), got["options"].size());  // compared, so one option each
  EXPECT_EQ(got["chips"][0]["name"], got["options"][0]["chip"]);
  EXPECT_FALSE(got["chips"][0]["memory_gb"]["source"].get<std::string>().empty());
  EXPECT_LE(got["rules"]["events"].back()["date"].get<std::string>(), "2025-06-01");
  EXPECT_THAT(got["note"].get<std::string>(), HasSubstr("no legal advice"));
}

// What plots show of an option lies on its frontier, and its memory adds up.
TEST(PlanRequest, FrontiersPassThroughTheirOptions) {
  const auto answer = planned(R"({"model": "qwen3-32b", "chips": "A100,H20", "slo": "tpot=40ms"})");
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  const Json got = *parse_json(answer->json);
  ASSERT_GE(got["options"].size(), 2u);
  for (const Json& option : got["options"]) {
    double speed = 0, last_batch = 0, last_user = HUGE_VAL;
    for (const Json& point : option["frontier"]) {
      EXPECT_GT(point["batch"].get<double>(), last_batch);
      EXPECT_LE(point["tokens_s_per_user"].get<double>(), last_user);
      last_batch = point["batch"].get<double>();
      last_user = point["tokens_s_per_user"].get<double>();
      if (point["batch"] == option["batch"]) speed = point["tokens_s_per_chip"].get<double>();
    }
    EXPECT_NEAR(speed, option["tokens_s_per_chip"].get<double>(), 1e-9 * speed);
    const Json& memory = option["memory_bytes"];
    EXPECT_GT(memory["kv_in_use"].get<double>(), 0);
    EXPECT_LE(memory["kv_in_use"].get<double>(), memory["free_for_kv"].get<double>());
  }
}

TEST(PlanRequest, ErrorsNameTheField) {
  struct Case {
    const char* body;
    const char* param;
    const char* message;
  };
  for (const Case& c : {
           Case{"", "", "body"},
           Case{"[]", "", "object"},
           Case{"{}", "model", "required"},
           Case{R"({"model": ""})", "model", "required"},
           Case{R"({"model": 7})", "model", "not known"},
           Case{R"({"model": {}})", "model", "expected"},
           Case{R"({"model": "deepseek-v33"})", "model", "deepseek-v3"},
           Case{R"({"model": "/etc/passwd"})", "model", "not known"},
           Case{R"({"model": "../data/shapes/kimi-k2.json"})", "model", "not known"},
           Case{R"({"model": "qwen3-8b", "chips": "/etc/x.json"})", "chips", "no file"},
           Case{R"({"model": "qwen3-8b", "chips": "H2O"})", "chips", "H20"},
           Case{R"({"model": "qwen3-8b", "chips": ["A100", "H2O"]})", "chips[1]", "H20"},
           Case{R"({"model": "qwen3-8b", "chips": [1]})", "chips[0]", "a string"},
           Case{R"({"model": "qwen3-8b", "chips_file": "x"})", "chips_file", "no such field"},
           Case{R"({"model": "qwen3-8b", "html": "/tmp/x"})", "html", "no such field"},
           Case{R"({"model": "qwen3-8b", "rates": 3})", "rates", "did you mean"},
           Case{R"({"model": "qwen3-8b", "rate": -1})", "rate",
                "expected 0 to 1000000000, found -1"},
           Case{R"({"model": "qwen3-8b", "rate": 1e300})", "rate", "expected 0 to"},
           Case{R"({"model": "qwen3-8b", "rate": "nan"})", "rate", "nan"},
           Case{R"({"model": "qwen3-8b", "rate": true})", "rate", "boolean"},
           Case{R"({"model": "qwen3-8b", "accepted": "inf", "mtp": 2})", "accepted", "inf"},
           Case{R"({"model": "qwen3-8b", "accepted": 3, "mtp": 2})", "accepted", "3"},
           Case{R"({"model": "qwen3-8b", "max_chips": 0})", "max_chips", "1 to 65536, found 0"},
           Case{R"({"model": "qwen3-8b", "max_chips": 1.5})", "max_chips", "1.5"},
           Case{R"({"model": "qwen3-8b", "max_chips": 99999999999999999999})", "max_chips",
                "1 to 65536"},
           Case{R"({"model": "qwen3-8b", "slo": "tpot=fast"})", "slo", "time"},
           Case{R"({"model": "qwen3-8b", "slo": "50ms"})", "slo", "tpot="},
           Case{R"({"model": "qwen3-8b", "workload": "chatt"})", "workload", "chat"},
           Case{R"({"model": "qwen3-8b", "precision": "fp7"})", "precision", "fp7"},
           Case{R"({"model": "qwen3-8b", "precision": "file"})", "precision", "not on disk"},
           Case{R"({"model": "qwen3-8b", "kv_dtype": "fp7"})", "kv_dtype", "fp7"},
           Case{R"({"model": "qwen3-8b", "as_of": "yesterday"})", "as_of", "YYYY-MM-DD"},
           Case{R"({"model": "qwen3-8b", "stack": "other"})", "stack", "general"},
           Case{R"({"model": "qwen3-8b", "disaggregated": "yes"})", "disaggregated", "boolean"},
           Case{R"({"model": "qwen3-8b", "help": true})", "help", "no such field"},
           Case{R"({"model": "a\nb"})", "model", R"("a\x0ab")"},
           Case{R"({"model": "qwen3-8b", "a\nb": 1})", R"(a\x0ab)", "no such field"},
           Case{R"({"model": "qwen3-8b", "max_chips": "a\nb"})", "max_chips", ""},
           Case{R"({"model": "qwen3-8b", "slo": "tpot=a\nb"})", "slo", R"("a\x0ab")"},
           Case{R"({"model": "qwen3-8b", "stack": "a\nb"})", "stack", ""},
       }) {
    const auto answer = planned(c.body);
    ASSERT_FALSE(answer.ok()) << c.body;
    EXPECT_EQ(answer.error().status, 400) << c.body;
    EXPECT_EQ(answer.error().param, c.param) << c.body << ": " << answer.error().message;
    EXPECT_THAT(answer.error().message, HasSubstr(c.message)) << c.body;
    EXPECT_LT(answer.error().message.size(), 600u) << c.body;
    EXPECT_TRUE(is_one_line(answer.error().message)) << c.body << ": " << answer.error().message;
  }
}

// Within the ranges, whatever they are: an answer or a refusal, and never a number that is none.
TEST(PlanRequest, ExtremesThatAreAllowed) {
  for (const char* more : {
           R"("rate": 1e9)",
           R"("rate": 1e-9)",
           R"("input": 1e9, "output": 1e9)",
           R"("input": 1e-9, "output": 1e-9)",
           R"("context": 16777216)",
           R"("batch": 1048576)",
           R"("count": 65536)",
           R"("count": 7)",
           R"("tp": 1048576)",
           R"("pp": 1048576)",
           R"("ep": 3)",
           R"("mtp": 16)",
           R"("cached": 0.999)",
           R"("cached": -1)",
           R"("years": 0.1, "usd_per_kwh": 10, "utilisation": 0.01)",
           R"("slo": "tpot=1us,ttft=1us")",
           R"("as_of": "2000-01-01")",
           R"("rate": 1e9, "disaggregated": true, "max_chips": 65536)",
       }) {
    for (const char* model : {"qwen3-8b", "deepseek-v3", "deepseek-v4-pro"}) {
      const std::string body = fmt::format(
          R"({{"model": "{}", "chips": ["H800 SXM 80GB", "Ascend 910D"], "precision": "fp8", {}}})",
          model, more);
      const auto answer = planned(body);
      ASSERT_TRUE(answer.ok()) << body << answer.error().message;
      const Json got = *parse_json(answer->json);
      EXPECT_GE(got["rejected"].size(), 1u) << body;  // the memory of 910D is not known
      for (const Json& option : got["options"]) {
        EXPECT_TRUE(option["tpot_s"].is_number()) << body;
        EXPECT_GE(option["chips"].get<int64_t>(), 1) << body;
      }
    }
  }
}

// Bytes that changed on their way: an answer or a refusal with a message, nothing else.
TEST(PlanRequest, BodiesWithWrongBytes) {
  const std::string good =
      R"({"model":"qwen3-0.6b","chips":["A100"],"slo":"tpot=9ms","rate":1.5,"mtp":1,"tp":null})";
  ASSERT_TRUE(planned(good).ok());
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string body = good;
    for (uint32_t changes = 1 + random() % 3; changes > 0; --changes) {
      body[random() % body.size()] =
          static_cast<char>(random() % 3 == 0 ? random() : "{}[]\",:0-e"[random() % 11]);
    }
    const auto answer = planned(body);
    if (answer.ok()) continue;
    ++refused;
    EXPECT_EQ(answer.error().status, 400) << body;
    EXPECT_FALSE(answer.error().message.empty()) << body;
  }
  EXPECT_GT(refused, 2000);
  EXPECT_LT(refused, 3000);
}

TEST(PlanRequest, StopsWhenAsked) {
  int asked = 0;
  const auto answer = answer_plan_request(R"({"model": "deepseek-v3", "max_chips": 65536})",
                                          [&asked] { return ++asked > 3; });
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().status, 503);
  EXPECT_EQ(asked, 4);
}

TEST(PlanRequest, CatalogueNamesWhatARequestMayUse) {
  const auto answer = plan_catalogue();
  ASSERT_TRUE(answer.ok());
  const Json got = *parse_json(answer->json);
  EXPECT_GE(got["chips"].size(), 40u);
  EXPECT_GE(got["models"].size(), 20u);
  for (const Json& model : got["models"]) {
    EXPECT_GT(model["parameters"].get<double>(), 1e8) << model;
    EXPECT_LE(model["active_parameters"].get<double>(), model["parameters"].get<double>());
  }
  for (const Json& workload : got["workloads"]) {
    const auto name = workload["name"].get<std::string>();
    EXPECT_TRUE(planned(R"({"model": "qwen3-8b", "workload": ")" + name + "\"}").ok()) << name;
  }
  // A field at its default changes nothing.
  Json request = {{"model", "qwen3-8b"}, {"chips", "A100,H20"}};
  const auto plain = planned(request.dump());
  for (const Json& field : got["fields"]) {
    const auto name = field["name"].get<std::string>();
    EXPECT_FALSE(field["help"].get<std::string>().empty()) << name;
    if (!request.contains(name)) request[name] = field["default"];
  }
  const auto defaults = planned(request.dump());
  ASSERT_TRUE(defaults.ok()) << defaults.error().message << request.dump(1);
  EXPECT_EQ(plain->json, defaults->json);
}

}  // namespace
}  // namespace ferry::cmd
