// BlockKey of a prompt's full blocks: a keyed hash over the tokens of the block and the key before
// it, so that equal keys mean equal beginnings. It starts with the scope that a request is in: what
// one scope has computed is never found by another.
//
//   SipHash-2-4 with 128 bits (Aumasson, Bernstein 2012) under a secret of this process: who does
//   not know it can't make two prompts meet.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/kv_pages.h"

namespace ferry::engine {

using BlockSecret = std::array<uint64_t, 2>;

BlockSecret random_block_secret();

// SipHash-2-4-128 of `bytes`.
BlockKey keyed_hash(const BlockSecret& secret, std::span<const uint8_t> bytes);

// One key per full block. REQUIRES: block_size > 0
std::vector<BlockKey> block_keys(const BlockSecret& secret, std::string_view scope,
                                 std::span<const int32_t> tokens, int64_t block_size);

}  // namespace ferry::engine
