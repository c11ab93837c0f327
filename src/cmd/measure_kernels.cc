// See measure_kernels.h.
#include "cmd/measure_kernels.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/checked_math.h"
#include "base/quote_name.h"
#include "device/plan_stream.h"
#include "device/workspace.h"
#include "disk/mapped_file.h"
#include "nn/batch_memory.h"
#include "quant/random_blocks.h"

namespace ferry::cmd {
namespace {

constexpr int64_t kPageTokens = 16;
constexpr int64_t kExpertsPerToken = 4;
constexpr int64_t kHeadsToKeys = 8;  // rows of queries for each of keys, and of values
constexpr int64_t kAttentionHeads = 16;
constexpr int64_t kDecodeBatch = 8;
constexpr int64_t kElementRows = 64;
constexpr int64_t kTokensOfLoading = 16;
constexpr int kSmallLayers = 50;
constexpr int64_t kAlignment = 64;

class KernelBench {
 public:
  static Result<KernelBench> create(std::shared_ptr<Backend> backend,
                                    const KernelMeasurement& options) {
    KernelBench bench(std::move(backend), options);
    FERRY_TRY(bench.stream_, bench.backend_->create_stream());
    return bench;
  }

  Result<plan::KernelTimes> matmul(const quant::StorageFormat& format, int64_t hidden);
  Result<plan::KernelTimes> experts(const quant::StorageFormat& format, int64_t hidden);
  Status gqa(plan::MeasuredKernels& out);
  Status mla(plan::MeasuredKernels& out);
  Status small_ops(plan::MeasuredKernels& out);

 private:
  KernelBench(std::shared_ptr<Backend> backend, const KernelMeasurement& options)
      : backend_(std::move(backend)), options_(options) {}

  // Seconds of one run.
  Result<double> median_of(const std::function<void()>& run) {
    std::vector<double> seconds;
    for (int64_t i = 0; i <= options_.repeat; ++i) {
      const auto start = std::chrono::steady_clock::now();
      run();
      FERRY_TRY_VOID(stream_->synchronize());
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      if (i > 0) seconds.push_back(took.count());  // the first brings memory in and wakes threads
    }
    std::nth_element(seconds.begin(), seconds.begin() + options_.repeat / 2, seconds.end());
    return seconds[static_cast<size_t>(options_.repeat / 2)];
  }

  Result<TensorView> tensor(Dtype dtype, std::initializer_list<int64_t> dims) {
    int64_t elements = 1;
    for (int64_t dim : dims) elements *= dim;
    FERRY_TRY(Buffer buffer, backend_->allocate(elements * dtype_bytes(dtype)));
    stream_->fill_zero(buffer.data, buffer.bytes);
    buffers_.push_back(buffer);
    return TensorView::contiguous(buffer.data, dtype, dims);
  }

  // Numbers of the size that activations have: products of zeros take less power, and less time.
  Result<TensorView> noise(std::initializer_list<int64_t> dims) {
    FERRY_TRY(const TensorView view, tensor(Dtype::kF32, dims));
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(view.num_elements()));
    for (float& value : values) value = normal(random);
    stream_->copy_in(view.data, values.data(), std::ssize(values) * dtype_bytes(Dtype::kF32));
    FERRY_TRY_VOID(stream_->synchronize());
    return view;
  }

  Result<TensorView> indices(const std::vector<int32_t>& values,
                             std::initializer_list<int64_t> dims) {
    FERRY_TRY(const TensorView view, tensor(Dtype::kI32, dims));
    stream_->copy_in(view.data, values.data(), static_cast<int64_t>(values.size()) * 4);
    FERRY_TRY_VOID(stream_->synchronize());
    return view;
  }

  struct Shape {
    int64_t rows = 0, cols = 0;
  };
  // Random matrices, from a mapped file as an engine has them: pages of a file are smaller than
  // those that memory of the program's own may get, and slower to walk.
  Result<std::vector<WeightView>> import(const quant::StorageFormat& format,
                                         const std::vector<Shape>& shapes);

  void clear() {
    weights_.clear();
    buffers_.clear();
  }

  // Two batches over pages of one sequence each: a prompt, and answers behind a context.
  struct Batches {
    int64_t prompt = 0, context = 0;
    double prompt_pairs = 0, decode_pairs = 0;  // of query and key
    std::vector<int32_t> ids, pages;
    nn::BatchMemory prefill, decode;
    const BatchView* prefill_view = nullptr;
    const BatchView* decode_view = nullptr;
  };
  Result<std::unique_ptr<Batches>> batches();

