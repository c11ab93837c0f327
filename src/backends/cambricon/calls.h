// Calls: the primitives of device/composed by operations of CNNL, one queue and one handle. Each
// method is one vendor call with its descriptors and workspace.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "backends/cambricon/device.h"
#include "device/composed/primitives.h"

namespace ferry::cambricon {

using composed::Activation;
using composed::BinaryOp;
using composed::Primitive;

class Calls : public composed::Primitives {
 public:
  static Result<std::unique_ptr<Primitives>> create(std::shared_ptr<Device> device);
  ~Calls() override;

  std::string_view symbol_of(Primitive primitive) const override;
  void* native_queue() override { return queue_; }

  void copy_in(void* device_dst, const void* host_src, int64_t bytes) override;
  void copy_out(void* host_dst, const void* device_src, int64_t bytes) override;
  void fill_zero(void* device_dst, int64_t bytes) override;
  std::shared_ptr<const void> record() override;
  void wait(const void* event) override;

  void copy(const TensorView& x, const TensorView& out) override;
  void cast(const TensorView& x, const TensorView& out) override;
  void binary(BinaryOp operation, const TensorView& a, const TensorView& b,
              const TensorView& out) override;
  void affine(const TensorView& x, float factor, float offset, const TensorView& out) override;
  void activation(Activation mode, const TensorView& x, const TensorView& out) override;
  void softmax(const TensorView& x, const TensorView& out) override;
  void matmul(const TensorView& a, const TensorView& b, const TensorView& c, float factor) override;
  void select_rows(const TensorView& table, const TensorView& index,
                   const TensorView& out) override;
  void write_rows(const TensorView& rows, const TensorView& index,
                  const TensorView& table) override;
  void top_k(const TensorView& x, int64_t k, const TensorView& values,
             const TensorView& indices) override;
  void gather(const TensorView& x, const TensorView& index, const TensorView& out) override;
  void scatter(const TensorView& values, const TensorView& index, const TensorView& x) override;
  void divide(const TensorView& a, const TensorView& b, const TensorView& out) override;
  void rms_norm(const TensorView& x, const TensorView& weight, float epsilon,
                const TensorView* residual, const TensorView* sum, const TensorView& out) override;
  void layer_norm(const TensorView& x, const TensorView& weight, const TensorView& bias,
                  float epsilon, const TensorView& out) override;

 protected:
  Status bind() override { return device_->bind(); }
  void wait_queue() override;

 private:
  // A tensor descriptor for the length of a call; they are used again.
  class Desc {
   public:
    Desc(Calls& calls, const TensorView& x);
    ~Desc() {
      if (desc_ != nullptr) calls_.free_descs_.push_back(desc_);
    }
    Desc(const Desc&) = delete;
    Desc& operator=(const Desc&) = delete;
    operator TensorDesc() const { return desc_; }  // NOLINT: that is what it is for

   private:
    Calls& calls_;
    TensorDesc desc_ = nullptr;
  };

  explicit Calls(std::shared_ptr<Device> device)
      : Primitives(device->pool(), device), device_(std::move(device)) {}
  const Vendor& vendor() const { return device_->vendor(); }
  void check_cnrt(const char* call, int status);
  void check_cnnl(const char* call, int status);
  Status open();

  std::shared_ptr<Device> device_;
  Queue queue_ = nullptr;
  Handle handle_ = nullptr;
  OpDesc matmul_ = nullptr, algo_ = nullptr, heuristic_ = nullptr;
  OpDesc op_tensor_ = nullptr, activation_ = nullptr, norm_ = nullptr;
  std::vector<TensorDesc> free_descs_;
};

}  // namespace ferry::cambricon
