// Bytes of a client in pieces of any size: the parser must come to the same end as with all of them
// at once, and never ask for what it already has.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/check_message.h"
#include "server/http/request_parser.h"
#include "server/http/routes.h"

namespace ferry::server {
namespace {

struct Outcome {
  RequestParser::State state = RequestParser::State::kHead;
  std::string target;
  std::string body;
};

Outcome parse(std::string_view bytes, size_t piece) {
  RequestParser parser;
  std::string waiting;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    waiting += bytes.substr(at, piece);
    while (!waiting.empty()) {
      const size_t used = parser.put(waiting);
      CHECK(used <= waiting.size());
      waiting.erase(0, used);
      const bool over = parser.state() == RequestParser::State::kDone ||
                        parser.state() == RequestParser::State::kBad;
      if (over) {
        if (parser.state() == RequestParser::State::kBad) check_message(parser.error());
        Outcome outcome{parser.state(), parser.head().target, {}};
        if (parser.state() == RequestParser::State::kDone) outcome.body = parser.take_body();
        return outcome;
      }
      if (used == 0) break;
    }
  }
  return {parser.state(), parser.head().target, {}};
}

}  // namespace
}  // namespace ferry::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry::server;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const Outcome whole = parse(bytes, bytes.size() + 1);
  const Outcome pieces = parse(bytes, 1 + data[0] % 16);
  const bool both_done =
      whole.state == RequestParser::State::kDone && pieces.state == RequestParser::State::kDone;
  if (both_done) CHECK(whole.body == pieces.body && whole.target == pieces.target);
  find_route(whole.target);
  return 0;
}
