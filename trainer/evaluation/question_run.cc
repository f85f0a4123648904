#include "trainer/evaluation/question_run.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/answer_score.h"
#include "data/strict_json.h"
#include "dist/agree.h"
#include "kernels/core/process.h"
#include "kernels/core/status_macros.h"
#include "model/generator.h"
#include "nlohmann/json.hpp"

namespace rtpurbo {
namespace {

struct Answer {
  Generated generated;
  double seconds = 0;
};

std::string LineOf(const Question& question, const std::string& model,
                   const Tokenizer& tokenizer, const Answer& answer) {
  const Generated& generated = answer.generated;
  std::vector<std::int32_t> output_T = generated.token_T;
  if (generated.ended) {  // any end token of the model is one
    output_T.back() = question.answer_T.back();
  }
  const AnswerScore score = ScoreAnswer(question, tokenizer, output_T);
  const auto per_row = [&](std::int64_t sum) {
    const std::int64_t rows = std::max<std::int64_t>(1, generated.counts.rows);
    return static_cast<double>(sum) / static_cast<double>(rows);
  };
  nlohmann::ordered_json line;
  line["id"] = question.id;
  line["model"] = model;
  line["kind"] = std::string(QuestionKindName(question.kind));
  line["tokens"] = question.prompt_T.size() + question.answer_T.size();
  line["output"] = score.output;
  line["answers"] = question.answers;
  line["exact"] = nullptr;
  if (score.exact.has_value()) {
    line["exact"] = *score.exact;
  }
  line["contains"] = score.contains;
  line["tokens_kept"] = per_row(generated.counts.tokens);
  line["blocks_kept"] = per_row(generated.counts.blocks);
  line["seconds"] = answer.seconds;
  return line.dump() + "\n";
}

// Models of which one prefill serves all.
using Group = std::vector<const AskedModel*>;

std::vector<Group> GroupsOf(const std::vector<AskedModel>& models) {
  std::vector<Group> groups;
  for (const AskedModel& asked : models) {
    const auto group =
        std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
          return g[0]->model == asked.model &&
                 SharePrefill(g[0]->mode, asked.mode);
        });
    if (group == groups.end()) {
      groups.push_back({&asked});
    } else {
      group->push_back(&asked);
    }
  }
  return groups;
}

// answers[i] is set for models[i] of the group.
absl::Status AnswerOf(const Group& group, const AskedModel* first,
                      const Question& question, std::int64_t max_answer_tokens,
                      std::vector<Answer>* answers) {
  Transformer& model = *group[0]->model;
  RETURN_IF_ERROR(CheckPrompt(model, question.prompt_T, max_answer_tokens));
  std::vector<const SparseMode*> modes;
  for (const AskedModel* asked : group) {
    modes.push_back(&asked->mode);
  }
  const double begin = SteadySeconds();
  std::vector<KvCache> caches = Prefill(model, question.prompt_T, modes);
  RETURN_IF_ERROR(model.status());
  const double prefill =
      (SteadySeconds() - begin) / static_cast<double>(group.size());
  GenerateOptions options;
  options.max_tokens = max_answer_tokens;
  options.end_tokens = model.config().end_tokens;
  options.end_tokens.push_back(question.answer_T.back());
  for (std::size_t i = 0; i < group.size(); ++i) {
    Answer& answer = (*answers)[static_cast<std::size_t>(group[i] - first)];
    const double decode_begin = SteadySeconds();
    SparseDecoder decoder(model, *modes[i], std::move(caches[i]));
    ASSIGN_OR_RETURN(answer.generated,
                     Generate(model, &decoder, question.prompt_T.back(),
                              options, /*on_token=*/{}));
    answer.seconds = prefill + SteadySeconds() - decode_begin;
  }
  return absl::OkStatus();
}

// A line that is already in the file.
struct Written {
  std::string id;
  std::string model;
  std::int64_t offset;  // of its first byte
};