  std::shared_ptr<Backend> backend_;
  const KernelMeasurement& options_;
  std::unique_ptr<Stream> stream_;
  std::vector<Buffer> buffers_;
  std::vector<Weight> weights_;
};

Result<std::shared_ptr<const disk::MappedFile>> random_file(const quant::StorageFormat& format,
                                                            const std::vector<int64_t>& sizes) {
  std::error_code ignored;
  std::string path = std::filesystem::temp_directory_path(ignored) / "ferry-calibrate-XXXXXX";
  const int descriptor = mkstemp(path.data());
  if (descriptor < 0) return io_error("{}: can't be made: {}", path, disk::errno_text(errno));
  close(descriptor);
  quant::RandomBlocks blocks(format, 0.02f, 1);
  std::vector<uint8_t> bytes;
  std::ofstream file(path, std::ios::binary);
  for (const int64_t size : sizes) {
    bytes.assign(static_cast<size_t>(round_up(size, kAlignment)), 0);
    blocks.fill(bytes.data(), size / format.block_bytes);
    file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
  file.close();
  auto mapped =
      file ? disk::MappedFile::open(path)
           : io_error("{}: can't be written; weights of {} are put there", path, format.name);
  std::filesystem::remove(path, ignored);  // the map keeps it
  return mapped;
}

Result<std::vector<WeightView>> KernelBench::import(const quant::StorageFormat& format,
                                                    const std::vector<Shape>& shapes) {
  std::vector<int64_t> sizes;
  for (const Shape& shape : shapes) sizes.push_back(format.bytes_for(shape.rows * shape.cols));
  FERRY_TRY(const auto file, random_file(format, sizes));
  std::vector<WeightView> views;
  int64_t at = 0;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const auto data = file->bytes().subspan(static_cast<size_t>(at), static_cast<size_t>(sizes[i]));
    FERRY_TRY(Weight taken, backend_->import_weight({.format = &format,
                                                     .data = data,
                                                     .rows = shapes[i].rows,
                                                     .cols = shapes[i].cols,
                                                     .pack = true,
                                                     .keep_alive = file}));
    views.push_back(taken.view);
    weights_.push_back(std::move(taken));
    at += round_up(sizes[i], kAlignment);
  }
  return views;
}

Result<plan::KernelTimes> KernelBench::matmul(const quant::StorageFormat& format, int64_t hidden) {
  clear();
  const int64_t wide = 4 * hidden, narrow = hidden / kHeadsToKeys;
  const Shape layer[] = {{wide, hidden},   {wide, hidden},   {hidden, wide},  {hidden, hidden},
                         {hidden, hidden}, {narrow, hidden}, {narrow, hidden}};
  std::vector<Shape> shapes;
  for (int64_t bytes = 0; bytes < options_.bytes;) {
    for (const Shape& shape : layer) {
      shapes.push_back(shape);
      bytes += format.bytes_for(shape.rows * shape.cols);
    }
  }
  FERRY_TRY(const std::vector<WeightView> matrices, import(format, shapes));
  plan::KernelTimes times{.format = std::string(format.name),
                          .hidden = static_cast<double>(hidden)};
  FERRY_TRY(const TensorView x, noise({options_.tokens_max * wide}));
  FERRY_TRY(const TensorView out, tensor(Dtype::kF32, {options_.tokens_max * wide}));
  for (const int64_t tokens : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 512}) {
    if (tokens > options_.tokens_max) break;
    // Where many tokens share a weight its way from memory no longer counts: fewer will do.
    const size_t used = tokens > kTokensOfLoading ? (matrices.size() + 3) / 4 : matrices.size();
    int64_t elements = 0;
    for (size_t i = 0; i < used; ++i) elements += matrices[i].rows * matrices[i].cols;
    FERRY_TRY(const double seconds, median_of([&] {
                for (const WeightView& w : std::span(matrices).first(used)) {
                  stream_->matmul(
                      {.x = TensorView::contiguous(x.data, Dtype::kF32, {tokens, w.cols}),
                       .w = w,
                       .bias = {},
                       .out = TensorView::contiguous(out.data, Dtype::kF32, {tokens, w.rows})});
                }
              }));
    times.tokens.push_back(static_cast<double>(tokens));
    times.ns.push_back(seconds * 1e9 / (static_cast<double>(elements) / 1e6));
  }
  return times;
}

