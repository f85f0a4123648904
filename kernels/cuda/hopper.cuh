// Hopper's asynchronous machinery in C++: barriers in shared memory that count
// arrivals and bytes, the bulk tensor copy, register budgets of warpgroups.

#ifndef RTPURBO_KERNELS_CUDA_HOPPER_CUH_
#define RTPURBO_KERNELS_CUDA_HOPPER_CUH_

#include <cuda.h>
#include <cuda_bf16.h>

#include <cstdint>

namespace rtpurbo::kernels::cuda {

__device__ inline std::uint32_t SharedAddress(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// A barrier completes a phase when `count` arrivals and all announced bytes
// are there. Waiting for parity 1 of a fresh barrier passes at once.
using Barrier = std::uint64_t;

__device__ inline void BarrierInit(Barrier* barrier, int count) {
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(count));
}
// Once, after all BarrierInit, before the block's __syncthreads.
__device__ inline void BarrierInitFence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void Arrive(Barrier* barrier) {
  asm volatile(
      "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier))
      : "memory");
}
__device__ inline void ArriveExpect(Barrier* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   SharedAddress(barrier)),
               "r"(bytes)
               : "memory");
}
__device__ inline void Wait(Barrier* barrier, int parity) {
  const std::uint32_t address = SharedAddress(barrier);
  std::uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{.reg .pred p;"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;"
        "selp.u32 %0, 1, 0, p;}"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
  }
}

// Where a ring of kStages buffers stands: `index` and the parity of this lap.
template <int kStages>
struct Stage {
  int index = 0;
  int lap = 0;
  __device__ void Next() {
    if (++index == kStages) {
      index = 0;
      lap ^= 1;
    }
  }
};

// Copies the box at (x, y, z) of `map` to shared memory; its bytes count
// towards `barrier`. What lies outside the tensor arrives as zeros.
__device__ inline void CopyBox(const CUtensorMap& map, void* to,
                               Barrier* barrier, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::"
      "complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(
          SharedAddress(to)),
      "l"(&map), "r"(x), "r"(y), "r"(z), "r"(SharedAddress(barrier))
      : "memory");
}
__device__ inline void CopyBytes(const void* from, void* to, int bytes,
                                 Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];" ::"r"(SharedAddress(to)),
      "l"(from), "r"(bytes), "r"(SharedAddress(barrier))
      : "memory");
}
__device__ inline void PrefetchMap(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// Writes of this thread to shared memory are seen by later asynchronous reads
// (products, bulk copies) that a barrier orders after this.
__device__ inline void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

template <int kRegisters>
__device__ inline void RaiseRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void LowerRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// Hardware barrier `id` of `threads` threads, some of which only arrive.
__device__ inline void NamedWait(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void NamedArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

__device__ inline float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Two floats as bf16, `low` in the low half.
__device__ inline std::uint32_t PackBf16(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_HOPPER_CUH_