absl::StatusOr<Written> ParseWritten(absl::string_view text,
                                     const std::string& where,
                                     std::int64_t offset) {
  ASSIGN_OR_RETURN(const nlohmann::json line, ParseStrictJson(text, where));
  const auto field = [&](const char* key) {
    return line.is_object() && line.contains(key) && line[key].is_string()
               ? line[key].get<std::string>()
               : "";
  };
  Written written{field("id"), field("model"), offset};
  if (written.model.empty()) {
    return absl::DataLossError(absl::StrCat(
        where, ": is not the answer of a model; remove the file to ask again"));
  }
  return written;
}

struct WrittenFile {
  std::vector<Written> lines;
  std::int64_t whole_bytes = 0;  // without a line that was only half written
};

absl::StatusOr<WrittenFile> ReadWritten(FileSystem& files,
                                        const std::string& path) {
  WrittenFile file;
  ASSIGN_OR_RETURN(const bool exists, files.Exists(path));
  if (!exists) {
    return file;
  }
  ASSIGN_OR_RETURN(const std::string text, files.ReadFile(path));
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos;
       end = text.find('\n', begin)) {
    ASSIGN_OR_RETURN(
        Written line,
        ParseWritten(absl::string_view(text).substr(begin, end - begin),
                     absl::StrCat(path, ":", file.lines.size() + 1),
                     static_cast<std::int64_t>(begin)));
    file.lines.push_back(std::move(line));
    begin = end + 1;
  }
  file.whole_bytes = static_cast<std::int64_t>(begin);
  return file;
}

// How far a run with these models and questions has come.
struct Place {
  std::size_t questions_done = 0;
  std::int64_t offset = 0;  // where the next line goes
};

class Resume {
 public:
  Resume(const std::vector<AskedModel>& models,
         const std::vector<Question>& questions, const std::string& path)
      : models_(models), questions_(questions), path_(path) {}

  absl::StatusOr<Place> Find(const WrittenFile& file) const {
    const auto first =
        std::find_if(file.lines.begin(), file.lines.end(),
                     [&](const Written& line) { return IsOurs(line); });
    const auto begin = static_cast<std::size_t>(first - file.lines.begin());
    const std::size_t total = models_.size() * questions_.size();
    std::size_t count = 0;  // of our lines
    while (begin + count < file.lines.size() && count < total &&
           IsOurs(file.lines[begin + count])) {
      RETURN_IF_ERROR(CheckLine(file, begin + count, count));
      ++count;
    }
    for (std::size_t i = begin + count; i < file.lines.size(); ++i) {
      if (count < total || IsOurs(file.lines[i])) {
        return Mismatch(file, i, "no more of these models' answers");
      }
    }
    count -= count % models_.size();  // whole questions
    const std::size_t next = begin + count;
    return Place{count / models_.size(), next < file.lines.size()
                                             ? file.lines[next].offset
                                             : file.whole_bytes};
  }

 private:
  bool IsOurs(const Written& line) const {
    return std::any_of(
        models_.begin(), models_.end(),
        [&](const AskedModel& m) { return m.name == line.model; });
  }
  absl::Status CheckLine(const WrittenFile& file, std::size_t i,
                         std::size_t count) const {
    const std::string& id = questions_[count / models_.size()].id;
    const std::string& model = models_[count % models_.size()].name;
    if (file.lines[i].id == id && file.lines[i].model == model) {
      return absl::OkStatus();
    }
    return Mismatch(
        file, i,
        absl::StrCat("that of \"", model, "\" to question \"", id, "\""));
  }
  absl::Status Mismatch(const WrittenFile& file, std::size_t i,
                        absl::string_view expected) const {
    return absl::FailedPreconditionError(absl::StrCat(
        path_, ":", i + 1, ": the answer of \"", file.lines[i].model,
        "\" to question \"", file.lines[i].id, "\", where ", expected,
        " can be: models or questions are not those that the file was begun "
        "with. Remove it to ask again"));
  }

