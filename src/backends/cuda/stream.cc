// The queue itself: copies, events, errors, launches. See stream.h; the ops are in ops_*.cc.
#include "backends/cuda/stream.h"

#include <cstring>
#include <limits>

namespace ferry::cuda {
namespace {

constexpr int64_t kMostGridX = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostGridYz = 65535;

// An event that destroys itself; keeps its device alive.
struct RecordedEvent {
  std::shared_ptr<Device> device;
  DriverEvent event = nullptr;
  ~RecordedEvent() {
    if (event != nullptr && device->bind().ok()) device->driver().cuEventDestroy_v2(event);
  }
};

}  // namespace

Result<std::unique_ptr<Stream>> CudaStream::create(std::shared_ptr<Device> device,
                                                   bool f32_products) {
  FERRY_TRY_VOID(device->bind());
  std::unique_ptr<CudaStream> stream(new CudaStream(std::move(device), f32_products));
  const Driver& driver = stream->device_->driver();
  const int status = driver.cuStreamCreate(&stream->stream_, kNonBlocking);
  if (status != kSuccess) return driver_error(driver, "cuStreamCreate", status);
  return std::unique_ptr<Stream>(std::move(stream));
}

CudaStream::~CudaStream() {
  if (stream_ == nullptr || !device_->bind().ok()) return;  // nothing of it can be reached
  device_->driver().cuStreamSynchronize(stream_);
  for (const StepGraphs::Step& step : graphs_.steps()) {
    if (step.graph != nullptr) device_->driver().cuGraphExecDestroy(step.graph);
  }
  device_->driver().cuStreamDestroy_v2(stream_);
}

bool CudaStream::begin(std::string_view op) {
  if (!status_.ok()) return false;
  op_ = op;
  const Status bound = device_->bind();
  if (!bound.ok()) fail(bound.error());
  return status_.ok();
}

bool CudaStream::begin_between(std::string_view op) {
  if (begin(op) && graphs_.is_open()) make(graphs_.interrupt());
  return status_.ok();
}

void CudaStream::fail(const Error& error) {
  if (status_.ok()) status_ = error.in(op_);
}

void CudaStream::check(const char* call, int status) {
  if (status != kSuccess) fail(driver_error(device_->driver(), call, status));
}

void CudaStream::launch_with(Kernel kernel, const Grid& grid, int threads, std::string params) {
  if (!status_.ok() || grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (grid.x > kMostGridX || grid.y > kMostGridYz || grid.z > kMostGridYz) {
    return fail(unsupported("cuda: {} x {} x {} blocks are more than a launch takes", grid.x,
                            grid.y, grid.z));
  }
  Launch launch{.kernel = kernel,
                .grid = {static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                         static_cast<unsigned>(grid.z)},
                .threads = static_cast<unsigned>(threads),
                .params = std::move(params)};
  queue(std::move(launch));
}

void CudaStream::queue(Launch launch) {
  make(graphs_.is_open() ? graphs_.add(std::move(launch)) : StepGraphs::ToLaunch(&launch, 1));
}

void CudaStream::make(StepGraphs::ToLaunch launches) {
  for (const Launch& launch : launches) {
    if (!status_.ok()) return;
    if (launch.kernel == kLibraryProduct) {
      LtProduct product;
      std::memcpy(&product, launch.params.data(), sizeof product);
      const Status made = device_->products()->make(product, stream_);
      if (!made.ok()) fail(made.error());
      continue;
    }
    void* pointers[] = {const_cast<char*>(launch.params.data())};
    check("cuLaunchKernel",
          device_->driver().cuLaunchKernel(device_->function(launch.kernel), launch.grid[0],
                                           launch.grid[1], launch.grid[2], launch.threads, 1, 1, 0,
                                           stream_, pointers, nullptr));
  }
}

void CudaStream::begin_step() {
  if (begin("begin_step")) graphs_.begin();
}

void CudaStream::end_step() {
  if (!graphs_.is_open()) return;
  StepGraphs::Step* step = graphs_.end();
  if (step == nullptr) {
    make(graphs_.held_back());
    const GraphExec forgotten = graphs_.remember();
    if (forgotten == nullptr) return;
    check("cuStreamSynchronize", device_->driver().cuStreamSynchronize(stream_));
    device_->driver().cuGraphExecDestroy(forgotten);
    return;
  }
  if (!status_.ok()) return;
  if (step->graph == nullptr && !step->refused) {
    step->graph = graph_of(step->launches);
    step->refused = step->graph == nullptr;
  }
  if (step->graph == nullptr) return make(step->launches);
  check("cuGraphLaunch", device_->driver().cuGraphLaunch(step->graph, stream_));
}

GraphExec CudaStream::graph_of(StepGraphs::ToLaunch launches) {
  const Driver& driver = device_->driver();
  if (driver.cuStreamBeginCapture_v2(stream_, kCaptureThreadLocal) != kSuccess) return nullptr;
  make(launches);
  Graph graph = nullptr;
  GraphExec exec = nullptr;
  if (driver.cuStreamEndCapture(stream_, &graph) != kSuccess) return nullptr;
  // What isn't whole, as a launch of it failed, is none.
  const bool whole = status_.ok();
  if (!whole || driver.cuGraphInstantiateWithFlags(&exec, graph, 0) != kSuccess) exec = nullptr;
  driver.cuGraphDestroy(graph);
  return exec;
}

void CudaStream::copy_in(void* dst, const void* src, int64_t bytes) {
  if (bytes == 0 || !begin_between("copy_in")) return;
  check("cuMemcpyHtoDAsync_v2", device_->driver().cuMemcpyHtoDAsync_v2(
                                    address_of(dst), src, static_cast<size_t>(bytes), stream_));
}

void CudaStream::copy_out(void* dst, const void* src, int64_t bytes) {
  if (bytes == 0 || !begin_between("copy_out")) return;
  check("cuMemcpyDtoHAsync_v2", device_->driver().cuMemcpyDtoHAsync_v2(
                                    dst, address_of(src), static_cast<size_t>(bytes), stream_));
}

void CudaStream::fill_zero(void* dst, int64_t bytes) {
  if (bytes == 0 || !begin_between("fill_zero")) return;
  check("cuMemsetD8Async",
        device_->driver().cuMemsetD8Async(address_of(dst), 0, static_cast<size_t>(bytes), stream_));
}

Event CudaStream::record() {
  auto recorded = std::make_shared<RecordedEvent>();
  recorded->device = device_;
  if (!begin_between("record")) return {.state = recorded};
  check("cuEventCreate", device_->driver().cuEventCreate(&recorded->event, kDisableTiming));
  if (status_.ok()) {
    check("cuEventRecord", device_->driver().cuEventRecord(recorded->event, stream_));
  }
  return {.state = recorded};
}

void CudaStream::wait(const Event& event) {
  CHECK(event.state != nullptr);
  const auto& recorded = *static_cast<const RecordedEvent*>(event.state.get());
  if (recorded.event == nullptr || !begin_between("wait")) return;
  check("cuStreamWaitEvent", device_->driver().cuStreamWaitEvent(stream_, recorded.event, 0));
}

Status CudaStream::synchronize() {
  const Status bound = device_->bind();
  if (!bound.ok()) fail(bound.error());
  if (!bound.ok()) return status_;
  if (graphs_.is_open()) make(graphs_.interrupt());
  // What a kernel did wrong comes out here; the op that was queued last may not be the one.
  if (status_.ok()) op_ = "synchronize";
  check("cuStreamSynchronize", device_->driver().cuStreamSynchronize(stream_));
  return status_;
}

Status CudaStream::reserve_scratch(int64_t bytes) {
  if (bytes <= scratch_.bytes) return {};
  FERRY_TRY_VOID(device_->bind());
  FERRY_TRY(scratch_, device_->pool().allocate(bytes, device_));
  return {};
}

float* CudaStream::scratch(int64_t floats) {
  const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
  if (bytes > scratch_.bytes) {
    if (graphs_.is_open()) make(graphs_.interrupt());
    scratch_ = {};  // the pool waits before it gives the memory to anyone else
    auto larger = device_->pool().allocate(bytes, device_);
    if (!larger.ok()) {
      fail(larger.error());
      return nullptr;
    }
    scratch_ = std::move(larger).value();
  }
  return static_cast<float*>(scratch_.data);
}

}  // namespace ferry::cuda
