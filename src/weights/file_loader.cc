// See file_loader.h.
#include "weights/file_loader.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/quote_name.h"
#include "weights/file_weight_source.h"
#include "weights/head_matrices.h"
#include "weights/similar_names.h"

namespace ferry::weights {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kFp8Scale = ".weight_scale_inv";
constexpr std::string_view kE8m0Scale = ".scale";
constexpr std::string_view kInt4Scale = ".weight_scale";
constexpr std::string_view kInt4Shape = ".weight_shape";
constexpr int64_t kChunkBytes = 1 << 20;  // looked through by one thread at a time

bool is_fp8(const quant::StorageFormat& format) {
  return format.safetensors == "F8_E4M3" || format.safetensors == "F8_E5M2";
}

bool is_int4(const quant::StorageFormat& format) { return format.name == "INT4"; }

std::string with(std::string_view name, std::string_view suffix) {
  return std::string(name) + std::string(suffix);
}

// Whatever an imported weight has to keep: its file, and scales that were converted.
struct Kept {
  std::shared_ptr<const disk::MappedFile> file;
  std::vector<float> scale;
  std::vector<uint8_t> columns;  // copied out of the file
  std::shared_ptr<const disk::MappedFile> packed;
};

// All of a weight but what is in it.
Weight shape_of(const HostWeight& host) {
  return {.view = {.format = host.format,
                   .rows = host.rows,
                   .cols = host.cols,
                   .row_bytes = host.format->bytes_for(host.cols),
                   .scale_rows = host.scale_rows,
                   .scale_cols = host.scale_cols}};
}

}  // namespace

FileLoader::FileLoader(const disk::Checkpoint& checkpoint, std::shared_ptr<Backend> backend,
                       FileLoaderOptions options)
    : WeightLoader(options.shard),
      checkpoint_(checkpoint),
      backend_(std::move(backend)),
      options_(std::move(options)),
      used_(checkpoint.tensors().size(), false) {}

void FileLoader::fail(Error error) {
  if (status_.ok()) status_ = std::move(error);
}

void FileLoader::mark_used(const disk::FileTensor& tensor) {
  used_[static_cast<size_t>(&tensor - checkpoint_.tensors().data())] = true;
}

const disk::FileTensor* FileLoader::take(std::string_view full_name,
                                         std::span<const int64_t> shape) {
  if (!status_.ok()) return nullptr;
  const disk::FileTensor* tensor = checkpoint_.find(full_name);
  if (tensor == nullptr) {
    fail(not_found("{}: tensor {} is missing{}", checkpoint_.path(), quote_name(full_name),
                   similar_names(full_name)));
    return nullptr;
  }
  mark_used(*tensor);
  if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end())) {
    fail(invalid_input("{}: found {}, expected {}", checkpoint_.where(*tensor),
                       tensor->shape_text(), disk::shape_text(shape)));
    return nullptr;
  }
  return tensor;
}

// FP8 and INT4 need their grid of scales; nothing else may have one (it would be left over).
const disk::FileTensor* FileLoader::take_scale(const disk::FileTensor& tensor,
                                               std::string_view name, int64_t rows, int64_t cols) {
  const bool int4 = is_int4(*tensor.format);
  if (!is_fp8(*tensor.format) && !int4) return nullptr;
  if (int4 && !check_stated_shape(name, rows, cols)) return nullptr;
  const bool e8m0 = !int4 && checkpoint_.find(with(name, kE8m0Scale)) != nullptr;
  const std::string full_name = with(name, int4 ? kInt4Scale : e8m0 ? kE8m0Scale : kFp8Scale);
  if (checkpoint_.find(full_name) == nullptr) {
    fail(invalid_input("{}: stored as {} without its block scales: tensor {} is missing",
                       checkpoint_.where(tensor), tensor.format->name, quote_name(full_name)));
    return nullptr;
  }
  const int64_t shape[] = {ceil_div(rows, options_.scale_rows),
                           ceil_div(cols, options_.scale_cols)};
  const disk::FileTensor* scale = take(full_name, shape);
  if (scale == nullptr) return nullptr;
  const std::string_view stored = scale->format->name;
  const bool plain = stored == "F32" || stored == "BF16" || (int4 && stored == "F16");
  if (!plain && !(e8m0 && stored == "F8_E8M0")) {
    fail(invalid_input("{}: block scales stored as {}, expected {}", checkpoint_.where(*scale),
                       stored, e8m0 ? "F8_E8M0" : "F32 or BF16"));
    return nullptr;
  }
  return scale;
}