Result<plan::KernelTimes> KernelBench::experts(const quant::StorageFormat& format, int64_t hidden) {
  clear();
  const int64_t inner = hidden / 256 * 3 / 4 * 256 + 256;
  const int64_t count = std::max<int64_t>(
      round_up(options_.bytes / (3 * format.bytes_for(inner * hidden)), kExpertsPerToken),
      kExpertsPerToken);
  std::vector<Shape> shapes(static_cast<size_t>(2 * count), {.rows = inner, .cols = hidden});
  shapes.resize(static_cast<size_t>(3 * count), {.rows = hidden, .cols = inner});
  FERRY_TRY(const std::vector<WeightView> all, import(format, shapes));
  const auto part = [&all, count](int64_t which) {
    return std::span(all).subspan(static_cast<size_t>(which * count), static_cast<size_t>(count));
  };
  plan::KernelTimes times{.format = std::string(format.name),
                          .hidden = static_cast<double>(hidden)};
  for (const int64_t each : {1, 2, 3, 4, 8, 16, 32, 64}) {
    const int64_t tokens = each * count / kExpertsPerToken;
    std::vector<int32_t> ids(static_cast<size_t>(tokens * kExpertsPerToken));
    for (size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<int32_t>(i % static_cast<size_t>(count));
    }
    MoeExpertsArgs args{.gate = part(0), .up = part(1), .down = part(2)};
    FERRY_TRY(args.x, noise({tokens, hidden}));
    FERRY_TRY(args.ids, indices(ids, {tokens, kExpertsPerToken}));
    FERRY_TRY(args.weights, noise({tokens, kExpertsPerToken}));
    FERRY_TRY(args.out, tensor(Dtype::kF32, {tokens, hidden}));
    Workspace measuring;
    args.workspace = &measuring;
    PlanStream dry;
    dry.moe_experts(args);
    FERRY_TRY(const Buffer scratch,
              backend_->allocate(std::max<int64_t>(measuring.bytes_max(), 1)));
    Workspace workspace(scratch.data, scratch.bytes);
    args.workspace = &workspace;
    FERRY_TRY(const double seconds, median_of([&] { stream_->moe_experts(args); }));
    times.tokens.push_back(static_cast<double>(each));
    times.ns.push_back(seconds * 1e9 / (static_cast<double>(count * 3 * inner * hidden) / 1e6));
  }
  return times;
}

Result<std::unique_ptr<KernelBench::Batches>> KernelBench::batches() {
  auto out = std::make_unique<Batches>();
  out->prompt = out->context = options_.tokens_max;
  const int64_t pages_each = ceil_div(out->context, kPageTokens);
  const nn::BatchLimits limits{.max_tokens = out->prompt,
                               .max_sequences = kDecodeBatch,
                               .max_context = out->context,
                               .block_size = kPageTokens};
  out->ids.assign(static_cast<size_t>(out->prompt), 1);
  for (int64_t i = 0; i < pages_each * kDecodeBatch; ++i) {
    out->pages.push_back(static_cast<int32_t>(i));
  }
  FERRY_TRY(out->prefill, nn::BatchMemory::allocate(*backend_, limits));
  FERRY_TRY(out->decode, nn::BatchMemory::allocate(*backend_, limits));
  const std::span<const int32_t> pages(out->pages);
  const nn::BatchInput prompt{.tokens = out->ids,
                              .pages = pages.first(static_cast<size_t>(pages_each))};
  out->prefill_view = &out->prefill.lay_out(*stream_, {&prompt, 1});
  std::vector<nn::BatchInput> answers;
  for (int64_t s = 0; s < kDecodeBatch; ++s) {
    answers.push_back({.tokens = std::span(out->ids).first(1),
                       .first_position = out->context - 1,
                       .pages = pages.subspan(static_cast<size_t>(s * pages_each),
                                              static_cast<size_t>(pages_each)),
                       .decode = true});
  }
  out->decode_view = &out->decode.lay_out(*stream_, answers);
  FERRY_TRY_VOID(stream_->synchronize());
  const auto tokens = static_cast<double>(out->prompt);
  out->prompt_pairs = tokens * (tokens + 1) / 2;
  out->decode_pairs = static_cast<double>(kDecodeBatch * out->context);
  return out;
}

