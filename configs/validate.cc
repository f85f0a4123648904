#include "configs/validate.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Collects problems and names the fields of a run by path.
class Checker {
 public:
  explicit Checker(const FieldOrigins& origins) : origins_(origins) {}

  // A problem with the field `path`; `message` goes on after its name.
  void Add(const std::string& path, const std::string& message) {
    problems_.push_back(
        absl::StrCat(origins_.Of(path), ": ", path, message,
                     origins_.IsWritten(path) ? "" : " (it was not set)"));
  }
  template <typename... Parts>
  void Require(bool holds, const std::string& path, const Parts&... message) {
    if (!holds) {
      Add(path, absl::StrCat(message...));
    }
  }

  // Ranges and enums of every field in `message`.
  void CheckFields(const std::string& prefix, const Message& message);

  absl::Status ToStatus() const {
    return problems_.empty()
               ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrJoin(problems_, "\n"));
  }

 private:
  template <typename Number>
  void CheckNumber(const std::string& path, const FieldDescriptor& field,
                   Number value);
  void CheckEnum(const std::string& path, const EnumValueDescriptor& value);
  void CheckElements(const std::string& path, const Message& message,
                     const FieldDescriptor* field);
  void CheckField(const std::string& path, const Message& message,
                  const FieldDescriptor* field);

  const FieldOrigins& origins_;
  std::vector<std::string> problems_;
};

template <typename Number>
void Checker::CheckNumber(const std::string& path, const FieldDescriptor& field,
                          Number value) {
  const std::string& range = field.options().GetExtension(configs::range);
  Require(range.empty() || IsInRange(static_cast<double>(value), range), path,
          " is ", value, ", but must be in ", range);
}

void Checker::CheckEnum(const std::string& path,
                        const EnumValueDescriptor& value) {
  std::vector<std::string> names;
  for (int i = 1; i < value.type()->value_count(); ++i) {
    names.push_back(value.type()->value(i)->name());
  }
  Require(value.number() != 0, path, " is ", value.name(),
          ", but must be one of ", absl::StrJoin(names, ", "));
}

void Checker::CheckElements(const std::string& path, const Message& message,
                            const FieldDescriptor* field) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
    const std::string element = absl::StrCat(path, "[", i, "]");
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT64:
        CheckNumber(element, *field,
                    reflection.GetRepeatedInt64(message, field, i));
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        CheckNumber(element, *field,
                    reflection.GetRepeatedDouble(message, field, i));
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        CheckEnum(element, *reflection.GetRepeatedEnum(message, field, i));
        break;
      default:
        break;
    }
  }
}