  const std::vector<AskedModel>& models_;
  const std::vector<Question>& questions_;
  const std::string& path_;
};

absl::Status CheckNames(const std::vector<AskedModel>& models) {
  for (std::size_t i = 0; i < models.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (models[i].name == models[j].name) {
        return absl::InvalidArgumentError(
            absl::StrCat("two models to ask are called \"", models[i].name,
                         "\": give each a name of its own"));
      }
    }
  }
  return absl::OkStatus();
}

// The lines that answer question q, in the order of the models.
absl::StatusOr<std::string> LinesOf(const QuestionRun& run,
                                    const std::vector<Group>& groups,
                                    std::size_t q) {
  const Question& question = run.questions[q];
  std::vector<Answer> answers(run.models.size());
  for (const Group& group : groups) {
    const absl::Status status = AnswerOf(group, run.models.data(), question,
                                         run.max_answer_tokens, &answers);
    if (!status.ok()) {
      return absl::Status(
          status.code(),
          absl::StrCat("question \"", question.id, "\": ", status.message()));
    }
  }
  std::string lines;
  for (std::size_t m = 0; m < run.models.size(); ++m) {
    lines += LineOf(question, run.models[m].name, *run.tokenizer, answers[m]);
  }
  return lines;
}

// The file of the answers: on the first rank.
class AnswerFile {
 public:
  AnswerFile(FileSystem& files, const QuestionRun& run)
      : files_(files), run_(run) {}

  // How many questions are answered in it. What comes after them is cut, unless
  // these are all.
  absl::StatusOr<std::int64_t> Open() {
    ASSIGN_OR_RETURN(const WrittenFile written, ReadWritten(files_, run_.path));
    ASSIGN_OR_RETURN(
        const Place place,
        Resume(run_.models, run_.questions, run_.path).Find(written));
    if (place.questions_done < run_.questions.size()) {
      ASSIGN_OR_RETURN(file_,
                       files_.OpenForWrite(run_.path, WriteMode::kAppend));
      RETURN_IF_ERROR(file_->Truncate(place.offset));
    }
    return static_cast<std::int64_t>(place.questions_done);
  }
  absl::Status Append(absl::string_view lines) {
    return file_->Append(AsBytes(lines));
  }
  absl::Status Close() {
    if (file_ == nullptr) {
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(file_->Sync());
    RETURN_IF_ERROR(file_->Close());
    return files_.SyncDirectory(ParentDirectory(run_.path));
  }

 private:
  FileSystem& files_;
  const QuestionRun& run_;
  std::unique_ptr<WritableFile> file_;
};

}  // namespace

absl::Status AskQuestions(const ExecContext& ctx, FileSystem& files,
                          Communicator& ranks, const QuestionRun& run,
                          const QuestionsDone& progress) {
  RETURN_IF_ERROR(CheckNames(run.models));
  if (run.models.empty() || run.questions.empty()) {
    return absl::OkStatus();
  }
  AnswerFile file(files, run);
  const auto open = [&]() -> absl::StatusOr<std::int64_t> {
    ASSIGN_OR_RETURN(const std::int64_t answered, file.Open());
    RETURN_IF_ERROR(progress(answered));
    return answered;
  };
  ASSIGN_OR_RETURN(const std::int64_t done,
                   NumberFromFirstRank(ctx, ranks, open));
  const std::vector<Group> groups = GroupsOf(run.models);
  const OrderedWork work = {
      [&](std::int64_t q) {
        return LinesOf(run, groups, static_cast<std::size_t>(q));
      },
      [&](std::int64_t q, absl::string_view lines) -> absl::Status {
        RETURN_IF_ERROR(file.Append(lines));
        return progress(q + 1);
      }};
  RETURN_IF_ERROR(ShareOutInOrder(
      ctx, ranks, done, static_cast<std::int64_t>(run.questions.size()), work));
  return OnFirstRank(ctx, ranks, [&] { return file.Close(); });
}

}  // namespace rtpurbo
