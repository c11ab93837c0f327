// Ops around weight matrices. Every product X Wᵀ becomes a list of parts; parts are cut into blocks
// of output rows × tokens, and the blocks of all parts together are the tasks of one job.
#include "backends/cpu/cpu_stream.h"

namespace ferry::cpu {
namespace {

// B of a per-head product by columns: at most this many floats are decoded at a time (L2).
constexpr int64_t kHeadPanelFloats = 64 << 10;

int64_t block_tokens(const MatmulPart& part) { return std::min(part.tokens, kMaxBlockTokens); }

// Rows of a block: many while there are tokens to share the decoded weights, few when memory is
// the limit and the work must spread over the team.
int64_t choose_block_rows(std::span<const MatmulPart> parts, int team_size) {
  int64_t rows = 0;
  int64_t tokens = 0;
  for (const MatmulPart& part : parts) {
    rows += part.rows * ceil_div(part.tokens, kMaxBlockTokens);
    tokens = std::max(tokens, part.tokens);
  }
  int64_t block = tokens <= 4 ? kPackedRows : kMaxBlockRows;
  while (block > kPackedRows && rows / block < int64_t{4} * team_size) block /= 2;
  return block;
}

}  // namespace

// The source like `wanted` (which has no offset yet) with as many rows or more, or a new one.
const FormSource& CpuStream::form_source(const FormSource& wanted, int64_t& bytes) {
  auto serves = [&](const FormSource& s) {
    return s.x == wanted.x && s.stride == wanted.stride && s.cols == wanted.cols &&
           s.form == wanted.form && s.index == wanted.index && s.rows >= wanted.rows;
  };
  // Neighbouring parts share; the gates and ups of experts all have the same x.
  const auto source = std::find_if(form_sources_.rbegin(), form_sources_.rend(), serves);
  if (source != form_sources_.rend()) return *source;
  form_sources_.push_back(wanted);
  form_sources_.back().offset = bytes;
  bytes += wanted.rows * wanted.form->row_bytes(wanted.cols);
  return form_sources_.back();
}

// Brings rows into the form that the kernels of their weights read (int8, or three bf16 each), once
// for all parts that share them, and lays them out in the order of each part's tokens.
void CpuStream::form_inputs(std::span<MatmulPart> parts) {
  form_sources_.clear();
  int64_t bytes = 0, cols = 0;
  std::vector<int64_t>& of_part = part_starts_;  // free until the tasks are counted
  of_part.clear();
  for (const MatmulPart& part : parts) {
    of_part.push_back(-1);
    if (part.w.x_form == nullptr) continue;
    FormSource source{part.x, part.x_stride, part.w.cols,
                      part.x_index == nullptr ? part.tokens : part.x_rows, part.w.x_form};
    source = form_source(source, bytes);
    if (part.x_index != nullptr) {
      source.from = source.offset;
      source.index = part.x_index;
      source.rows = part.tokens;
      source = form_source(source, bytes);
    }
    of_part.back() = source.offset;
    cols = std::max(cols, part.w.cols);
  }
  if (bytes == 0) return;
  if (static_cast<int64_t>(form_rows_.size()) < bytes + 64) {
    form_rows_.clear();  // never hold both
    form_rows_.resize(static_cast<size_t>(bytes) + 64);
  }
  const auto address = reinterpret_cast<uintptr_t>(form_rows_.data());
  uint8_t* const data = form_rows_.data() + (64 - address % 64) % 64;
  for (size_t p = 0; p < parts.size(); ++p) {
    if (of_part[p] >= 0) parts[p].form_x = data + of_part[p];
  }
  for (const bool copies : {false, true}) {
    int64_t rows = 0;
    for (const FormSource& s : form_sources_) rows += (s.index != nullptr) == copies ? s.rows : 0;
    parallel(rows, copies ? cols / 16 : cols / 2, [&](int64_t begin, int64_t end, int) {
      int64_t first = 0;
      for (const FormSource& s : form_sources_) {
        if ((s.index != nullptr) != copies) continue;
        const int64_t row_bytes = s.form->row_bytes(s.cols);
        for (int64_t r = std::max(begin, first); r < std::min(end, first + s.rows); ++r) {
          const int64_t row = r - first;
          uint8_t* const out = data + s.offset + row * row_bytes;
          if (copies) {
            std::memcpy(out, data + s.from + s.index[row] * row_bytes,
                        static_cast<size_t>(row_bytes));
          } else {
            s.form->write_row(s.x + row * s.stride, s.cols, out);
          }
        }
        first += s.rows;
      }
    });
  }
}

void CpuStream::run_matmul_block(const MatmulPart& part, int64_t row_block, int64_t block_rows,
                                 int64_t token_block, float* scratch) {
  const int64_t first_token = token_block * kMaxBlockTokens;
  const int64_t tokens = std::min(kMaxBlockTokens, part.tokens - first_token);
  const int64_t begin = row_block * block_rows;
  if (part.w.x_form != nullptr) {
    // Blocks are whole strips; but heads begin where they will.
    const bool packed = part.w.strips != nullptr && part.first_row % kPackedRows == 0;
    const uint8_t* const rows = packed ? part.w.strips : part.w.data;
    (packed ? part.w.strips_block : part.w.form_block)({
        .data = rows + (part.first_row + begin) * part.w.row_bytes,
        .row_bytes = part.w.row_bytes,
        .cols = part.w.cols,
        .rows = std::min(block_rows, part.rows - begin),
        .x = part.form_x + first_token * part.w.x_form->row_bytes(part.w.cols),
        .tokens = tokens,
        .bias = part.bias == nullptr ? nullptr : part.bias + begin,
        .out = part.out + first_token * part.out_stride + begin,
        .out_stride = part.out_stride,
        .scratch = scratch,
    });
    return;
  }
  const float* x[kMaxBlockTokens];
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t row = part.x_index == nullptr ? first_token + t : part.x_index[first_token + t];
    x[t] = part.x + row * part.x_stride;
  }
  kernels_.matmul_block({
      .w = part.w,
      .first_row = part.first_row + begin,
      .rows = std::min(block_rows, part.rows - begin),
      .x = x,
      .tokens = tokens,
      .bias = part.bias == nullptr ? nullptr : part.bias + begin,
      .out = part.out + first_token * part.out_stride + begin,
      .out_stride = part.out_stride,
      .scratch = scratch,
  });
}

