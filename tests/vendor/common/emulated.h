// What emulated chips have in common: memory that the host can't touch, queues that run late on
// threads of their own, and faults that a test asks for. For the emulated vendor libraries only;
// shares no code with ferry.
//
// Settings come from the environment, because the libraries are loaded as the vendor's would be:
//
//   FERRY_EMULATED_DEVICES      how many devices there are (1)
//   FERRY_EMULATED_MEMORY_MIB   memory of each (16384)
//   FERRY_EMULATED_FAULT        busy, permission, driver or none: what opening a device says
//   FERRY_EMULATED_WRONG        a function whose results are wrong
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace emulated {

int64_t setting(const char* name, int64_t otherwise);
std::string setting(const char* name);
bool is_wrong(const char* function);

// Device memory: the same pages are mapped twice, once without any rights where the host thinks
// they are, and once where only the emulator looks. So a host that reads a device address faults,
// at any time and on any thread. Fresh memory is full of 0xFF: NaN in every float type, −1 as an
// index.
class Memory {
 public:
  explicit Memory(int64_t total_bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void* take(int64_t bytes);  // nullptr: not that much left
  bool give_back(void* data);
  // Whether [data, data + bytes) lies inside one piece that was taken.
  bool holds(const void* data, int64_t bytes) const;
  // The piece that was taken around `data`, if there is one.
  bool piece_of(const void* data, const char** begin, const char** end) const;
  bool is_device(const void* data) const;
  // Where the emulator finds a device address.
  char* inside(const void* data) const {
    return inside_ + (static_cast<const char*>(data) - outside_);
  }
  // The device address that inside() takes there; nullptr: none.
  const char* outside(const void* inside) const;
  int64_t total_bytes() const { return total_bytes_; }
  int64_t free_bytes() const;

 private:
  int64_t total_bytes_;
  int file_;
  char* outside_;
  char* inside_;
  mutable std::mutex mutex_;
  std::map<int64_t, int64_t> pieces_;  // offset → bytes
  int64_t used_bytes_ = 0;
};

// What a queue leaves when it gets there.
class Mark {
 public:
  void reach();
  void wait();

 private:
  std::mutex mutex_;
  std::condition_variable reached_;
  bool done_ = false;
};

// A thread that runs tasks in order, with pauses at random. A task gives 0, or a status that
// sticks: after that nothing more is run, and every sync() gives it.
class TaskQueue {
 public:
  TaskQueue();
  ~TaskQueue();  // waits for what was pushed
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  void push(std::function<int()> task);
  // Reaches the mark when it gets there, after a failure too: others may wait for it.
  void push(std::shared_ptr<Mark> mark);
  int sync();

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  struct Task {
    std::function<int()> run;  // or
    std::shared_ptr<Mark> mark;
  };
  std::deque<Task> tasks_;
  bool running_ = false, ending_ = false;
  int status_ = 0;
  uint64_t random_;
  std::thread thread_;
};

// For tests, from each library by itself: bytes of all pieces of its Memory that are taken, as they
// were asked for, and the most that they ever were.
extern "C" int64_t ferry_emulated_taken_bytes();
extern "C" int64_t ferry_emulated_most_taken_bytes();

// Numbers of 16 bits; rounding to nearest even.
float from_half(uint16_t bits);
uint16_t to_half(float value);
float from_bfloat(uint16_t bits);
uint16_t to_bfloat(float value);

}  // namespace emulated