Status KernelBench::gqa(plan::MeasuredKernels& out) {
  constexpr int64_t kHeads = kAttentionHeads, kKvHeads = 4, kDim = 128;
  FERRY_TRY(const auto b, batches());
  const int64_t pages = static_cast<int64_t>(b->pages.size());
  GqaAttentionArgs args{.num_kv_heads = kKvHeads, .scale = 0.1f};
  FERRY_TRY(args.k_pages, tensor(Dtype::kBF16, {pages, kPageTokens, kKvHeads * kDim}));
  FERRY_TRY(args.v_pages, tensor(Dtype::kBF16, {pages, kPageTokens, kKvHeads * kDim}));
  FERRY_TRY(const TensorView q, tensor(Dtype::kF32, {b->prompt, kHeads, kDim}));
  FERRY_TRY(const TensorView result, tensor(Dtype::kF32, {b->prompt, kHeads, kDim}));
  const double operations = 4.0 * kHeads * kDim;  // of a pair
  const auto rate = [&](const BatchView& view, double pairs) -> Result<double> {
    args.batch = &view;
    args.q = q.slice(0, 0, view.num_tokens);
    args.out = result.slice(0, 0, view.num_tokens);
    FERRY_TRY(const double seconds, median_of([&] { stream_->gqa_attention(args); }));
    return pairs * operations / seconds / 1e9;
  };
  FERRY_TRY(out.gqa_prefill_gops, rate(*b->prefill_view, b->prompt_pairs));
  FERRY_TRY(out.gqa_decode_gops, rate(*b->decode_view, b->decode_pairs));
  return {};
}

Status KernelBench::mla(plan::MeasuredKernels& out) {
  constexpr int64_t kHeads = kAttentionHeads, kRank = 512, kRope = 64, kNope = 128, kValue = 128;
  const quant::StorageFormat& format = *quant::find_format("BF16");
  clear();
  FERRY_TRY(const auto b, batches());
  const int64_t pages = static_cast<int64_t>(b->pages.size());
  FERRY_TRY(const TensorView cache, tensor(Dtype::kBF16, {pages, kPageTokens, kRank + kRope}));
  FERRY_TRY(const std::vector<WeightView> up,
            import(format, {{kHeads * kNope, kRank}, {kHeads * kValue, kRank}}));
  const auto heads = [](const WeightView& view, int64_t rows) {
    return HeadMatrixView{
        .weight = view, .num_heads = kHeads, .rows = rows, .cols = kRank, .head_stride = rows};
  };
  MlaPrefillAttentionArgs prompt{.pages = cache,
                                 .up_k = heads(up[0], kNope),
                                 .up_v = heads(up[1], kValue),
                                 .scale = 0.1f,
                                 .batch = b->prefill_view,
                                 .num_sequences = 1};
  FERRY_TRY(prompt.q, tensor(Dtype::kF32, {b->prompt, kHeads, kNope + kRope}));
  FERRY_TRY(prompt.out, tensor(Dtype::kF32, {b->prompt, kHeads, kValue}));
  FERRY_TRY(double seconds, median_of([&] { stream_->mla_prefill_attention(prompt); }));
  // Keys and values are made from latents inside: the products with up_k and up_v, which the
  // planner counts as dense weights, are part of this time and of these operations.
  const double expand = 2.0 * static_cast<double>(b->prompt) * kHeads * (kNope + kValue) * kRank;
  out.mla_prefill_gops =
      (b->prompt_pairs * 2 * kHeads * (kNope + kRope + kValue) + expand) / seconds / 1e9;
  MlaDecodeAttentionArgs answer{
      .pages = cache, .scale = 0.1f, .batch = b->decode_view, .num_sequences = kDecodeBatch};
  FERRY_TRY(answer.q_latent, tensor(Dtype::kF32, {kDecodeBatch, kHeads, kRank}));
  FERRY_TRY(answer.q_rope, tensor(Dtype::kF32, {kDecodeBatch, kHeads, kRope}));
  FERRY_TRY(answer.out, tensor(Dtype::kF32, {kDecodeBatch, kHeads, kRank}));
  FERRY_TRY(seconds, median_of([&] { stream_->mla_decode_attention(answer); }));
  out.mla_decode_gops = b->decode_pairs * 2 * kHeads * (2 * kRank + kRope) / seconds / 1e9;
  return {};
}

