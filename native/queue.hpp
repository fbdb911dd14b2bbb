// Work that is a row of items, each of which needs that others before it are finished.
//
// Threads take items in their order, so the first item that is not finished is always on a thread that does not wait:
// there is no deadlock, whatever the number of threads, and whether or not the others ever come.
#pragma once
#include <atomic>
#include <stdint.h>

#ifdef _WIN32
extern "C" __declspec(dllimport) int __stdcall SwitchToThread(void);
#else
#include <sched.h>
#endif

namespace SUBPIXEL_ISA {

struct Queue {
  std::atomic<int64_t> taken, finished;  // `finished`: all items before this one are
  std::atomic<int64_t> *mark;            // of item i at i mod size: i + 1 once it is finished
  int64_t size, items;                   // of marks; of items

  // Return the next item, or -1.
  int64_t take() {
    const int64_t item = taken.fetch_add(1, std::memory_order_relaxed);
    return item < items ? item : -1;
  }

  // Wait until an item and all before it are finished. Work between two waits takes microseconds, so a thread asks
  // again and again before it lets others run.
  void wait_for(int64_t item) {
    for (int tries = 0; finished.load(std::memory_order_acquire) <= item; tries++)
      if (tries < 1000) {
        pause();
      } else {
#ifdef _WIN32
        SwitchToThread();
#else
        sched_yield();
#endif
      }
  }

  // An item may be finished only after `wait_for(item - size)`, so that its mark is free. The order of the store and
  // the loads matters: of two threads that finish neighbours, one must see what the other did.
  void finish(int64_t item) {
    mark[item % size].store(item + 1);
    int64_t next = finished.load();
    while (mark[next % size].load() == next + 1)
      if (finished.compare_exchange_strong(next, next + 1)) next++;
  }

  static void pause() {
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    asm volatile("yield");
#endif
  }
};

}  // namespace SUBPIXEL_ISA
