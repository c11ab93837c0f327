// Both joining algorithms against a plain one, on random vocabularies; long pieces.
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace ferry::text {
namespace {

struct Model {
  std::map<std::pair<int32_t, int32_t>, MergeTable::Merge> merges;
  std::array<int32_t, 256> byte_ids;
  int32_t num_ids = 256;

  Bpe build() const {
    MergeTable table(merges.size());
    for (const auto& [pair, merge] : merges) table.insert(pair.first, pair.second, merge);
    return Bpe(byte_ids, std::move(table));
  }
};

// Random merges over the letters a–c and what they join to, in random order of rank.
Model random_model(std::mt19937& random, int num_merges) {
  Model model;
  for (int byte = 0; byte < 256; ++byte) model.byte_ids[byte] = byte;
  std::vector<int32_t> ids = {'a', 'b', 'c'};
  std::vector<int32_t> ranks(num_merges);
  for (int i = 0; i < num_merges; ++i) ranks[i] = i;
  std::shuffle(ranks.begin(), ranks.end(), random);
  for (int i = 0; i < num_merges; ++i) {
    const int32_t left = ids[random() % ids.size()];
    const int32_t right = ids[random() % ids.size()];
    const bool is_new =
        model.merges.emplace(std::pair(left, right), MergeTable::Merge{ranks[i], model.num_ids})
            .second;
    if (is_new) ids.push_back(model.num_ids++);
  }
  return model;
}

std::vector<int32_t> plain_encode(const Model& model, const std::string& piece) {
  std::vector<int32_t> ids(piece.begin(), piece.end());
  for (;;) {
    const MergeTable::Merge* best = nullptr;
    size_t best_at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      auto it = model.merges.find({ids[i], ids[i + 1]});
      if (it == model.merges.end()) continue;
      if (best == nullptr || it->second.rank < best->rank) {
        best = &it->second;
        best_at = i;
      }
    }
    if (best == nullptr) return ids;
    ids[best_at] = best->joined;
    ids.erase(ids.begin() + best_at + 1);
  }
}

TEST(Bpe, AgreesWithThePlainAlgorithm) {
  std::mt19937 random(7);
  BpeScratch scratch;
  for (int round = 0; round < 200; ++round) {
    const Model model = random_model(random, 1 + round % 60);
    const Bpe bpe = model.build();
    for (int length : {0, 1, 2, 3, 17, 48, 49, 120, 300}) {
      std::string piece;
      for (int i = 0; i < length; ++i) piece += static_cast<char>('a' + random() % 3);
      std::vector<int32_t> ids;
      bpe.encode(piece, scratch, ids);
      ASSERT_EQ(ids, plain_encode(model, piece)) << piece;
    }
  }
}

TEST(Bpe, AMillionBytesInOnePiece) {
  Model model;
  for (int byte = 0; byte < 256; ++byte) model.byte_ids[byte] = byte;
  int32_t id = 'a';
  for (int32_t rank = 0; rank < 10; ++rank) {
    model.merges[{id, id}] = {rank, model.num_ids};
    id = model.num_ids++;
  }
  std::vector<int32_t> ids;
  BpeScratch scratch;
  model.build().encode(std::string(1 << 20, 'a'), scratch, ids);
  EXPECT_EQ(ids, std::vector<int32_t>(1 << 10, id));
}

TEST(Bpe, WholeWordsComeBeforeMerges) {
  Model model;
  for (int byte = 0; byte < 256; ++byte) model.byte_ids[byte] = byte;
  Bpe bpe = model.build();
  bpe.set_whole_words({{"ab", 300}});
  std::vector<int32_t> ids;
  BpeScratch scratch;
  bpe.encode("ab", scratch, ids);
  bpe.encode("abc", scratch, ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{300, 'a', 'b', 'c'}));
}

}  // namespace
}  // namespace ferry::text
