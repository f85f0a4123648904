// Anybody's questions to the models of a run.

#ifndef RTPURBO_TRAINER_CONVERSION_ASK_FOREIGN_H_
#define RTPURBO_TRAINER_CONVERSION_ASK_FOREIGN_H_

#include <string>

#include "absl/status/statusor.h"
#include "trainer/conversion/run_context.h"

namespace rtpurbo {

// Asks the dense teacher and, if there is an export, the converted model the
// questions of a JSON Lines file (data/foreign_questions.h), and writes their
// answers to questions/<name of the file> in the run's folder; called again, it
// goes on where it stopped. All ranks call it and answer in turn.
// Returns the table, as text. FailedPrecondition, naming file and line, if the
// file is malformed or holds no question.
absl::StatusOr<std::string> AskForeignQuestions(RunContext& run,
                                                const std::string& path);

}  // namespace rtpurbo

#endif  // RTPURBO_TRAINER_CONVERSION_ASK_FOREIGN_H_
