// One NVIDIA device: see device.h.
#include "backends/cuda/device.h"

#include <algorithm>
#include <vector>

#include "quant/codebook_bytes.h"

extern "C" {
extern const char ferry_cuda_image[];
extern const char ferry_cuda_image_end[];
}

namespace ferry::cuda {
namespace {

constexpr int kOldestMajor = 8;  // A100

Status bind_context(const Driver& driver, Context context) {
  const int status = driver.cuCtxSetCurrent(context);
  if (status != kSuccess) return driver_error(driver, "cuCtxSetCurrent", status);
  return {};
}

bool has_kernels() { return &ferry_cuda_image_end[0] > &ferry_cuda_image[0]; }

class CudaMemory : public RawMemory {
 public:
  CudaMemory(std::shared_ptr<const Driver> driver, Context context)
      : driver_(std::move(driver)), context_(context) {}

  Result<void*> take(int64_t bytes) override {
    FERRY_TRY_VOID(bind_context(*driver_, context_));
    DeviceAddress address = 0;
    const int status = driver_->cuMemAlloc_v2(&address, static_cast<size_t>(bytes));
    if (status != kSuccess) return driver_error(*driver_, "cuMemAlloc_v2", status);
    return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
  }
  // Neither can report anything: buffers go when they go.
  void give_back(void* data) override {
    if (bind_context(*driver_, context_).ok()) driver_->cuMemFree_v2(address_of(data));
  }
  void wait_idle() override {
    if (bind_context(*driver_, context_).ok()) driver_->cuCtxSynchronize();
  }
  Result<MemoryInfo> info() override {
    FERRY_TRY_VOID(bind_context(*driver_, context_));
    size_t free = 0, total = 0;
    const int status = driver_->cuMemGetInfo_v2(&free, &total);
    if (status != kSuccess) return driver_error(*driver_, "cuMemGetInfo_v2", status);
    return MemoryInfo{.total_bytes = static_cast<int64_t>(total),
                      .free_bytes = static_cast<int64_t>(free)};
  }