Status KernelBench::small_ops(plan::MeasuredKernels& out) {
  const int64_t hidden = options_.hidden.back(), width = 4 * hidden;
  FERRY_TRY(const TensorView a, tensor(Dtype::kF32, {kElementRows, width}));
  FERRY_TRY(const TensorView b, tensor(Dtype::kF32, {kElementRows, width}));
  FERRY_TRY(double seconds, median_of([&] { stream_->swiglu({.gate = a, .up = b, .out = a}); }));
  out.element_ns = seconds * 1e9 / static_cast<double>(3 * kElementRows * width);
  FERRY_TRY(const TensorView scale, tensor(Dtype::kF32, {hidden}));
  FERRY_TRY(const auto batch, batches());
  FERRY_TRY(const TensorView pages, tensor(Dtype::kBF16, {1, kPageTokens, hidden / 4}));
  const std::vector<int32_t> first_page = {0};
  const nn::BatchInput token{
      .tokens = std::span(batch->ids).first(1), .pages = first_page, .decode = true};
  const BatchView& alone = batch->decode.lay_out(*stream_, {&token, 1});
  const TensorView row = TensorView::contiguous(a.data, Dtype::kF32, {1, hidden});
  const TensorView wide = a.slice(0, 0, 1);
  const TensorView heads = row.split_last(kAttentionHeads, hidden / kAttentionHeads);
  const auto layer = [&] {
    for (const int half : {0, 1}) {
      stream_->add_rms_norm(
          {.residual = row, .delta = row, .weight = scale, .epsilon = 1e-6f, .out = row});
      if (half == 1) stream_->swiglu({.gate = wide, .up = wide, .out = wide});
    }
    stream_->gqa_attention(
        {.q = heads,
         .k_pages = pages,
         .v_pages = pages,
         .num_kv_heads = kAttentionHeads / 4,
         .scale = 0.1f,
         .batch = &alone,
         .out = TensorView::contiguous(b.data, Dtype::kF32,
                                       {1, kAttentionHeads, hidden / kAttentionHeads})});
  };
  FERRY_TRY(seconds, median_of([&] {
              for (int i = 0; i < kSmallLayers; ++i) layer();
            }));
  out.layer_us = std::max(seconds * 1e6 / kSmallLayers, 1e-3);
  FERRY_TRY(seconds, median_of([&] { batch->decode.lay_out(*stream_, {&token, 1}); }));
  out.pass_us = std::max(seconds * 1e6, 1e-3);
  return {};
}

}  // namespace

Result<plan::MeasuredKernels> measure_kernels(const std::shared_ptr<Backend>& backend,
                                              const KernelMeasurement& options) {
  plan::MeasuredKernels measured;
  FERRY_TRY(KernelBench bench, KernelBench::create(backend, options));
  const auto total = static_cast<int64_t>(2 * options.formats.size() * options.hidden.size() + 3);
  int64_t done = 0;
  const auto step = [&] {
    if (options.progress) options.progress(++done, total);
  };
  for (const std::string& name : options.formats) {
    const quant::StorageFormat* format = quant::find_format(name);
    if (format == nullptr) return not_found("format {}: not known", quote_name(name, 40));
    const OpQuery query{
        .op = Op::kMatmul, .format = format, .rows = options.hidden[0], .cols = options.hidden[0]};
    if (format->encode == nullptr || !backend->supports(query)) {
      return unsupported("format {}: can't be measured on {}", name, backend->spec().backend);
    }
    for (const int64_t hidden : options.hidden) {
      FERRY_TRY(plan::KernelTimes dense, bench.matmul(*format, hidden));
      measured.matmul.push_back(std::move(dense));
      step();
      FERRY_TRY(plan::KernelTimes experts, bench.experts(*format, hidden));
      measured.experts.push_back(std::move(experts));
      step();
    }
  }
  FERRY_TRY_VOID(bench.gqa(measured));
  step();
  FERRY_TRY_VOID(bench.mla(measured));
  step();
  FERRY_TRY_VOID(bench.small_ops(measured));
  step();
  return measured;
}

}  // namespace ferry::cmd