// The factors of an NVFP4 matrix, or of a bank of them; nullptr if the file has none.
const disk::FileTensor* FileLoader::take_factors(const disk::FileTensor& tensor,
                                                 std::string_view name, int64_t count) {
  if (tensor.format->name != "NVFP4") return nullptr;
  ignore(with(name, ".input_scale"));  // of inputs in four bits, which ferry does not round to
  const std::string full_name = with(name, ".scale");
  if (checkpoint_.find(full_name) == nullptr) return nullptr;
  const int64_t shape[] = {count};
  const disk::FileTensor* factors = take(full_name, shape);
  if (factors == nullptr || factors->format->name == "F32") return factors;
  fail(invalid_input("{}: factors stored as {}, expected F32", checkpoint_.where(*factors),
                     factors->format->name));
  return nullptr;
}

// The shape that a packed matrix says it has; left out by some.
bool FileLoader::check_stated_shape(std::string_view name, int64_t rows, int64_t cols) {
  const disk::FileTensor* stated = checkpoint_.find(with(name, kInt4Shape));
  if (stated == nullptr) return true;
  mark_used(*stated);
  bytes_done_ += static_cast<int64_t>(stated->data.size());
  const std::string_view stored = stated->format->name;
  int64_t found[2] = {};
  if (stated->num_elements() == 2 && stored == "I64") {
    std::memcpy(found, stated->data.data(), sizeof found);
  } else if (stated->num_elements() == 2 && stored == "I32") {
    int32_t narrow[2];
    std::memcpy(narrow, stated->data.data(), sizeof narrow);
    std::copy_n(narrow, 2, found);
  }
  if (found[0] == rows && found[1] == cols) return true;
  fail(invalid_input("{}: {} {} says [{}, {}], expected [{}, {}]", checkpoint_.where(*stated),
                     stored, stated->shape_text(), found[0], found[1], rows, cols));
  return false;
}

bool FileLoader::check_computable(const disk::FileTensor& tensor) {
  if (tensor.format->decode != nullptr) return true;
  fail(invalid_input("{}: stored as {}, expected a format of real numbers",
                     checkpoint_.where(tensor), tensor.format->name));
  return false;
}

// Reads every byte of the part, in chunks, on all threads. Reports the first bad block.
bool FileLoader::check_finite(const Part& part) {
  const quant::StorageFormat& format = *part.tensor->format;
  if (format.first_bad_block == nullptr) return true;
  const int64_t cols = part.stored_cols > 0 ? part.stored_cols : part.cols;
  const int64_t blocks_per_row = cols / format.block_elements;
  const int64_t first = part.first_row * blocks_per_row;
  const int64_t count = part.rows * blocks_per_row;
  const int64_t offset = part.tensor->offset + first * format.block_bytes;
  const int64_t bytes = count * format.block_bytes;
  LookedThrough* before = options_.looked_through;
  if (before != nullptr && before->covers(part.tensor->file_index, offset, bytes)) return true;
  const int64_t per_chunk = std::max<int64_t>(kChunkBytes / format.block_bytes, 1);
  std::atomic<int64_t> worst{count};  // index of the first bad block found
  auto look = [&](int64_t begin, int64_t end, int) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t from = chunk * per_chunk;
      const int64_t here = std::min(per_chunk, count - from);
      const uint8_t* data = part.tensor->data.data() + (first + from) * format.block_bytes;
      const int64_t bad = format.first_bad_block(data, here);
      if (bad < 0) continue;
      int64_t seen = worst.load();
      while (from + bad < seen && !worst.compare_exchange_weak(seen, from + bad)) {
      }
    }
  };
  const int64_t chunks = ceil_div(count, per_chunk);
  if (options_.team != nullptr) {
    options_.team->parallel_for(chunks, 1, look);
  } else {
    look(0, chunks, 0);
  }
  const int64_t bad = worst.load();
  if (bad == count) {
    if (before != nullptr) before->add(part.tensor->file_index, offset, bytes);
    return true;
  }
  fail(invalid_input("{}: {} block {} (row {}, column {}) has a value that is not finite",
                     checkpoint_.where(*part.tensor), format.name, first + bad,
                     part.first_row + bad / blocks_per_row,
                     bad % blocks_per_row * format.block_elements));
  return false;
}