void CpuStream::run_matmuls(std::span<MatmulPart> parts) {
  if (parts.empty()) return;
  form_inputs(parts);
  const int64_t block_rows = choose_block_rows(parts, team_.size());
  part_starts_.assign(1, 0);
  int64_t scratch_floats = 0;
  int64_t cost = 0;
  for (const MatmulPart& part : parts) {
    const int64_t blocks = ceil_div(part.rows, block_rows) * ceil_div(part.tokens, kMaxBlockTokens);
    part_starts_.push_back(part_starts_.back() + blocks);
    scratch_floats =
        std::max(scratch_floats, part.w.x_form != nullptr ? kIntScratchFloats
                                                          : kernels_.matmul_scratch_floats(part.w));
    // A multiply-add is a sixteenth of an element operation or so; decoding counts for a few.
    cost = std::max(cost, block_rows * part.w.cols * (block_tokens(part) + 4) / 8);
  }
  scratch_.reserve(scratch_floats);
  parallel(part_starts_.back(), cost, [&](int64_t begin, int64_t end, int thread) {
    size_t p =
        static_cast<size_t>(std::upper_bound(part_starts_.begin(), part_starts_.end(), begin) -
                            part_starts_.begin() - 1);
    for (int64_t task = begin; task < end; ++task) {
      while (task >= part_starts_[p + 1]) ++p;
      // Row blocks run fastest: the x of one token block stays in the cache meanwhile.
      const int64_t row_blocks = ceil_div(parts[p].rows, block_rows);
      const int64_t index = task - part_starts_[p];
      run_matmul_block(parts[p], index % row_blocks, block_rows, index / row_blocks,
                       scratch_.of(thread));
    }
  });
}

