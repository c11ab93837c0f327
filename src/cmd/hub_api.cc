// See hub_api.h.
#include "cmd/hub_api.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <optional>
#include <set>
#include <thread>

#include "base/json.h"
#include "base/quote_name.h"
#include "cmd/command.h"
#include "disk/hub_cache.h"

namespace ferry::cmd {
namespace {

constexpr size_t kMaxPageBytes = 64 << 20;
constexpr int kMaxPages = 1000;
constexpr size_t kMaxFiles = 200'000;
constexpr double kFirstWait_s = 0.5;
constexpr double kLongestWait_s = 30;
constexpr int64_t kLongestAskedWait_s = 300;  // a server that asks for more gets no answer today
constexpr size_t kMaxPathBytes = 1024;
constexpr size_t kMaxPartBytes = 255;

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

bool is_set(std::string value) {
  for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

bool is_transient(const HttpResponse& response) {
  if (response.permanent || response.refused) return false;
  return !response.failure.empty() || response.status == 408 || response.status == 429 ||
         response.status / 100 == 5;
}

// One entry of a tree page; nullopt for what is no file.
Result<std::optional<HubFile>> read_entry(const Json& entry) {
  if (!entry.is_object()) {
    return invalid_input("expected an object, found {}", json_type_name(entry));
  }
  FERRY_TRY(const std::string type, json_string(entry, "type"));
  HubFile file;
  FERRY_TRY(file.path, json_string(entry, "path"));
  if (!is_safe_path(file.path)) {
    return invalid_input("the file name {} is refused: it could leave the model's folder",
                         quote_name(file.path));
  }
  if (type != "file") return std::optional<HubFile>();
  const std::string name = quote_name(file.path);
  FERRY_TRY(file.bytes, json_int(entry, "size"));
  FERRY_TRY(file.hash, json_string(entry, "oid"));
  if (const Json* lfs = json_find(entry, "lfs"); lfs != nullptr) {
    if (!lfs->is_object()) return invalid_input("{}: \"lfs\" is {}", name, json_type_name(*lfs));
    FERRY_TRY(file.hash, json_string(*lfs, "oid"));
    FERRY_TRY(file.bytes, json_int(*lfs, "size"));
    file.kind = HashKind::kSha256;
  }
  if (file.bytes < 0) return invalid_input("{}: a size of {} bytes", name, file.bytes);
  if (!is_hex(file.hash, file.kind == HashKind::kSha256 ? 64 : 40)) {
    return invalid_input("{}: {} is no {}", name, quote_name(file.hash), hash_name(file.kind));
  }
  return std::optional<HubFile>(file);
}

// The address in `<https://…>; rel="next"`; "" when there is none.
std::string next_page(std::string_view link) {
  while (!link.empty()) {
    const size_t open = link.find('<');
    const size_t close = link.find('>', open == std::string_view::npos ? 0 : open);
    if (open == std::string_view::npos || close == std::string_view::npos) return "";
    const std::string_view rest = link.substr(close + 1);
    const std::string_view parameters = rest.substr(0, rest.find('<'));
    if (parameters.find("rel=\"next\"") != std::string_view::npos ||
        parameters.find("rel=next") != std::string_view::npos) {
      return std::string(link.substr(open + 1, close - open - 1));
    }
    link = rest;
  }
  return "";
}

}  // namespace

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes || has_control(path) || !is_utf8(path)) {
    return false;
  }
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == ".." || part.size() > kMaxPartBytes) return false;
    at = end + 1;
  }
  return true;
}

Error stopped_error() {
  return {ErrorKind::kCancelled,
          "stopped; what was fetched is kept, the same command goes on from there"};
}

Result<HubSettings> HubSettings::from_environment() {
  if (is_set(disk::environment("HF_HUB_OFFLINE"))) {
    return unsupported("HF_HUB_OFFLINE is set: nothing is fetched");
  }
  HubSettings settings;
  settings.endpoint = disk::environment("HF_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  if (has_control(settings.endpoint) || origin_of(settings.endpoint).empty()) {
    return invalid_input("HF_ENDPOINT: {} is no http or https address",
                         quote_name(settings.endpoint));
  }
  settings.http.origin = settings.endpoint;
  settings.http.token = disk::environment("HF_TOKEN");
  if (has_control(settings.http.token)) {
    return invalid_input("HF_TOKEN: holds a line break or another control character");
  }
  return settings;
}

