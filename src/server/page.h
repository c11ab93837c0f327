// The web page as files of the binary: chat, live dashboard and planner, built from web/ (see
// web/build.mjs) and embedded gzipped by page_files.S. Everything a response needs is here; the
// page itself asks for no API key, what it calls does. The planner's report comes from the same
// sources.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ferry::server {

struct PageFile {
  std::string_view path;          // "/page.js"
  std::string_view content_type;  // "text/javascript; charset=utf-8"
  std::string etag;               // quoted, of the contents
  std::string_view gzipped;       // the body with Content-Encoding: gzip

  // The body for a client that does not accept gzip.
  std::string plain() const;
};

// nullptr: no such file. REQUIRES: a path without query
const PageFile* find_page_file(std::string_view path);
// All of them, "/" first.
std::span<const PageFile> page_files();

// One file that shows a plan, given as the JSON text that POST /plan answers, by the code of the
// page: nothing comes from elsewhere or goes there.
std::string plan_report(std::string_view json);

// Headers of every file: nothing may come from elsewhere or go there, no frame may hold the page,
// and a browser asks (by ETag) whether it has changed.
std::span<const std::pair<std::string_view, std::string_view>> page_headers();

}  // namespace ferry::server
