// Every primitive, tried on a few numbers when a device is opened. A release of the vendor's
// libraries that ferry doesn't know, or a constant that is not what it was taken for, would not
// fail: it would give garbage. A wrong operation that nothing can do without is an error that names
// it; one with a fall-back is no longer used.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "device/composed/primitives.h"
#include "device/composed/stream.h"

namespace ferry::composed {

// What the chip's products are like.
struct Precision {
  Dtype narrow = Dtype::kBF16;  // the other dtype of stored weights, f16 or bf16
  bool exact_f32 = true;        // whether products of f32 are made in f32
  bool wide_result = true;      // whether those of the narrow dtype can have an f32 result
};

using CreatePrimitives = std::function<Result<std::unique_ptr<Primitives>>()>;

// Takes out of `paths` what gives wrong results. `backend` and `release` of its libraries are for
// messages. Errors: kDevice.
Status check_primitives(const CreatePrimitives& create, std::string_view backend,
                        std::string_view release, const Precision& precision, ComposedPaths& paths);

}  // namespace ferry::composed
