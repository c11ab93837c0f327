// Unicode normal forms for tokenizers that ask for one (Qwen: NFC). The decomposition and
// composition data are utf8proc's; the reordering of marks is ours, because a stable sort stays
// fast on a hostile run of a million combining marks.
#pragma once

#include <string>
#include <string_view>

namespace ferry::text {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// REQUIRES: `text` is valid UTF-8
std::string normalize(std::string_view text, NormalForm form);

}  // namespace ferry::text