std::vector<float> FileLoader::read_plain(const disk::FileTensor& tensor) {
  const quant::StorageFormat& format = *tensor.format;
  if (!check_computable(tensor)) return {};
  if (format.block_elements != 1 || is_fp8(format)) {
    fail(invalid_input("{}: stored as {}, expected plain numbers (F32, F16, BF16)",
                       checkpoint_.where(tensor), format.name));
    return {};
  }
  std::vector<float> values(static_cast<size_t>(tensor.num_elements()));
  format.decode(tensor.data.data(), values.data(), tensor.num_elements());
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != values.end()) {
    fail(invalid_input("{}: element {} is {}, expected a finite number", checkpoint_.where(tensor),
                       bad - values.begin(), *bad));
    return {};
  }
  return values;
}

// Counts a matrix that will be packed in so many bytes, and gives it what it finds of it in the
// copy. Returns what it will take of memory.
int64_t FileLoader::plan_packed(const PackedMatrix& matrix, HostWeight& host, int64_t own_bytes) {
  replaced_bytes_ += std::ssize(host.data);
  if (options_.packed_copy != nullptr) host.packed = options_.packed_copy->find(matrix, own_bytes);
  if (!host.packed.empty()) {
    copied_bytes_ += own_bytes;
    return 0;
  }
  packed_bytes_ += own_bytes;
  return options_.packed_writer != nullptr ? 0 : own_bytes;
}

void FileLoader::write_packed(const PackedMatrix& matrix, const WeightView& view, int64_t bytes) {
  const uint8_t* const strips = backend_->packed_form(view);
  CHECK(strips != nullptr);
  Status written = options_.packed_writer->add(matrix, {strips, static_cast<size_t>(bytes)});
  if (!written.ok()) fail(written.error());
}

