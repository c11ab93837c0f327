// See stack.h.
#include "grammar/stack.h"

namespace ferry::grammar {
namespace {

uint64_t mix_stack(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15u + (hash << 6) + (hash >> 2);
  return hash * 0xFF51AFD7ED558CCDu;
}

void sort_unique(std::vector<Thread>& threads) {
  std::sort(threads.begin(), threads.end());
  threads.erase(std::unique(threads.begin(), threads.end()), threads.end());
}

}  // namespace

FrameTable::FrameTable() { sets_.push_back({0, 0, 0}); }

uint32_t FrameTable::intern(const std::vector<Thread>& frames) {
  uint64_t hash = frames.size();
  for (const Thread& frame : frames) {
    hash = mix_stack(hash, (uint64_t{frame.node} << 32) | frame.frames);
  }
  const auto [begin, end] = index_.equal_range(hash);
  for (auto found = begin; found != end; ++found) {
    const std::span<const Thread> known = this->frames(found->second);
    if (std::equal(known.begin(), known.end(), frames.begin(), frames.end())) return found->second;
  }
  int depth = 0;
  for (const Thread& frame : frames) depth = std::max(depth, sets_[frame.frames].depth);
  const auto id = static_cast<uint32_t>(sets_.size());
  sets_.push_back(
      {static_cast<uint32_t>(threads_.size()), static_cast<uint32_t>(frames.size()), depth + 1});
  threads_.insert(threads_.end(), frames.begin(), frames.end());
  index_.emplace(hash, id);
  return id;
}

State Stepper::start() { return settle({{program_.rule(0).start, 0}}); }

State Stepper::step(const State& state, uint8_t byte) {
  std::vector<Thread> reached;
  for (const Thread& thread : state.threads) {
    const int64_t next = program_.next(thread.node, byte);
    if (next >= 0) reached.push_back({static_cast<uint32_t>(next), thread.frames});
  }
  return settle(std::move(reached));
}

State Stepper::step_token(const State& state, int32_t token) {
  std::vector<Thread> reached;
  for (const Thread& thread : state.threads) {
    const int64_t next = program_.next_token(thread.node, token);
    if (next >= 0) reached.push_back({static_cast<uint32_t>(next), thread.frames});
  }
  return settle(std::move(reached));
}

State Stepper::after_return(uint32_t frames) {
  State out;
  std::vector<Thread> threads;
  add_return(frames, threads, out);
  State rest = settle(std::move(threads));
  rest.complete |= out.complete;
  return rest;
}

// Returns first, then calls by rank: when a rule is called, all its callers are known.
State Stepper::settle(std::vector<Thread> threads) {
  State out;
  sort_unique(threads);
  for (size_t at = 0; at < threads.size(); ++at) {
    const Thread thread = threads[at];
    if (program_.node(thread.node).accepting) add_return(thread.frames, threads, out);
  }
  for (const Thread& thread : threads) {
    if (fits(table_.depth(thread.frames), thread.node)) add_calls(thread);
  }
  while (!pending_.empty()) {
    Pending next = std::move(pending_.back());
    pending_.pop_back();
    sort_unique(next.frames);
    const Thread callee{program_.rule(next.rule).start, table_.intern(next.frames)};
    threads.push_back(callee);
    add_calls(callee);
  }
  std::erase_if(threads, [&](const Thread& thread) {
    if (!fits(table_.depth(thread.frames), thread.node)) return true;
    if (!program_.edges(thread.node).empty()) return false;
    const std::span<const Dfa::Jump> jumps = program_.jumps(thread.node);
    return std::all_of(jumps.begin(), jumps.end(),
                       [](const Dfa::Jump& jump) { return jump.kind == Dfa::JumpKind::kCall; });
  });
  sort_unique(threads);
  out.threads = std::move(threads);
  return out;
}

void Stepper::add_return(uint32_t frames, std::vector<Thread>& threads, State& out) {
  if (frames == 0) {
    out.complete = true;
    return;
  }
  for (const Thread& frame : table_.frames(frames)) {
    if (std::find(threads.begin(), threads.end(), frame) == threads.end()) {
      threads.push_back(frame);
    }
  }
}

void Stepper::add_calls(const Thread& thread) {
  const int depth = table_.depth(thread.frames);
  for (const Dfa::Jump& jump : program_.jumps(thread.node)) {
    if (jump.kind != Dfa::JumpKind::kCall) continue;
    const Program::Rule& rule = program_.rule(jump.id);
    if (!fits(depth + 1, rule.start) || !fits(depth, jump.target)) continue;
    // Descending, so that the rule with the lowest rank is at the back.
    const auto place = std::partition_point(
        pending_.begin(), pending_.end(),
        [&](const Pending& pending) { return program_.rule(pending.rule).rank > rule.rank; });
    if (place != pending_.end() && place->rule == jump.id) {
      place->frames.push_back({jump.target, thread.frames});
    } else {
      pending_.insert(place, {jump.id, {{jump.target, thread.frames}}});
    }
  }
}

}  // namespace ferry::grammar
