// Several models answer the same questions: evaluation.jsonl.
//
// Each answer is decoded greedily by the sparse decode path, a token at a time,
// never teacher-forced. A line is
//   {"id", "model", "kind", "tokens", "output", "answers", "exact", "contains",
//    "tokens_kept", "blocks_kept", "seconds"}
//   tokens       of the prompt and the expected answer together
//   output       what was decoded, up to the end token
//   exact        true or false; null for foreign questions
//   contains     share of the answers that the output contains
//   tokens_kept, blocks_kept   what a retrieval head kept, the mean over the
//                steps and retrieval heads; what it sees where it is dense; 0
//                without retrieval heads
//   seconds      of the answer, and its share of the prefill
//
// Models that share weights, heads and bounds share a prefill: it costs most.
// What a model answers does not depend on the others, nor on threads, so a file
// that was written with interruptions has the bytes of one that was not, apart
// from `seconds`.

#ifndef RTPURBO_TRAINER_EVALUATION_QUESTION_RUN_H_
#define RTPURBO_TRAINER_EVALUATION_QUESTION_RUN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "data/file_system.h"
#include "data/questions.h"
#include "data/tokenizer.h"
#include "dist/communicator.h"
#include "model/sparse_mode.h"
#include "model/transformer.h"

namespace rtpurbo {

struct AskedModel {
  std::string name;  // as in evaluation.jsonl: "dense", "stage 2", ...
  Transformer* model = nullptr;
  SparseMode mode;
};

// What is asked, of whom, and the file of the answers.
struct QuestionRun {
  std::vector<AskedModel> models;
  std::vector<Question> questions;
  const Tokenizer* tokenizer = nullptr;
  std::int64_t max_answer_tokens = 0;
  std::string path;
};

// Called on the first rank with the questions that all models have answered,
// also at the start.
// An error is where it ends.
using QuestionsDone = std::function<absl::Status(std::int64_t done)>;

// Appends to run.path a line for each question and model, ordered by question,
// then model.
//
// One file takes several calls with other models: their lines follow those of
// earlier calls. Called again with the same models and questions, it goes on
// where the file stops: questions that all models have answered are kept, what
// follows is cut, a line that was only half written included. If all are there
// the file is left as it is.
//
// Collective over `ranks`: questions go to them in turn, the first one writes.
// Each rank answers with models of its own, as their decoding takes as many
// steps as the answer.
//
// Returns InvalidArgument for a model's name that comes twice and for a
// question that is too long or has unknown tokens; FailedPrecondition if the
// file holds answers of these models to other questions, or not in this order;
// DataLoss, naming the line, if it is damaged; what the file system or a
// collective says.
absl::Status AskQuestions(const ExecContext& ctx, FileSystem& files,
                          Communicator& ranks, const QuestionRun& run,
                          const QuestionsDone& progress);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_EVALUATION_QUESTION_RUN_H_