Weight FileLoader::import(const Part& part) {
  if (!status_.ok() || !check_computable(*part.tensor)) return {};
  const quant::StorageFormat& format = *part.tensor->format;
  HostWeight host{.format = &format, .rows = part.rows, .cols = part.cols, .by_head = part.by_head};
  const bool columns_cut = part.stored_cols > 0;
  const int64_t stored_row_bytes = format.bytes_for(columns_cut ? part.stored_cols : part.cols);
  const auto stored =
      part.tensor->data.subspan(static_cast<size_t>(part.first_row * stored_row_bytes),
                                static_cast<size_t>(part.rows * stored_row_bytes));
  // Of columns that were cut only the size counts yet.
  host.data = stored.first(static_cast<size_t>(format.bytes_for(part.rows * part.cols)));
  auto kept = std::make_shared<Kept>();
  kept->file = checkpoint_.files()[static_cast<size_t>(part.tensor->file_index)];
  const bool on_demand = part.expert && options_.experts_on_demand;
  // Not what is copied out of the file anyway: it would be there twice.
  host.pack = options_.pack && !part.by_head && !part.lookup && !columns_cut && !on_demand;
  if (part.scale != nullptr) {
    Grid grid = grid_of(part);
    kept->scale = std::move(grid.values);
    host.scale = kept->scale;
    host.scale_rows = grid.rows;
    host.scale_cols = grid.cols;
  }
  if (!status_.ok()) return {};
  int64_t own_bytes = backend_->import_bytes(host);
  const auto bytes = static_cast<int64_t>(host.data.size());
  const PackedMatrix matrix{part.tensor->name, format.name, part.first_row, part.rows, part.cols};
  const bool packs = host.pack && own_bytes > 0 && backend_->spec().weights_in_place;
  const int64_t packed_bytes = packs ? own_bytes : 0;
  if (packs) own_bytes = plan_packed(matrix, host, own_bytes);
  device_bytes_ += own_bytes > 0 || !columns_cut ? own_bytes : bytes;
  if (part.expert) {
    expert_bytes_ += bytes;
    largest_expert_bytes_ = std::max(largest_expert_bytes_, bytes);
  }
  if (options_.measure_only) return shape_of(host);
  if (!host.packed.empty()) {
    kept->packed = options_.packed_copy->file();
    if (!kept->packed->in_memory(host.packed)) kept->packed->will_need(host.packed);
  } else if (on_demand) {
    kept->file->read_past_cache();
    const int64_t offset = part.tensor->offset + part.first_row * stored_row_bytes;
    host.source = std::make_shared<FileWeightSource>(kept->file, checkpoint_.where(*part.tensor),
                                                     format, offset, bytes);
  } else if (!check_finite(part)) {
    return {};
  }
  if (columns_cut) {
    kept->columns = copy_columns(part);
    host.data = kept->columns;
  }
  host.keep_alive = kept;
  const bool later = packs && options_.pack_later && host.packed.empty();
  if (later) host.when_packed = [file = kept->file, stored] { file->done_with(stored); };
  Result<Weight> weight = backend_->import_weight(host);
  if (!weight.ok()) {
    fail(weight.error().in(checkpoint_.where(*part.tensor)));
    return {};
  }
  if (packs && options_.packed_writer != nullptr && host.packed.empty()) {
    write_packed(matrix, weight->view, packed_bytes);
    *weight = shape_of(host);
  }
  if (!later && (packs || own_bytes > 0 || columns_cut)) kept->file->done_with(stored);
  bytes_done_ += static_cast<int64_t>(stored.size());
  if (options_.progress) options_.progress(bytes_done_, checkpoint_.data_bytes());
  return *std::move(weight);
}

Weight FileLoader::matrix(std::string_view name, int64_t rows, int64_t cols, Cut cut) {
  return stored_matrix(name, rows, cols, MatrixUse::kWhole, cut);
}

Weight FileLoader::head_matrices(std::string_view name, int64_t rows, int64_t cols) {
  return stored_matrix(name, rows, cols, MatrixUse::kHeads, {});
}

Weight FileLoader::lookup_table(std::string_view name, int64_t rows, int64_t cols) {
  return stored_matrix(name, rows, cols, MatrixUse::kLookup, {});
}

Weight FileLoader::stored_matrix(std::string_view name, int64_t rows, int64_t cols, MatrixUse use,
                                 Cut cut) {
  if (is_packed_fp4(name)) {
    if (shard().whole()) return packed_fp4(name, rows, cols, use);
    fail(unsupported("{}: tensor {}: FP4 in pairs is not cut for several ranks", checkpoint_.path(),
                     quote_name(with(name, kWeight))));
    return {};
  }
  const int64_t shape[] = {rows, cols};
  const disk::FileTensor* tensor = take(with(name, kWeight), shape);
  if (tensor == nullptr) return {};
  const disk::FileTensor* scale = take_scale(*tensor, name, rows, cols);
  const disk::FileTensor* factor = take_factors(*tensor, name, 1);
  if (!status_.ok()) return {};
  if (factor != nullptr) scale = factor;
  Part part{.tensor = tensor,
            .rows = rows,
            .cols = cols,
            .scale = scale,
            .factor = factor != nullptr ? 0 : -1,
            .expert = use == MatrixUse::kExpert,
            .by_head = use == MatrixUse::kHeads,
            .lookup = use == MatrixUse::kLookup};
  if (!apply(cut, part)) return {};
  return import(part);
}