void Checker::CheckField(const std::string& path, const Message& message,
                         const FieldDescriptor* field) {
  const Reflection& reflection = *message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return CheckFields(absl::StrCat(path, "."),
                         reflection.GetMessage(message, field));
    case FieldDescriptor::CPPTYPE_INT64:
      return CheckNumber(path, *field, reflection.GetInt64(message, field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return CheckNumber(path, *field, reflection.GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return CheckEnum(path, *reflection.GetEnum(message, field));
    default:
      return;
  }
}

void Checker::CheckFields(const std::string& prefix, const Message& message) {
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const std::string path = absl::StrCat(prefix, field->name());
    if (field->is_repeated()) {
      CheckElements(path, message, field);
    } else {
      CheckField(path, message, field);
    }
  }
}

// The largest number if the sum is larger: bounds may not hold here.
std::int64_t Sum(std::initializer_list<std::int64_t> terms) {
  std::int64_t sum = 0;
  for (const std::int64_t term : terms) {
    if (__builtin_add_overflow(sum, term, &sum)) {
      return std::numeric_limits<std::int64_t>::max();
    }
  }
  return sum;
}

template <typename List>
bool HasDuplicates(const List& list) {
  return std::set<typename List::value_type>(list.begin(), list.end()).size() !=
         static_cast<std::size_t>(list.size());
}

void CheckInputs(const configs::Run& run, Checker* checker) {
  checker->Require(!run.model().path().empty(), "model.path",
                   " is missing: name the teacher's folder");
  checker->Require(run.data().paths_size() > 0, "data.paths",
                   " is missing: name at least one file or folder of text");
  const configs::Data& data = run.data();
  checker->Require(data.min_tokens() <= data.tokens(), "data.min_tokens",
                   " is ", data.min_tokens(), ", more than data.tokens, ",
                   data.tokens());
  checker->Require(!HasDuplicates(data.question_kinds()), "data.question_kinds",
                   " names a kind twice");
  for (int i = 0; i < data.paths_size(); ++i) {
    checker->Require(!data.paths(i).empty(),
                     absl::StrCat("data.paths[", i, "]"), " is empty");
  }
  const std::int64_t block = run.attention().block();
  checker->Require(block < 1 || (block & (block - 1)) == 0, "attention.block",
                   " is ", block, ", but must be a power of two");
}

// A sequence of `tokens` in which some head is sparse and a needle fits.
void CheckLength(const configs::Run& run, const std::string& path,
                 std::int64_t tokens, bool has_questions, Checker* checker) {
  const configs::Attention& attention = run.attention();
  checker->Require(tokens > attention.dense_below(), path, " is ", tokens,
                   ", but up to attention.dense_below, ",
                   attention.dense_below(),
                   " tokens, every head is dense: nothing would be sparse");
  const std::int64_t least = Sum({run.data().first_needle(), attention.window(),
                                  run.data().needle_margin()});
  checker->Require(!has_questions || tokens > least, path, " is ", tokens,
                   ", too short for a question: data.first_needle + "
                   "attention.window + data.needle_margin is ",
                   least);
}

void CheckCalibration(const configs::Run& run, Checker* checker) {
  const configs::Calibration& calibration = run.calibration();
  const std::int64_t least =
      Sum({run.data().first_needle(), calibration.needle_tokens(),
           calibration.needle_tokens(), run.attention().window(),
           run.attention().sinks()});
  checker->Require(calibration.tokens() > least, "calibration.tokens", " is ",
                   calibration.tokens(),
                   ", too short for two needles further apart than the window: "
                   "needs more than ",
                   least);
  checker->Require(!HasDuplicates(calibration.effect_kinds()),
                   "calibration.effect_kinds", " names a kind twice");
}

void CheckAlign(const configs::Run& run, Checker* checker) {
  const configs::Align& align = run.align();
  CheckLength(run, "align.tokens", align.tokens(), align.question_share() > 0,
              checker);
  checker->Require(align.warmup_steps() <= align.steps(), "align.warmup_steps",
                   " is ", align.warmup_steps(), ", more than align.steps, ",
                   align.steps());
  checker->Require(align.answer_rows() < align.tokens(), "align.answer_rows",
                   " is ", align.answer_rows(),
                   ", but must be less than align.tokens, ", align.tokens());
  checker->Require(!HasDuplicates(align.recall_at()), "align.recall_at",
                   " names a mass twice");
}

void CheckDistill(const configs::Run& run, Checker* checker) {
  const configs::Distill& distill = run.distill();
  CheckLength(run, "distill.tokens", distill.tokens(),
              distill.question_share() > 0, checker);
  checker->Require(distill.warmup_steps() <= distill.steps(),
                   "distill.warmup_steps", " is ", distill.warmup_steps(),
                   ", more than distill.steps, ", distill.steps());
  checker->Require(distill.label_tokens() < distill.tokens(),
                   "distill.label_tokens", " is ", distill.label_tokens(),
                   ", but must be less than distill.tokens, ",
                   distill.tokens());
  checker->Require(
      distill.text_label_tokens() <= distill.label_tokens(),
      "distill.text_label_tokens", " is ", distill.text_label_tokens(),
      ", more than distill.label_tokens, ", distill.label_tokens());
  checker->Require(distill.held_out_every() <= distill.steps(),
                   "distill.held_out_every", " is ", distill.held_out_every(),
                   ", more than distill.steps, ", distill.steps());
}

void CheckEvaluation(const configs::Run& run, Checker* checker) {
  const configs::Evaluation& evaluation = run.evaluation();
  checker->Require(!HasDuplicates(evaluation.kinds()), "evaluation.kinds",
                   " names a kind twice");
  const auto& kinds = evaluation.kinds();
  checker->Require(evaluation.multi_value_questions() == 0 ||
                       std::find(kinds.begin(), kinds.end(),
                                 configs::MULTI_VALUE) == kinds.end(),
                   "evaluation.multi_value_questions",
                   " is set, and evaluation.kinds names MULTI_VALUE too: "
                   "choose one");
  checker->Require(!HasDuplicates(evaluation.tokens()), "evaluation.tokens",
                   " names a length twice");
  for (int i = 0; i < evaluation.tokens_size(); ++i) {
    CheckLength(run, absl::StrCat("evaluation.tokens[", i, "]"),
                evaluation.tokens(i), true, checker);
  }
}

// Divisions rather than a product, which could overflow.
void CheckMesh(const configs::Mesh& mesh, std::int64_t world_size,
               Checker* checker) {
  std::int64_t rest = world_size;
  bool divides = true;
  for (const std::int64_t axis :
       {mesh.replica(), mesh.shard(), mesh.sequence(), mesh.expert()}) {
    divides = divides && axis > 0 && rest % axis == 0;
    rest = divides ? rest / axis : rest;
  }
  checker->Require(divides && rest == 1, "mesh", " is ", mesh.replica(), " x ",
                   mesh.shard(), " x ", mesh.sequence(), " x ", mesh.expert(),
                   " (replica, shard, sequence, expert), but the run has ",
                   world_size, world_size == 1 ? " process" : " processes");
}

}  // namespace

absl::Status Validate(const configs::Run& run, const FieldOrigins& origins,
                      std::int64_t world_size) {
  Checker checker(origins);
  checker.CheckFields("", run);
  CheckInputs(run, &checker);
  CheckCalibration(run, &checker);
  CheckAlign(run, &checker);
  CheckDistill(run, &checker);
  CheckEvaluation(run, &checker);
  CheckMesh(run.mesh(), world_size, &checker);
  return checker.ToStatus();
}

bool IsInRange(double value, const std::string& range) {
  const std::vector<std::string> ends =
      absl::StrSplit(range.substr(1, range.size() - 2), ", ");
  double low = 0;
  double high = 0;
  CHECK(ends.size() == 2 && absl::SimpleAtod(ends[0], &low) &&
        absl::SimpleAtod(ends[1], &high))
      << "not an interval: " << range;
  // Written so that NaN is outside.
  return (range.front() == '[' ? value >= low : value > low) &&
         (range.back() == ']' ? value <= high : value < high);
}

}  // namespace rtpurbo
