#include "kernels/select_top_p.h"

#include "kernels/core/config.h"
#include "kernels/cpu/select_top_p_fast.h"
#include "kernels/cuda/select_top_p.h"
#include "kernels/range_attention.h"

namespace rtpurbo::kernels {
namespace {

constexpr std::int64_t kMaxKeys = std::int64_t{1} << 23;

void CheckSelection(const Selection& selection) {
  CHECK_LE(1, selection.block);
  CHECK_LE(0, selection.sinks);
  CHECK_LE(-1, selection.recent);
  CHECK_LE(0, selection.top_p);
  CHECK_LE(0, selection.top_k);
}

void SelectOnCuda(const ExecContext& ctx, const Selection& selection,
                  const cpu::SelectArgs& args) {
  const cuda::SelectShape shape = {
      .M = args.M,
      .N = args.N,
      .S = args.S,
      .R = args.R,
      .query_begin = args.query_begin,
      .words = MaskWords(args.N, selection.block),
      .top_k_rule = selection.rule == Selection::Rule::kTopK,
      .by_mass = selection.order == Selection::Order::kMass,
      .top_p = selection.top_p,
      .top_k = selection.top_k,
      .block = selection.block,
      .sinks = selection.sinks,
      .recent = selection.recent,
      .scale = selection.scale};
  if constexpr (kHasCuda) {  // a debug build keeps this function without CUDA
    const Storage space(ctx.Tagged("workspace"), cuda::SelectWorkspace(shape));
    cuda::SelectTopP(shape, args.x_MSR, args.y_NSR, args.document_N,
                     args.mask_SMB, args.kept_SM, space.data(), ctx.stream);
  }
}

}  // namespace

void SelectTopP(const ExecContext& ctx, const Selection& selection,
                const Tensor& x_MSR, const Tensor& y_NSR,
                std::int64_t query_begin, const Tensor& document_N,
                Tensor* mask_SMB, Tensor* kept_SM) {
  const std::int64_t M = x_MSR.dim(0);
  const std::int64_t N = y_NSR.dim(0);
  const std::int64_t S = y_NSR.dim(1);
  const std::int64_t R = y_NSR.dim(2);
  CheckSelection(selection);
  CHECK_EQ(x_MSR.shape(), (Shape{M, S, R}));
  CHECK_LE(0, query_begin);
  CHECK_LE(query_begin + M, N);
  CHECK_LE(N, kMaxKeys) << "the fixed point of the mass holds no more keys";
  CHECK_EQ(mask_SMB->shape(), (Shape{S, M, MaskWords(N, selection.block)}));
  cpu::SelectArgs args{.M = M,
                       .N = N,
                       .S = S,
                       .R = R,
                       .query_begin = query_begin,
                       .x_MSR = x_MSR.data<float>(),
                       .y_NSR = y_NSR.data<float>(),
                       .document_N = nullptr,
                       .mask_SMB = mask_SMB->data<std::int32_t>(),
                       .kept_SM = nullptr};
  if (document_N.defined()) {
    CHECK_EQ(document_N.shape(), Shape{N});
    args.document_N = document_N.data<std::int32_t>();
  }
  if (kept_SM->defined()) {
    CHECK_EQ(kept_SM->shape(), (Shape{S, M, 2}));
    args.kept_SM = kept_SM->data<std::int32_t>();
  }
  if constexpr (kHasCuda) {
    if (OnCuda(ctx)) {
      return SelectOnCuda(ctx, selection, args);
    }
  }
  const Tensor scratch =
      Tensor::Empty(ctx.Tagged("workspace"), DType::kF32,
                    {cpu::SelectScratchSize(selection, args)});
  cpu::SelectTopPFast(selection, args, scratch.data<float>());
}

}  // namespace rtpurbo::kernels