Vector FileLoader::vector(std::string_view full_name, int64_t size, Cut cut) {
  const int64_t shape[] = {size};
  const disk::FileTensor* tensor = take(full_name, shape);
  if (tensor == nullptr) return {};
  bytes_done_ += static_cast<int64_t>(tensor->data.size());
  Part part{.tensor = tensor, .rows = size, .cols = 1};
  if (!apply(cut, part)) return {};
  Vector vector = constant(1, part.rows, [&] {
    std::vector<float> values = read_plain(*tensor);
    if (!status_.ok()) return values;
    const auto begin = values.begin() + part.first_row;
    return std::vector<float>(begin, begin + part.rows);
  });
  if (!vector.empty()) {
    vector.view = TensorView::contiguous(vector.view.data, Dtype::kF32, {part.rows});
  }
  return vector;
}

Vector FileLoader::constant(int64_t rows, int64_t cols,
                            const std::function<std::vector<float>()>& make) {
  if (options_.measure_only || !status_.ok()) return to_device(nullptr, Dtype::kF32, rows, cols);
  const std::vector<float> values = make();
  if (!status_.ok()) return {};
  CHECK(static_cast<int64_t>(values.size()) == rows * cols);
  return to_device(values.data(), Dtype::kF32, rows, cols);
}

// Four-byte numbers to memory of the device. Nothing is read where only sizes count.
Vector FileLoader::to_device(const void* values, Dtype dtype, int64_t rows, int64_t cols) {
  const int64_t bytes = rows * cols * dtype_bytes(dtype);
  device_bytes_ += backend_->allocation_bytes(bytes);
  const auto view = [&](void* data) { return TensorView::contiguous(data, dtype, {rows, cols}); };
  // Any non-null address will do where nothing is read.
  if (options_.measure_only) return {.view = view(&device_bytes_)};
  if (!status_.ok()) return {};
  Result<Buffer> buffer = backend_->allocate(bytes);
  if (!buffer.ok()) {
    fail(buffer.error());
    return {};
  }
  if (stream_ == nullptr) {
    Result<std::unique_ptr<Stream>> stream = backend_->create_stream();
    if (!stream.ok()) {
      fail(stream.error());
      return {};
    }
    stream_ = *std::move(stream);
  }
  stream_->copy_in(buffer->data, values, bytes);
  if (Status done = stream_->synchronize(); !done.ok()) {
    fail(done.error());
    return {};
  }
  return {.view = view(buffer->data), .storage = buffer->owner};
}

bool FileLoader::has(std::string_view full_name, bool) const {
  return checkpoint_.find(full_name) != nullptr;
}

void FileLoader::skip_copy(std::string_view name, int64_t rows, int64_t cols) {
  const std::string full_name = with(name, kWeight);
  if (checkpoint_.find(full_name) == nullptr) return;
  const int64_t shape[] = {rows, cols};
  const disk::FileTensor* tensor = take(full_name, shape);
  if (tensor != nullptr) bytes_done_ += static_cast<int64_t>(tensor->data.size());
}

void FileLoader::ignore(std::string_view full_name) {
  const disk::FileTensor* tensor = checkpoint_.find(full_name);
  if (tensor == nullptr) return;
  mark_used(*tensor);
  bytes_done_ += static_cast<int64_t>(tensor->data.size());
}

void FileLoader::ignore_all(std::string_view prefix) {
  for (const disk::FileTensor& tensor : checkpoint_.tensors()) {
    if (tensor.name.starts_with(prefix)) ignore(tensor.name);
  }
}

Status FileLoader::finish() {
  if (!status_.ok()) return status_;
  constexpr size_t kNamed = 3;
  std::string names;
  size_t count = 0;
  for (size_t i = 0; i < used_.size(); ++i) {
    if (used_[i] || ++count > kNamed) continue;
    names += (names.empty() ? "" : ", ") + quote_name(checkpoint_.tensors()[i].source_name);
  }
  if (count > 0) {
    return invalid_input("{}: {} tensor{} this architecture does not use: {}{}", checkpoint_.path(),
                         count, count == 1 ? "" : "s", names, count > kNamed ? ", …" : "");
  }
  if (options_.progress) options_.progress(checkpoint_.data_bytes(), checkpoint_.data_bytes());
  if (options_.looked_through != nullptr) options_.looked_through->save();
  return {};
}

}  // namespace ferry::weights