 private:
  std::shared_ptr<const Driver> driver_;
  const Context context_;
};

Result<int> device_count(const Driver& driver) {
  int count = 0;
  const int status = driver.cuDeviceGetCount(&count);
  if (status != kSuccess) return driver_error(driver, "cuDeviceGetCount", status);
  if (count == 0) return driver_error(driver, "cuDeviceGetCount", kNoDevice);
  return count;
}

// The codebooks, one behind the other, and the kinds of weights that have words of each.
struct WordsOfKind {
  WeightKind first, last;
  const int8_t* const* bytes;
  int64_t count;
};
constexpr WordsOfKind kWords[] = {
    {kWeightIQ1S, kWeightIQ1M, &quant::kIq1Bytes, 2048 * 8},
    {kWeightIQ2XXS, kWeightIQ2XXS, &quant::kIq2XxsBytes, 256 * 8},
    {kWeightIQ2XS, kWeightIQ2XS, &quant::kIq2XsBytes, 512 * 8},
    {kWeightIQ2S, kWeightIQ2S, &quant::kIq2SBytes, 1024 * 8},
    {kWeightIQ3XXS, kWeightIQ3XXS, &quant::kIq3XxsBytes, 256 * 4},
    {kWeightIQ3S, kWeightIQ3S, &quant::kIq3SBytes, 512 * 4},
};

}  // namespace

Result<std::shared_ptr<Device>> Device::open(int ordinal) {
  FERRY_TRY(auto driver, load_driver());
  FERRY_TRY(const int count, device_count(*driver));
  if (ordinal < 0 || ordinal >= count) {
    return not_found("cuda: device {}: there are {}, counted from 0", ordinal, count);
  }
  int index = 0;
  int status = driver->cuDeviceGet(&index, ordinal);
  if (status != kSuccess) return driver_error(*driver, "cuDeviceGet", status);
  std::shared_ptr<Device> device(new Device(driver, index));
  FERRY_TRY_VOID(device->describe());
  status = driver->cuDevicePrimaryCtxRetain(&device->context_, index);
  if (status != kSuccess) return driver_error(*driver, "cuDevicePrimaryCtxRetain", status);
  FERRY_TRY_VOID(device->bind());
  auto memory = std::make_unique<CudaMemory>(driver, device->context_);
  FERRY_TRY(const MemoryInfo info, memory->info());
  device->total_bytes_ = info.total_bytes;
  device->pool_ = std::make_shared<MemoryPool>("cuda", std::move(memory));
  FERRY_TRY_VOID(device->load_kernels());
  FERRY_TRY_VOID(device->load_words());
  device->find_products();
  return device;
}

// The pool gives its memory back before the context goes; whoever holds memory holds the device.
Device::~Device() {
  const bool bound = context_ != nullptr && bind().ok();
  products_.reset();
  words_ = {};
  pool_.reset();
  if (module_ != nullptr && bound) driver_->cuModuleUnload(module_);
  if (context_ != nullptr) driver_->cuDevicePrimaryCtxRelease_v2(device_);
}

Status Device::bind() const { return bind_context(*driver_, context_); }

Status Device::describe() {
  char name[256] = {};
  int status = driver_->cuDeviceGetName(name, sizeof name - 1, device_);
  if (status != kSuccess) return driver_error(*driver_, "cuDeviceGetName", status);
  name_ = name;
  int major = 0, minor = 0;
  const std::pair<int*, int> attributes[] = {{&major, kAttributeMajor},
                                             {&minor, kAttributeMinor},
                                             {&multiprocessors_, kAttributeMultiprocessors}};
  for (const auto& [value, attribute] : attributes) {
    status = driver_->cuDeviceGetAttribute(value, attribute, device_);
    if (status != kSuccess) return driver_error(*driver_, "cuDeviceGetAttribute", status);
  }
  architecture_ = fmt::format("sm_{}{}", major, minor);
  if (major >= kOldestMajor) return {};
  return unsupported("cuda: {} is {}, ferry's kernels are for sm_{}0 and newer", name_,
                     architecture_, kOldestMajor);
}

Status Device::load_words() {
  std::vector<int8_t> all;
  for (const WordsOfKind& words : kWords) {
    all.insert(all.end(), *words.bytes, *words.bytes + words.count);
  }
  const auto bytes = static_cast<int64_t>(all.size());
  FERRY_TRY(words_, pool_->allocate(bytes, nullptr));
  return send(words_.data, all.data(), bytes);
}

const int8_t* Device::words(WeightKind kind) const {
  const auto* at = static_cast<const int8_t*>(words_.data);
  for (const WordsOfKind& words : kWords) {
    if (words.first <= kind && kind <= words.last) return at;
    at += words.count;
  }
  return nullptr;
}

// Without it there are kernels for everything.
void Device::find_products() {
  const auto library = load_cublaslt(driver_->version, &why_no_products_);
  if (library == nullptr) return;
  auto products = LtProducts::open(library);
  if (products.ok()) {
    products_ = std::move(products).value();
  } else {
    why_no_products_ = products.error().message;
  }
}

Status Device::load_kernels() {
  if (!has_kernels()) {
    return unsupported(
        "cuda: this ferry was built without kernels, as there was no nvcc; build it with "
        "-DFERRY_CUDA=ON");
  }
  int status = driver_->cuModuleLoadData(&module_, ferry_cuda_image);
  if (status != kSuccess) return driver_error(*driver_, "cuModuleLoadData", status);
#define FERRY_CUDA_NAME(name) "ferry_" #name,
  const char* const names[] = {FERRY_CUDA_KERNELS(FERRY_CUDA_NAME)};
#undef FERRY_CUDA_NAME
  for (size_t i = 0; i < functions_.size(); ++i) {
    status = driver_->cuModuleGetFunction(&functions_[i], module_, names[i]);
    if (status != kSuccess) {
      return driver_error(*driver_, fmt::format("cuModuleGetFunction {}", names[i]), status);
    }
  }
  return {};
}

Result<Buffer> Device::allocate_host(int64_t bytes, std::shared_ptr<const void> owner) const {
  FERRY_TRY_VOID(bind());
  void* data = nullptr;
  const int status =
      driver_->cuMemHostAlloc(&data, static_cast<size_t>(std::max<int64_t>(bytes, 1)), kPortable);
  if (status == kOutOfMemory) {
    return out_of_memory("cuda: {} bytes of pinned host memory were refused", bytes);
  }
  if (status != kSuccess) return driver_error(*driver_, "cuMemHostAlloc", status);
  const Context context = context_;
  std::shared_ptr<void> memory(
      data, [driver = driver_, context, owner = std::move(owner)](void* address) {
        if (bind_context(*driver, context).ok()) driver->cuMemFreeHost(address);
      });
  return Buffer{.owner = std::move(memory), .data = data, .bytes = bytes};
}

Status Device::send(void* dst, const void* src, int64_t bytes) const {
  if (bytes == 0) return {};
  FERRY_TRY_VOID(bind());
  int status = driver_->cuMemcpyHtoD_v2(address_of(dst), src, static_cast<size_t>(bytes));
  if (status != kSuccess) return driver_error(*driver_, "cuMemcpyHtoD_v2", status);
  // The copy returns when the source is read; streams that don't wait for the default one could
  // still be early.
  status = driver_->cuStreamSynchronize(nullptr);
  if (status != kSuccess) return driver_error(*driver_, "cuStreamSynchronize", status);
  return {};
}

int count_devices(std::string* why) {
  const auto driver = load_driver();
  if (!driver.ok()) {
    *why = driver.error().message;
    return 0;
  }
  if (!has_kernels()) {
    *why = "cuda: this ferry was built without kernels, as there was no nvcc";
    return 0;
  }
  const auto count = device_count(**driver);
  if (!count.ok()) *why = count.error().message;
  return count.ok() ? *count : 0;
}

}  // namespace ferry::cuda
