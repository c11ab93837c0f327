// See http.h.
#include "cmd/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>

#include "base/check.h"

namespace ferry::cmd {
namespace {

constexpr int kMaxRedirects = 10;
constexpr long kHubConnectTimeout_s = 30;
constexpr long kStalledTimeout_s = 60;  // without a byte for so long, the connection counts as dead
constexpr long kBufferBytes = 256 << 10;

struct CurlFree {
  void operator()(char* text) const { curl_free(text); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// What the callbacks of one transfer share.
struct Transfer {
  CURL* handle = nullptr;
  const HttpSettings* settings = nullptr;
  const HttpSink* sink = nullptr;
  HttpResponse response;
};

std::string_view trim_header(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  return text;
}

size_t on_header(char* data, size_t size, size_t count, void* context) {
  HttpResponse& response = static_cast<Transfer*>(context)->response;
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {  // also after a "100 Continue"
    response.link.clear();
    response.content_range.clear();
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  const std::string name = lower(line.substr(0, colon));
  if (name == "link") response.link = trim_header(line.substr(colon + 1));
  if (name == "content-range") response.content_range = trim_header(line.substr(colon + 1));
  return line.size();
}

void read_status(Transfer& transfer) {
  long status = 0;
  curl_off_t length = -1;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(transfer.handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  curl_easy_getinfo(transfer.handle, CURLINFO_RETRY_AFTER, &retry_after);
  transfer.response.status = static_cast<int>(status);
  transfer.response.content_length = length;
  transfer.response.retry_after_s = retry_after;
}

size_t on_data(char* data, size_t size, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  read_status(transfer);
  const size_t bytes = size * count;
  if (transfer.response.status / 100 != 2) return bytes;  // the text of an error page
  const Status status =
      (*transfer.sink)(transfer.response, std::span(reinterpret_cast<const uint8_t*>(data), bytes));
  if (status.ok()) return bytes;
  transfer.response.refused = status.error();
  return 0;
}

int on_progress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& transfer = *static_cast<Transfer*>(context);
  return transfer.settings->stop && transfer.settings->stop() ? 1 : 0;
}

bool is_permanent(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_TOO_MANY_REDIRECTS: return true;
    default: return false;
  }
}

void set_options(CURL* handle, const std::string& url, int64_t offset, Transfer* transfer) {
  curl_easy_reset(handle);
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "ferry/" FERRY_VERSION);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, kHubConnectTimeout_s);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, kStalledTimeout_s);
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, transfer);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, transfer);
  if (offset > 0) {
    curl_easy_setopt(handle, CURLOPT_RANGE, (std::to_string(offset) + "-").c_str());
  }
}

HttpResponse cannot_follow(HttpResponse response, std::string why) {
  response.failure = std::move(why);
  response.permanent = true;
  return response;
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string origin_of(const std::string& url) {
  const std::unique_ptr<CURLU, CurlFree> parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return "";
  std::string parts[3];
  const CURLUPart wanted[3] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
  for (int i = 0; i < 3; ++i) {
    char* text = nullptr;
    if (curl_url_get(parsed.get(), wanted[i], &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return "";
    parts[i] = lower(std::unique_ptr<char, CurlFree>(text).get());
  }
  if (parts[0] != "http" && parts[0] != "https") return "";
  return parts[0] + "://" + parts[1] + ":" + parts[2];
}

std::string percent_encode(std::string_view text, bool keep_slash) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && std::isalnum(byte) != 0;
    if (plain || c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

HttpClient::HttpClient(HttpSettings settings)
    : settings_(std::move(settings)), token_origin_(origin_of(settings_.origin)) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK(initialised == CURLE_OK);
  handle_ = curl_easy_init();
  CHECK(handle_ != nullptr);
}

HttpClient::~HttpClient() { curl_easy_cleanup(handle_); }

HttpResponse HttpClient::get_once(const std::string& url, int64_t offset, const HttpSink& sink,
                                  std::string* redirect) {
  Transfer transfer{handle_, &settings_, &sink, {}};
  set_options(handle_, url, offset, &transfer);
  std::unique_ptr<curl_slist, CurlFree> headers;
  if (!settings_.token.empty() && !token_origin_.empty() && origin_of(url) == token_origin_) {
    headers.reset(curl_slist_append(nullptr, ("Authorization: Bearer " + settings_.token).c_str()));
    curl_easy_setopt(handle_, CURLOPT_HTTPHEADER, headers.get());
  }
  char message[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, message);
  const CURLcode code = curl_easy_perform(handle_);
  read_status(transfer);
  HttpResponse response = std::move(transfer.response);
  if (code != CURLE_OK) {
    response.failure = message[0] != '\0' ? message : curl_easy_strerror(code);
    response.permanent = is_permanent(code);
    response.stopped = code == CURLE_ABORTED_BY_CALLBACK;
  }
  const char* target = nullptr;
  curl_easy_getinfo(handle_, CURLINFO_REDIRECT_URL, &target);
  if (response.status / 100 == 3 && target != nullptr) *redirect = target;
  curl_easy_setopt(handle_, CURLOPT_ERRORBUFFER, nullptr);
  curl_easy_setopt(handle_, CURLOPT_HTTPHEADER, nullptr);
  return response;
}

HttpResponse HttpClient::get(const std::string& url, int64_t offset, const HttpSink& sink) {
  std::string here = url;
  for (int hop = 0;; ++hop) {
    std::string target;
    HttpResponse response = get_once(here, offset, sink, &target);
    if (!response.failure.empty() || target.empty()) return response;
    const std::string origin = origin_of(target);
    if (origin.empty()) return cannot_follow(response, "redirected to what is no http address");
    if (origin.starts_with("http:") && origin_of(here).starts_with("https:")) {
      return cannot_follow(response, "redirected from https to " + origin + ", which is refused");
    }
    if (hop >= kMaxRedirects) return cannot_follow(response, "redirected too often");
    here = target;
  }
}

}  // namespace ferry::cmd
