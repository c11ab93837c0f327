// See block_keys.h.
#include "engine/block_keys.h"

#include <bit>
#include <random>

namespace ferry::engine {
namespace {

class SipState {
 public:
  explicit SipState(const BlockSecret& secret)
      : v0_(secret[0] ^ 0x736f6d6570736575u),
        v1_(secret[1] ^ 0x646f72616e646f6du ^ 0xee),
        v2_(secret[0] ^ 0x6c7967656e657261u),
        v3_(secret[1] ^ 0x7465646279746573u) {}

  void add(uint64_t word) {
    v3_ ^= word;
    rounds(2);
    v0_ ^= word;
  }

  BlockKey finish() {
    v2_ ^= 0xee;
    rounds(4);
    const uint64_t low = v0_ ^ v1_ ^ v2_ ^ v3_;
    v1_ ^= 0xdd;
    rounds(4);
    return {low, v0_ ^ v1_ ^ v2_ ^ v3_};
  }

 private:
  void rounds(int count) {
    for (int i = 0; i < count; ++i) {
      v0_ += v1_;
      v1_ = std::rotl(v1_, 13) ^ v0_;
      v0_ = std::rotl(v0_, 32);
      v2_ += v3_;
      v3_ = std::rotl(v3_, 16) ^ v2_;
      v0_ += v3_;
      v3_ = std::rotl(v3_, 21) ^ v0_;
      v2_ += v1_;
      v1_ = std::rotl(v1_, 17) ^ v2_;
      v2_ = std::rotl(v2_, 32);
    }
  }

  uint64_t v0_, v1_, v2_, v3_;
};

void append(std::vector<uint8_t>& bytes, uint64_t value, int num_bytes) {
  for (int i = 0; i < num_bytes; ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

}  // namespace

BlockSecret random_block_secret() {
  std::random_device device;
  const auto word = [&device] { return (static_cast<uint64_t>(device()) << 32) | device(); };
  const uint64_t first = word();
  return {first, word()};
}

BlockKey keyed_hash(const BlockSecret& secret, std::span<const uint8_t> bytes) {
  SipState state(secret);
  const size_t whole = bytes.size() / 8 * 8;
  for (size_t at = 0; at < whole; at += 8) {
    uint64_t word = 0;
    for (size_t i = 0; i < 8; ++i) word |= static_cast<uint64_t>(bytes[at + i]) << (8 * i);
    state.add(word);
  }
  uint64_t last = static_cast<uint64_t>(bytes.size() & 0xFF) << 56;
  for (size_t at = whole; at < bytes.size(); ++at) {
    last |= static_cast<uint64_t>(bytes[at]) << (8 * (at - whole));
  }
  state.add(last);
  return state.finish();
}

std::vector<BlockKey> block_keys(const BlockSecret& secret, std::string_view scope,
                                 std::span<const int32_t> tokens, int64_t block_size) {
  const auto size = static_cast<size_t>(block_size);
  BlockKey before =
      keyed_hash(secret, {reinterpret_cast<const uint8_t*>(scope.data()), scope.size()});
  std::vector<BlockKey> keys;
  keys.reserve(tokens.size() / size);
  std::vector<uint8_t> bytes;
  for (size_t begin = 0; begin + size <= tokens.size(); begin += size) {
    bytes.clear();
    append(bytes, before.low, 8);
    append(bytes, before.high, 8);
    for (const int32_t token : tokens.subspan(begin, size)) {
      append(bytes, static_cast<uint32_t>(token), 4);
    }
    before = keyed_hash(secret, bytes);
    keys.push_back(before);
  }
  return keys;
}

}  // namespace ferry::engine
