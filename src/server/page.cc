// See page.h.
#include "server/page.h"

#include <zlib.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/check.h"

// From page_files.S.
#define FERRY_PAGE_FILE(name)                \
  extern "C" const char ferry_page_##name[]; \
  extern "C" const char ferry_page_##name##_end[]
FERRY_PAGE_FILE(index);
FERRY_PAGE_FILE(script);
FERRY_PAGE_FILE(style);
FERRY_PAGE_FILE(icon);
FERRY_PAGE_FILE(licenses);
FERRY_PAGE_FILE(report);

namespace ferry::server {
namespace {

// FNV-1a, 64 bits, in hex and quotes: two builds of the page never share one by chance.
std::string etag_of(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  std::string tag = "\"";
  for (int shift = 60; shift >= 0; shift -= 4) tag += "0123456789abcdef"[(hash >> shift) & 15];
  return tag + "\"";
}

PageFile file(std::string_view path, std::string_view type, const char* begin, const char* end) {
  const std::string_view bytes(begin, static_cast<size_t>(end - begin));
  return {.path = path, .content_type = type, .etag = etag_of(bytes), .gzipped = bytes};
}

const std::vector<PageFile>& files() {
  static const std::vector<PageFile> all = {
      file("/", "text/html; charset=utf-8", ferry_page_index, ferry_page_index_end),
      file("/page.js", "text/javascript; charset=utf-8", ferry_page_script, ferry_page_script_end),
      file("/page.css", "text/css; charset=utf-8", ferry_page_style, ferry_page_style_end),
      file("/favicon.svg", "image/svg+xml", ferry_page_icon, ferry_page_icon_end),
      file("/licenses.txt", "text/plain; charset=utf-8", ferry_page_licenses,
           ferry_page_licenses_end),
  };
  return all;
}

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kHeaders = {{
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
     "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-cache"},
    {"Vary", "Accept-Encoding"},
}};

}  // namespace

std::string PageFile::plain() const {
  // The last four bytes of a gzip file are the size of what is in it (RFC 1952).
  uint32_t size = 0;
  for (size_t i = 0; i < 4; ++i) {
    const auto byte = static_cast<unsigned char>(gzipped[gzipped.size() - 4 + i]);
    size |= static_cast<uint32_t>(byte) << (8 * i);
  }
  std::string text(size, '\0');
  z_stream stream = {};
  CHECK(inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(gzipped.data()));
  stream.avail_in = static_cast<uInt>(gzipped.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  const int result = inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  CHECK(result == Z_STREAM_END && stream.avail_out == 0);  // the build wrote it
  return text;
}

std::string plan_report(std::string_view json) {
  constexpr std::string_view kPlace = R"(<script type="application/json" id="plan">)";
  std::string page =
      file("", "text/html; charset=utf-8", ferry_page_report, ferry_page_report_end).plain();
  const size_t at = page.find(kPlace);
  CHECK(at != std::string::npos);
  std::string data;
  for (const char c : json) {  // no text of the JSON may end the script
    data += c == '<' ? std::string("\\u003c") : std::string(1, c);
  }
  return page.insert(at + kPlace.size(), data);
}

std::span<const PageFile> page_files() { return files(); }

const PageFile* find_page_file(std::string_view path) {
  for (const PageFile& candidate : files()) {
    if (candidate.path == path) return &candidate;
  }
  return nullptr;
}

std::span<const std::pair<std::string_view, std::string_view>> page_headers() { return kHeaders; }

}  // namespace ferry::server
