// The embedded page: every file unpacks, the page names only files that are there and nothing from
// elsewhere, and the headers forbid what they should.
#include "server/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <set>

namespace ferry::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Page, FilesUnpack) {
  std::set<std::string> tags;
  ASSERT_FALSE(page_files().empty());
  for (const PageFile& file : page_files()) {
    EXPECT_EQ(find_page_file(file.path), &file);
    EXPECT_GT(file.plain().size(), 100u) << file.path;
    EXPECT_EQ(file.etag.size(), 18u);
    EXPECT_TRUE(tags.insert(file.etag).second) << file.path;
  }
  EXPECT_THAT(find_page_file("/")->plain(), StartsWith("<!doctype html>"));
  EXPECT_THAT(find_page_file("/page.js")->content_type, StartsWith("text/javascript"));
  EXPECT_THAT(find_page_file("/licenses.txt")->plain(), HasSubstr("preact"));
}

TEST(Page, UnknownPathsAreNoFiles) {
  for (const char* path : {"", "/index.html", "/page.js/", "/../page.js", "//", "/PAGE.JS"}) {
    EXPECT_EQ(find_page_file(path), nullptr) << path;
  }
}

TEST(Page, NamesOnlyWhatIsThere) {
  const std::string html = find_page_file("/")->plain();
  const std::regex reference("(?:src|href)=\"([^\"]*)\"");
  int count = 0;
  for (std::sregex_iterator i(html.begin(), html.end(), reference), end; i != end; ++i, ++count) {
    EXPECT_NE(find_page_file("/" + (*i)[1].str()), nullptr) << (*i)[1];
  }
  EXPECT_EQ(count, 3);
  EXPECT_THAT(html, Not(HasSubstr("<script>")));  // the policy would not run it
  EXPECT_THAT(find_page_file("/page.css")->plain(), Not(HasSubstr("url(")));
  EXPECT_THAT(find_page_file("/page.css")->plain(), Not(HasSubstr("@import")));
}

TEST(Page, ReportHoldsItsPlanAndNothingFromElsewhere) {
  const std::string html = plan_report(R"({"model":"</script><script>alert(1)</script>"})");
  EXPECT_THAT(html, StartsWith("<!doctype html>"));
  EXPECT_THAT(html, HasSubstr(R"(id="plan">{"model":"\u003c/script>\u003cscript>alert(1))"));
  EXPECT_THAT(html, HasSubstr("content=\"default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(html, Not(HasSubstr("unsafe")));
  EXPECT_THAT(html, Not(HasSubstr(" src=")));
  EXPECT_THAT(html, Not(HasSubstr(" href=")));
  EXPECT_THAT(html, Not(HasSubstr("@import")));
}

TEST(Page, HeadersForbidEverythingElse) {
  std::string policy;
  for (const auto& [name, value] : page_headers()) {
    if (name == "Content-Security-Policy") policy = value;
  }
  EXPECT_THAT(policy, StartsWith("default-src 'none'"));
  EXPECT_THAT(policy, HasSubstr("connect-src 'self'"));
  EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
}

}  // namespace
}  // namespace ferry::server