// What the parts want that is not in memory for certain.
HotReads CpuStream::reads_of_parts() const {
  std::vector<ColdWeight*> wanted(parts_.size());
  for (size_t p = 0; p < parts_.size(); ++p) wanted[p] = parts_[p].cold;
  return HotReads(std::move(wanted));
}

// parts_[begin, end), in whatever order their weights come into memory: that changes no sum. After
// an error the outputs are what they were.
void CpuStream::run_parts(HotReads& reads, size_t begin, size_t end) {
  // Rows that parts share are rounded once for all that run together, so a few must come at least
  // when rows are many.
  constexpr int64_t kRowsWorthAPart = 16;
  int64_t rows = 0;
  for (size_t p = begin; p < end; ++p) rows = std::max(rows, parts_[p].x_rows);
  const auto least = static_cast<size_t>(1 + rows / kRowsWorthAPart);
  while (status_.ok()) {
    const Result<std::span<const size_t>> ready = reads.next(begin, end, least);
    if (!ready.ok()) {
      status_ = ready.error();
      return;
    }
    if (ready->empty()) return;
    there_.clear();
    for (size_t p : *ready) {
      there_.push_back(parts_[p]);
      if (parts_[p].cold != nullptr) there_.back().w.data = parts_[p].cold->data;
    }
    run_matmuls(there_);
    reads.done();
  }
}

void CpuStream::embed(const EmbedArgs& args) {
  check_view(args.ids, Dtype::kI32, 1);
  check_view(args.out, Dtype::kF32, 2);
  CHECK(args.out.shape[0] == args.ids.shape[0] && args.out.shape[1] == args.table.cols);
  const WeightRows table = context_->weight_rows(args.table);
  const int32_t* ids = row_of<int32_t>(args.ids, 0);
  parallel(args.ids.shape[0], 4 * table.cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      CHECK(ids[t] >= 0 && ids[t] < args.table.rows);
      kernels_.decode_rows(table, ids[t], 1, 0, table.cols, row_of(args.out, t), table.cols);
    }
  });
}

void CpuStream::matmul(const MatmulArgs& args) { matmuls({&args, 1}); }

// As one job: what reads the same x shares the rounded rows, and the team meets once.
void CpuStream::matmuls(std::span<const MatmulArgs> products) {
  parts_.clear();
  for (const MatmulArgs& args : products) {
    check_view(args.x, Dtype::kF32, 2);
    check_view(args.out, Dtype::kF32, 2);
    CHECK(args.x.shape[0] == args.out.shape[0] && args.x.shape[1] == args.w.cols);
    CHECK(args.out.shape[1] == args.w.rows);
    if (!args.bias.empty()) {
      check_view(args.bias, Dtype::kF32, 1);
      CHECK(args.bias.shape[0] == args.w.rows);
    }
    if (args.x.shape[0] == 0) continue;
    parts_.push_back({
        .w = context_->weight_rows(args.w),
        .rows = args.w.rows,
        .x = row_of(args.x, 0),
        .x_stride = args.x.stride[0],
        .tokens = args.x.shape[0],
        .bias = args.bias.empty() ? nullptr : row_of(args.bias, 0),
        .out = row_of(args.out, 0),
        .out_stride = args.out.stride[0],
    });
  }
  run_matmuls(parts_);
}

// Appends the products of all experts that have rows. With x_index, row r of the permuted order
// reads x[x_index[r]].
void CpuStream::add_expert_parts(const TensorView& x, const int32_t* x_index,
                                 const int32_t* offsets, std::span<const WeightView> experts,
                                 const TensorView& out) {
  for (size_t e = 0; e < experts.size(); ++e) {
    const int64_t first = offsets[e];
    const int64_t tokens = offsets[e + 1] - first;
    CHECK(tokens >= 0 && first + tokens <= out.shape[0]);
    if (tokens == 0) continue;
    CHECK(experts[e].cols == x.shape[1] && experts[e].rows == out.shape[1]);
    parts_.push_back({
        .w = context_->weight_rows(experts[e]),
        .rows = experts[e].rows,
        .x = x_index == nullptr ? row_of(x, first) : row_of(x, 0),
        .x_stride = x.stride[0],
        .x_index = x_index == nullptr ? nullptr : x_index + first,
        .tokens = tokens,
        .out = row_of(out, first),
        .out_stride = out.stride[0],
        .x_rows = x.shape[0],
        .cold = cold_weight(experts[e]),
    });
  }
}

