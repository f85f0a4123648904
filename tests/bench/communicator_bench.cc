// Times of collectives: between two threads, or, started by mpirun, between
// processes.
//   communicator_bench
//   mpirun -n 2 communicator_bench
//
// GB/s are bytes that a rank sends, as dist/communicator.h counts them, over
// the time of the call.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>

#include "dist/bootstrap.h"
#include "dist/thread_communicator.h"

namespace rtpurbo::testing {
namespace {

// Seconds of the fastest `call`, which all ranks make; each begins at a
// barrier. What else the machine does can only add to it.
double Fastest(Communicator& comm, int num_calls,
               const std::function<absl::Status()>& call) {
  using Clock = std::chrono::steady_clock;
  std::chrono::duration<double> fastest(1e9);
  for (int i = 0; i < num_calls; ++i) {
    CHECK(comm.Barrier().ok());
    const Clock::time_point start = Clock::now();
    CHECK(call().ok());
    fastest =
        std::min<std::chrono::duration<double>>(fastest, Clock::now() - start);
  }
  return fastest.count();
}

void Measure(const char* kind, Communicator& comm) {
  const auto device = *Device::Open(DeviceType::kCpu);
  const ExecContext ctx = device->ctx();
  const std::int64_t n = (std::int64_t{16} << 20) / 4;
  const std::int64_t part = n / comm.size();
  Tensor two = Tensor::Zeros(ctx, DType::kF32, {2});
  Tensor full = Tensor::Zeros(ctx, DType::kF32, {part * comm.size()});
  Tensor shard = Tensor::Zeros(ctx, DType::kF32, {part});
  const double small = Fastest(
      comm, 2001, [&] { return comm.AllReduce(ctx, ReduceOp::kSum, &two); });
  const double barrier = Fastest(comm, 2001, [&] { return comm.Barrier(); });
  const auto rate = [&](CommOp op, const std::function<absl::Status()>& call) {
    const std::int64_t before = comm.stats().of(op).bytes_sent;
    const double seconds = Fastest(comm, 101, call);
    const std::int64_t sent = comm.stats().of(op).bytes_sent - before;
    return static_cast<double>(sent) / 101 / seconds / 1e9;
  };
  const double gather = rate(CommOp::kAllGather,
                             [&] { return comm.AllGather(ctx, shard, &full); });
  const double scatter = rate(CommOp::kReduceScatter, [&] {
    return comm.ReduceScatter(ctx, full, &shard);
  });
  const double reduce = rate(CommOp::kAllReduce, [&] {
    return comm.AllReduce(ctx, ReduceOp::kSum, &full);
  });
  if (comm.rank() == 0) {
    std::printf(
        "%s x%d: AllReduce of 8 B %.1f us, Barrier %.1f us; 16 MiB AllGather "
        "%.2f GB/s, ReduceScatter %.2f GB/s, AllReduce %.2f GB/s\n",
        kind, comm.size(), small * 1e6, barrier * 1e6, gather, scatter, reduce);
  }
}

int Main() {
  auto bootstrap = Bootstrap::Open();
  if (!bootstrap.ok()) {
    std::cerr << bootstrap.status() << std::endl;
    return 1;
  }
  if ((*bootstrap)->size() == 1) {
    RunRanks(2, [](Communicator& comm) { Measure("threads", comm); });
  } else {
    Measure("processes", (*bootstrap)->world());
  }
  return (*bootstrap)->Close().ok() ? 0 : 1;
}

}  // namespace
}  // namespace rtpurbo::testing

int main() {
  return rtpurbo::testing::Main();
}
