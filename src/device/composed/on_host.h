// ComposedStream::on_host(), for the files that use it.
#pragma once

#include <vector>

#include "device/composed/stream.h"

namespace ferry::composed {

template <typename Args>
void ComposedStream::on_host(Op name, const Args& args,
                             std::initializer_list<TensorView Args::*> inputs,
                             std::initializer_list<TensorView Args::*> outputs,
                             void (Stream::*op)(const Args&)) {
  if (!p_->begin(op_name(name))) return;
  // What lies between the rows of an output goes out and comes back with it, unchanged.
  Args on_copies = args;
  std::vector<std::vector<char>> copies;
  const auto fetch = [&](TensorView Args::*member) {
    TensorView& view = on_copies.*member;
    if (view.empty()) return;
    copies.emplace_back(static_cast<size_t>(view.extent_bytes()));
    p_->copy_out(copies.back().data(), view.data, view.extent_bytes());
    view.data = copies.back().data();
  };
  for (TensorView Args::*member : inputs) fetch(member);
  for (TensorView Args::*member : outputs) fetch(member);
  if (!p_->ok() || !p_->synchronize().ok()) return;
  (reference_.get()->*op)(on_copies);
  for (TensorView Args::*member : outputs) {
    const TensorView& view = args.*member;
    p_->copy_in(view.data, (on_copies.*member).data, view.extent_bytes());
  }
  static_cast<void>(p_->synchronize());  // the copies end here; an error sticks
}

}  // namespace ferry::composed
