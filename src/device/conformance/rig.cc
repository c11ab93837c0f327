// Rig: see rig.h.
#include "device/conformance/rig.h"

#include <array>
#include <cstring>

#include "base/half.h"
#include "device/int8_rows.h"

namespace ferry {
namespace {

constexpr uint8_t kPattern = 0xAB;  // as f32: a tiny negative number; as an index: out of range

int64_t offset_of(const TensorView& view, int64_t index) {
  int64_t offset = 0;
  for (int dim = view.rank - 1; dim >= 0; --dim) {
    offset += index % view.shape[dim] * view.stride[dim];
    index /= view.shape[dim];
  }
  return offset;
}

void store_as(Dtype dtype, float value, uint8_t* dst) {
  const uint16_t half = dtype == Dtype::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
  if (dtype == Dtype::kF32) {
    std::memcpy(dst, &value, sizeof value);
  } else {
    std::memcpy(dst, &half, sizeof half);
  }
}

float load_as(Dtype dtype, const uint8_t* src) {
  float value;
  uint16_t half;
  if (dtype == Dtype::kF32) {
    std::memcpy(&value, src, sizeof value);
    return value;
  }
  std::memcpy(&half, src, sizeof half);
  return dtype == Dtype::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
}

}  // namespace

Rig::Rig(Backend& backend) : backend_(backend) {
  auto stream = backend.create_stream();
  if (stream.ok()) {
    stream_ = std::move(stream).value();
  } else {
    status_ = std::move(stream).error();
  }
}

void Rig::fail(const Error& error) {
  if (status_.ok()) status_ = error;
}

char* Rig::allocate(int64_t bytes) {
  auto buffer = backend_.allocate(bytes);
  if (!buffer.ok()) {
    fail(buffer.error());
    return nullptr;
  }
  buffers_.push_back(std::move(buffer).value());
  return static_cast<char*>(buffers_.back().data);
}

Rig::Piece& Rig::make_piece(Dtype dtype, std::initializer_list<int64_t> dims, Padding padding) {
  auto piece = std::make_unique<Piece>();
  TensorView& view = piece->view;
  view = TensorView::contiguous(nullptr, dtype, dims);
  if (view.rank == 1) padding.pad = 0;
  int64_t step = 1;
  for (int dim = view.rank - 1; dim >= 0; --dim) {
    view.stride[dim] = step;
    step *= view.shape[dim];
    if (dim == view.rank - 1 || dim == 0) step += padding.pad;
  }
  const int64_t bytes = (padding.lead + step + padding.pad) * dtype_bytes(dtype);
  piece->before.assign(static_cast<size_t>(bytes), kPattern);
  piece->base = allocate(bytes);
  view.data = piece->base + padding.lead * dtype_bytes(dtype);
  pieces_.push_back(std::move(piece));
  return *pieces_.back();
}

TensorView Rig::send(Piece& piece) {
  if (status_.ok()) {
    stream_->copy_in(piece.base, piece.before.data(), static_cast<int64_t>(piece.before.size()));
  }
  return piece.view;
}

TensorView Rig::upload(std::span<const float> values, Dtype dtype,
                       std::initializer_list<int64_t> dims, Padding padding) {
  Piece& piece = make_piece(dtype, dims, padding);
  CHECK(static_cast<int64_t>(values.size()) == piece.view.num_elements());
  const int64_t size = dtype_bytes(dtype);
  uint8_t* first = piece.before.data() + padding.lead * size;
  for (int64_t i = 0; i < piece.view.num_elements(); ++i) {
    store_as(dtype, values[i], first + offset_of(piece.view, i) * size);
  }
  return send(piece);
}

TensorView Rig::upload(std::span<const float> values, std::initializer_list<int64_t> dims,
                       Padding padding) {
  return upload(values, Dtype::kF32, dims, padding);
}

TensorView Rig::upload(std::span<const int32_t> values, std::initializer_list<int64_t> dims) {
  Piece& piece = make_piece(Dtype::kI32, dims, {});
  CHECK(static_cast<int64_t>(values.size()) == piece.view.num_elements());
  if (!values.empty()) std::memcpy(piece.before.data(), values.data(), values.size_bytes());
  return send(piece);
}

TensorView Rig::upload_pages(std::span<const float> values, Dtype dtype,
                             std::initializer_list<int64_t> dims, int64_t group) {
  if (dtype != Dtype::kI8) return upload(values, dtype, dims);
  const auto [num_pages, block_size, width] =
      std::array{dims.begin()[0], dims.begin()[1], dims.begin()[2]};
  const int64_t page_bytes = int8_page_bytes(block_size, width, group);
  Piece& piece = make_piece(Dtype::kI8, {num_pages, page_bytes}, {});
  const TensorView host = int8_pages(piece.before.data(), num_pages, block_size, width, group);
  for (int64_t slot = 0; slot < num_pages * block_size; ++slot) {
    int8_write_row(host, slot, group, values.data() + slot * width);
  }
  piece.view = int8_pages(piece.base, num_pages, block_size, width, group);
  return send(piece);
}

IndexView Rig::index(std::span<const int32_t> values) {
  return {.host = values, .device = upload(values, {static_cast<int64_t>(values.size())})};
}

TensorView Rig::output(Dtype dtype, std::initializer_list<int64_t> dims, Padding padding) {
  return send(make_piece(dtype, dims, padding));
}

WeightView Rig::import(const std::shared_ptr<const WeightData>& data, bool by_head) {
  auto weight = backend_.import_weight({.format = data->format,
                                        .data = data->bytes,
                                        .rows = data->rows,
                                        .cols = data->cols,
                                        .scale = data->scale,
                                        .scale_rows = data->scale_rows,
                                        .scale_cols = data->scale_cols,
                                        .by_head = by_head,
                                        .keep_alive = data});
  if (!weight.ok()) {
    fail(weight.error());
    return {.format = data->format, .rows = data->rows, .cols = data->cols};
  }
  weights_.push_back(std::move(weight).value());
  return weights_.back().view;
}

Workspace Rig::workspace(int64_t bytes) { return Workspace(allocate(bytes), bytes); }

const Rig::Piece& Rig::piece_of(const TensorView& view) const {
  const Piece* piece = nullptr;
  for (const auto& candidate : pieces_) {
    if (candidate->view.data == view.data) piece = candidate.get();
  }
  CHECK(piece != nullptr);
  return *piece;
}

std::vector<uint8_t> Rig::read_piece(const Piece& piece) {
  std::vector<uint8_t> bytes = piece.before;
  if (status_.ok()) {
    stream_->copy_out(bytes.data(), piece.base, static_cast<int64_t>(bytes.size()));
    const Status done = stream_->synchronize();
    if (!done.ok()) fail(done.error());
  }
  return bytes;
}

std::vector<uint8_t> Rig::read_bytes(const TensorView& view) {
  const Piece* piece = &piece_of(view);
  const std::vector<uint8_t> bytes = read_piece(*piece);
  const int64_t size = dtype_bytes(view.dtype);
  const int64_t lead = static_cast<char*>(view.data) - piece->base;
  std::vector<uint8_t> elements(static_cast<size_t>(view.num_elements() * size));
  std::vector<bool> owned(bytes.size(), false);
  for (int64_t i = 0; i < view.num_elements(); ++i) {
    const int64_t at = lead + offset_of(view, i) * size;
    std::memcpy(elements.data() + i * size, bytes.data() + at, static_cast<size_t>(size));
    for (int64_t b = at; b < at + size; ++b) owned[b] = true;
  }
  for (size_t b = 0; b < bytes.size(); ++b) {
    if (owned[b] || bytes[b] == piece->before[b]) continue;
    fail(device_error("wrote between rows or behind the last, at byte {} of the output", b));
    break;
  }
  return elements;
}

std::vector<float> Rig::read(const TensorView& view) {
  const std::vector<uint8_t> bytes = read_bytes(view);
  const int64_t size = dtype_bytes(view.dtype);
  std::vector<float> values(static_cast<size_t>(view.num_elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = load_as(view.dtype, bytes.data() + static_cast<int64_t>(i) * size);
  }
  return values;
}

std::vector<int32_t> Rig::read_integers(const TensorView& view) {
  const std::vector<uint8_t> bytes = read_bytes(view);
  std::vector<int32_t> values(bytes.size() / sizeof(int32_t));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<float> Rig::read_pages(const TensorView& pages, int64_t group) {
  if (pages.dtype != Dtype::kI8) return read(pages);
  std::vector<uint8_t> bytes = read_piece(piece_of(pages));
  TensorView host = pages;
  host.data = bytes.data();
  std::vector<float> values;
  for (int64_t page = 0; page < pages.shape[0]; ++page) {
    for (int64_t offset = 0; offset < pages.shape[1]; ++offset) {
      const float* scales = int8_scales(host, page, offset, group);
      const int8_t* q = reinterpret_cast<const int8_t*>(bytes.data()) + page * pages.stride[0] +
                        offset * pages.stride[1];
      for (int64_t i = 0; i < pages.shape[2]; ++i) {
        values.push_back(scales[i / group] * static_cast<float>(q[i]));
      }
    }
  }
  return values;
}

Status Rig::finish() {
  if (stream_ != nullptr) {
    const Status done = stream_->synchronize();
    if (!done.ok()) fail(done.error());
  }
  pieces_.clear();
  weights_.clear();
  buffers_.clear();
  return std::exchange(status_, Status());
}

}  // namespace ferry