void CpuStream::grouped_matmul(const GroupedMatmulArgs& args) {
  check_view(args.x, Dtype::kF32, 2);
  check_view(args.out, Dtype::kF32, 2);
  check_view(args.expert_offsets, Dtype::kI32, 1);
  CHECK(args.expert_offsets.shape[0] == static_cast<int64_t>(args.experts.size()) + 1);
  CHECK(args.x.shape[0] == args.out.shape[0]);
  parts_.clear();
  add_expert_parts(args.x, nullptr, row_of<int32_t>(args.expert_offsets, 0), args.experts,
                   args.out);
  HotReads reads = reads_of_parts();
  run_parts(reads, 0, parts_.size());
}

// The stored matrix M of a head is U or Uᵀ; what is applied is U or Uᵀ. If they agree, out = M x:
// rows of M against x, like any other matmul.
void CpuStream::per_head_matmul(const PerHeadMatmulArgs& args) {
  const HeadMatrixView& u = args.u;
  const bool by_rows = u.transposed == args.apply_transposed;
  check_view(args.x, Dtype::kF32, 3);
  check_view(args.out, Dtype::kF32, 3);
  CHECK(args.x.shape[0] == args.out.shape[0]);
  CHECK(args.x.shape[1] == u.num_heads && args.out.shape[1] == u.num_heads);
  CHECK(args.x.shape[2] == (by_rows ? u.cols : u.rows));
  CHECK(args.out.shape[2] == (by_rows ? u.rows : u.cols));
  if (args.x.shape[0] == 0) return;
  if (!by_rows) return per_head_by_columns(args);
  const WeightRows w = context_->weight_rows(u.weight);
  parts_.clear();
  for (int64_t h = 0; h < u.num_heads; ++h) {
    parts_.push_back({
        .w = w,
        .first_row = u.first_row + h * u.head_stride,
        .rows = u.rows,
        .x = row_of(args.x, 0, h),
        .x_stride = args.x.stride[0],
        .tokens = args.x.shape[0],
        .out = row_of(args.out, 0, h),
        .out_stride = args.out.stride[0],
    });
  }
  run_matmuls(parts_);
}

// out = Mᵀ x: rows of M, weighted by x, are added up in order. A task is a range of columns of one
// head, decoded once for all tokens.
void CpuStream::per_head_by_columns(const PerHeadMatmulArgs& args) {
  const HeadMatrixView& u = args.u;
  const WeightRows w = context_->weight_rows(u.weight);
  const int64_t tokens = args.x.shape[0];
  // Whole blocks, and some 64 columns at least.
  const int64_t panel_cols = round_up(std::min<int64_t>(64, u.cols), w.block_elements);
  const int64_t panel_rows = std::clamp<int64_t>(kHeadPanelFloats / panel_cols, 1, u.rows);
  const int64_t panels = ceil_div(u.cols, panel_cols);
  scratch_.reserve(panel_rows * panel_cols);
  parallel(u.num_heads * panels, u.rows * panel_cols * (tokens + 4) / 8,
           [&](int64_t begin, int64_t end, int thread) {
             float* panel = scratch_.of(thread);
             for (int64_t task = begin; task < end; ++task) {
               const int64_t h = task / panels;
               const int64_t col = task % panels * panel_cols;
               const int64_t cols = std::min(panel_cols, u.cols - col);
               const int64_t first_row = u.first_row + h * u.head_stride;
               for (int64_t r = 0; r < u.rows; r += panel_rows) {
                 const int64_t rows = std::min(panel_rows, u.rows - r);
                 kernels_.decode_rows(w, first_row + r, rows, col, cols, panel, panel_cols);
                 kernels_.gemm(tokens, cols, rows, row_of(args.x, 0, h) + r, args.x.stride[0],
                               panel, panel_cols, row_of(args.out, 0, h) + col, args.out.stride[0],
                               r > 0);
               }
             }
           });
}

}  // namespace ferry::cpu
