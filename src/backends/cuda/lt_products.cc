// Products by cuBLASLt: see lt_products.h.
#include "backends/cuda/lt_products.h"

namespace ferry::cuda {
namespace {

// Prompts of every length make shapes of their own. When there are so many, all are forgotten.
constexpr size_t kMostPlans = 4096;

// Of a pointer that is aligned so and no more: what the library is asked about is not followed.
const void* pointer_aligned_to(int64_t bytes) {
  return reinterpret_cast<const void*>(static_cast<uintptr_t>(bytes));
}

std::string text_of(const LtShape& shape) {
  return fmt::format("{} [{} x {}] by {} tokens{}", shape.type == kLtBF16 ? "bf16" : "f32",
                     shape.rows, shape.cols, shape.tokens, shape.has_bias != 0 ? ", bias" : "");
}

Error lt_error(std::string_view call, const LtShape& shape, int status) {
  return device_error("cuda: {} of {}: {}", call, text_of(shape), lt_status_name(status));
}

}  // namespace

// The library's descriptors of a shape, and the algorithm it named. All are let go with the plan.
struct LtProducts::Plan {
  explicit Plan(std::shared_ptr<const CublasLt> of) : library(std::move(of)) {}
  ~Plan() {
    for (LtLayout layout : {w, x, out}) {
      if (layout != nullptr) library->cublasLtMatrixLayoutDestroy(layout);
    }
    if (operation != nullptr) library->cublasLtMatmulDescDestroy(operation);
    if (preference != nullptr) library->cublasLtMatmulPreferenceDestroy(preference);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  std::shared_ptr<const CublasLt> library;
  LtOperation operation = nullptr;
  LtLayout w = nullptr, x = nullptr, out = nullptr;
  LtPreference preference = nullptr;
  bool found = false;
  LtAlgorithm algorithm{};
};

LtProducts::LtProducts(std::shared_ptr<const CublasLt> library) : library_(std::move(library)) {}

LtProducts::~LtProducts() {
  plans_.clear();
  if (handle_ != nullptr) library_->cublasLtDestroy(handle_);
}

Result<std::unique_ptr<LtProducts>> LtProducts::open(std::shared_ptr<const CublasLt> library) {
  std::unique_ptr<LtProducts> products(new LtProducts(std::move(library)));
  const int status = products->library_->cublasLtCreate(&products->handle_);
  if (status != kLtSuccess) {
    products->handle_ = nullptr;
    return device_error("cublasLtCreate of {}: {}", products->name(), lt_status_name(status));
  }
  return products;
}

Result<std::unique_ptr<LtProducts::Plan>> LtProducts::ask(const LtShape& shape) {
  const CublasLt& lt = *library_;
  auto plan = std::make_unique<Plan>(library_);
  const char* call = nullptr;
  int status = kLtSuccess;
  // The first call that fails is the last.
  const auto check = [&](const char* name, const auto& make) {
    if (status != kLtSuccess) return;
    call = name;
    status = make();
  };
  const auto layout = [&](LtLayout* of, int type, int64_t rows, int64_t columns, int64_t stride) {
    check("cublasLtMatrixLayoutCreate", [&] {
      return lt.cublasLtMatrixLayoutCreate(of, type, static_cast<uint64_t>(rows),
                                           static_cast<uint64_t>(columns), stride);
    });
  };
  const auto set = [&](int attribute, const auto& value) {
    check("cublasLtMatmulDescSetAttribute", [&] {
      return lt.cublasLtMatmulDescSetAttribute(plan->operation, attribute, &value, sizeof value);
    });
  };
  const auto prefer = [&](int attribute, const auto& value) {
    check("cublasLtMatmulPreferenceSetAttribute", [&] {
      return lt.cublasLtMatmulPreferenceSetAttribute(plan->preference, attribute, &value,
                                                     sizeof value);
    });
  };
  layout(&plan->w, shape.type, shape.cols, shape.rows, shape.w_stride);
  layout(&plan->x, shape.type, shape.cols, shape.tokens, shape.x_stride);
  layout(&plan->out, kLtF32, shape.rows, shape.tokens, shape.out_stride);
  check("cublasLtMatmulDescCreate",
        [&] { return lt.cublasLtMatmulDescCreate(&plan->operation, kLtCompute32F, kLtF32); });
  set(kLtOperationTransA, int32_t{kLtTranspose});
  if (shape.has_bias != 0) {
    set(kLtOperationEpilogue, kLtEpilogueBias);
    set(kLtOperationBiasPointer, pointer_aligned_to(kLtAlignment));
  }
  check("cublasLtMatmulPreferenceCreate",
        [&] { return lt.cublasLtMatmulPreferenceCreate(&plan->preference); });
  prefer(kLtPreferenceWorkspaceBytes, static_cast<uint64_t>(kLtWorkspaceBytes));
  for (const int attribute : {kLtPreferenceAlignmentA, kLtPreferenceAlignmentB,
                              kLtPreferenceAlignmentC, kLtPreferenceAlignmentD}) {
    prefer(attribute, static_cast<uint32_t>(kLtAlignment));
  }
  LtHeuristic best{};
  int found = 0;
  check("cublasLtMatmulAlgoGetHeuristic", [&] {
    const int said =
        lt.cublasLtMatmulAlgoGetHeuristic(handle_, plan->operation, plan->w, plan->x, plan->out,
                                          plan->out, plan->preference, 1, &best, &found);
    if (said != kLtNotSupported) return said;
    found = 0;
    return kLtSuccess;
  });
  if (status != kLtSuccess) return lt_error(call, shape, status);
  plan->found = found == 1 && best.state == kLtSuccess &&
                best.workspace_bytes <= static_cast<size_t>(kLtWorkspaceBytes);
  plan->algorithm = best.algorithm;
  return plan;
}

Result<const LtProducts::Plan*> LtProducts::plan_of(const LtShape& shape) {
  auto known = plans_.find(shape);
  if (known == plans_.end()) {
    FERRY_TRY(auto plan, ask(shape));
    if (plans_.size() >= kMostPlans) plans_.clear();
    known = plans_.emplace(shape, std::move(plan)).first;
  }
  return known->second.get();
}

Result<bool> LtProducts::can_make(const LtShape& shape) {
  const std::lock_guard lock(mutex_);
  FERRY_TRY(const Plan* plan, plan_of(shape));
  return plan->found;
}

// The library copies what it needs of the descriptors before it returns, and so does a capture.
Status LtProducts::make(const LtProduct& product, DriverStream stream) {
  const std::lock_guard lock(mutex_);
  FERRY_TRY(const Plan* plan, plan_of(product.shape));
  if (!plan->found) {
    return device_error("cuda: cuBLASLt has no algorithm any more for {}", text_of(product.shape));
  }
  if (product.bias != nullptr) {
    const int status = library_->cublasLtMatmulDescSetAttribute(
        plan->operation, kLtOperationBiasPointer, &product.bias, sizeof product.bias);
    if (status != kLtSuccess) {
      return lt_error("cublasLtMatmulDescSetAttribute", product.shape, status);
    }
  }
  const float one = 1, zero = 0;
  const int status = library_->cublasLtMatmul(
      handle_, plan->operation, &one, product.w, plan->w, product.x, plan->x, &zero, product.out,
      plan->out, product.out, plan->out, &plan->algorithm, product.workspace,
      static_cast<size_t>(kLtWorkspaceBytes), stream);
  if (status != kLtSuccess) return lt_error("cublasLtMatmul", product.shape, status);
  return {};
}

}  // namespace ferry::cuda
