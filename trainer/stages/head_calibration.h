// Scores of query heads: how much each retrieves over a long distance.
//
//   needle  R_h = 1/|Post| sum over t in Post, j in Pre of A_h(t, j): the share
//           of softmax mass from a late copy of a text to an early one
//           (arXiv 2605.16928, head calibration). One dense forward pass.
//   effect  what the answers lose when the head is windowed. Every head mixes
//           its two outputs by a gate, a full + (1 - a) local; with all gates
//           at a, L(a) is the KL from the dense model's top 10 at the answer
//           rows. The score is -mean over a of dL/da_h: the integral of the
//           gradient along the path from all local to all dense (integrated
//           gradients, Sundararajan et al. 2017, arXiv 1703.01365, equation 1).
//   one by one  L with that head alone windowed: the slow reference.
//
// No weight moves. Reads a model and documents; writes nothing: the caller
// makes a HeadMap of the scores. Scores are in the order layer * H + head.
// Where ranks share the rows of a sequence, all of them call these functions
// with the same document, and get the same scores: those of one rank, but for
// the order of sums over rows. model.status() tells of errors.

#ifndef RTPURBO_TRAINER_STAGES_HEAD_CALIBRATION_H_
#define RTPURBO_TRAINER_STAGES_HEAD_CALIBRATION_H_

#include <cstdint>
#include <vector>

#include "kernels/attention_mass.h"
#include "model/transformer.h"

namespace rtpurbo {

// Of one document with a text at `pre` and again at `post`.
std::vector<float> NeedleScores(Transformer& model,
                                const std::vector<std::int32_t>& tokens,
                                kernels::RowRange post, kernels::RowRange pre);

// The window that a head would have if it were local.
struct LocalShape {
  std::int64_t window = 0;
  std::int64_t sinks = 0;
};

// A question and its answer; the label row of token t is row t - 1.
struct AnsweredTokens {
  std::vector<std::int32_t> tokens;
  std::int64_t answer_begin = 0;  // first token of the answer
};

// Of one question, with gates at (i + 1/2) / points for i < points. With
// `recompute` only one block's activations are alive at a time.
// REQUIRES: all weights are frozen.
std::vector<float> EffectScores(Transformer& model, const LocalShape& local,
                                const AnsweredTokens& question,
                                std::int64_t points, bool recompute);

std::vector<float> OneByOneScores(Transformer& model, const LocalShape& local,
                                  const AnsweredTokens& question);

// Share of the best `count` heads of one ranking that are among the best
// `count` of another.
double RankOverlap(const std::vector<float>& a, const std::vector<float>& b,
                   std::int64_t count);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_STAGES_HEAD_CALIBRATION_H_