Error Attempts::give_up(const HttpResponse& response) const {
  const bool with_token = !settings_.http.token.empty();
  if (response.refused) return *response.refused;
  if (response.failure.empty()) {
    switch (response.status) {
      case 401:
      case 403:
        return invalid_input(
            "{}: the hub refuses it ({}): {}", what_, response.status,
            with_token ? "there is no such model, or HF_TOKEN may not read it (a gated model's "
                         "terms are accepted on its web page)"
                       : "there is no such model, or it is private or gated: set HF_TOKEN to a "
                         "token that may read it");
      case 404: return not_found("{}: the hub has no such model, revision or file (404)", what_);
      default:
        return io_error("{}: the hub answers {}{}", what_, response.status,
                        failed_ > 0 ? fmt::format(", {} times", failed_ + 1) : "");
    }
  }
  return io_error("{}: {}{}", what_, response.failure,
                  failed_ > 0 ? fmt::format(", {} times", failed_ + 1) : "");
}

Status Attempts::wait(double seconds) const {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    if (settings_.http.stop && settings_.http.stop()) return stopped_error();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return {};
}

Status Attempts::again(const HttpResponse& response) {
  if (response.stopped) return stopped_error();
  if (!is_transient(response) || failed_ >= settings_.retries) return give_up(response);
  if (response.retry_after_s > kLongestAskedWait_s) {
    return io_error("{}: the hub answers {} and asks to come back in {} s", what_, response.status,
                    response.retry_after_s);
  }
  double seconds = std::min(kLongestWait_s, kFirstWait_s * static_cast<double>(1 << failed_));
  if (response.retry_after_s > 0) seconds = static_cast<double>(response.retry_after_s);
  ++failed_;
  const std::string why =
      response.failure.empty() ? fmt::format("answer {}", response.status) : response.failure;
  std::fprintf(stderr, "%s%s: %s; again in %g s\n", use_color(STDERR_FILENO) ? "\r\033[K" : "",
               what_.c_str(), why.c_str(), seconds);
  return wait(seconds);
}

Result<Hub::Page> Hub::get(const std::string& url, const std::string& what) {
  Attempts attempts(settings_, what);
  for (;;) {
    std::string text;
    const HttpResponse response =
        client_.get(url, 0, [&](const HttpResponse&, std::span<const uint8_t> bytes) -> Status {
          if (text.size() + bytes.size() > kMaxPageBytes) {
            return invalid_input("{}: an answer of more than {} bytes", what, kMaxPageBytes);
          }
          text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
          return {};
        });
    if (response.complete(200)) return Page{std::move(text), response.link};
    FERRY_TRY_VOID(attempts.again(response));
  }
}

Result<std::string> Hub::commit(const std::string& revision) {
  const std::string what = revision == "main" ? repo_ : repo_ + "@" + revision;
  FERRY_TRY(const Page page, get(fmt::format("{}/api/models/{}/revision/{}", settings_.endpoint,
                                             repo_, percent_encode(revision, false)),
                                 what));
  const Result<std::string> sha = [&]() -> Result<std::string> {
    FERRY_TRY(const Json answer, parse_json(page.text));
    if (!answer.is_object()) return invalid_input("not an object");
    return json_string(answer, "sha");
  }();
  if (!sha.ok()) return io_error("{}: the hub's answer: {}", what, sha.error().message);
  if (!is_hex(*sha, 40)) {
    return io_error("{}: the hub's answer: {} is no commit", what, quote_name(*sha));
  }
  return *sha;
}

Result<std::vector<HubFile>> Hub::files(const std::string& commit) {
  std::vector<HubFile> files;
  std::set<std::string> seen;
  std::string url =
      fmt::format("{}/api/models/{}/tree/{}?recursive=true", settings_.endpoint, repo_, commit);
  const std::string what = repo_ + ": the list of files";
  for (int page_number = 0; !url.empty(); ++page_number) {
    if (page_number >= kMaxPages) return io_error("{}: more than {} pages", what, kMaxPages);
    FERRY_TRY(const Page page, get(url, what));
    auto parsed = parse_json(page.text);
    if (!parsed.ok()) return io_error("{}: {}", what, parsed.error().message);
    if (!parsed->is_array()) return io_error("{}: {}", what, json_type_name(*parsed));
    for (const Json& entry : *parsed) {
      auto file = read_entry(entry);
      if (!file.ok()) return file.error().in(what);
      if (!file->has_value()) continue;
      if (!seen.insert((*file)->path).second) {
        return invalid_input("{}: {} is there twice", what, quote_name((*file)->path));
      }
      files.push_back(**file);
      if (files.size() > kMaxFiles) return io_error("{}: more than {}", what, kMaxFiles);
    }
    url = next_page(page.link);
  }
  return files;
}

std::string Hub::file_url(const HubSettings& settings, const std::string& repo,
                          const std::string& commit, const std::string& path) {
  return fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, repo, commit,
                     percent_encode(path, true));
}

}  // namespace ferry::cmd
