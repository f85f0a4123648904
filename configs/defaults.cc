#include "configs/defaults.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/core/check.h"

namespace rtpurbo {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Writes the schema's default into a field; a getter would return it unwritten.
void FillField(const FieldDescriptor* field, Message* message) {
  const Reflection& reflection = *message->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.SetInt64(message, field, field->default_value_int64());
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.SetUInt64(message, field,
                                  field->default_value_uint64());
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.SetDouble(message, field,
                                  field->default_value_double());
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.SetBool(message, field, field->default_value_bool());
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.SetEnum(message, field, field->default_value_enum());
    default:
      CHECK(false) << "a default of this type: " << field->full_name();
  }
}

void FillFromSchema(Message* message) {
  const Reflection& reflection = *message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->field(i);
    if (field->is_repeated()) {
      continue;
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      FillFromSchema(reflection.MutableMessage(message, field));
    } else if (field->has_default_value() &&
               !reflection.HasField(*message, field)) {
      FillField(field, message);
    }
  }
}

template <typename Repeated, typename T>
void FillList(std::initializer_list<T> values, Repeated* list) {
  if (list->empty()) {
    list->Add(values.begin(), values.end());
  }
}

// Times a small number, without overflow: bounds are checked later.
std::int64_t Times(std::int64_t factor, std::int64_t x) {
  return factor * std::clamp<std::int64_t>(x, 0, std::int64_t{1} << 50);
}

void FillStages(configs::Run* run) {
  const std::int64_t tokens = run->data().tokens();
  if (!run->calibration().has_tokens()) {
    run->mutable_calibration()->set_tokens(Times(4, run->attention().window()));
  }
  if (!run->align().has_tokens()) {
    run->mutable_align()->set_tokens(tokens);
  }
  configs::Distill* distill = run->mutable_distill();
  if (!distill->has_tokens()) {
    distill->set_tokens(tokens);
  }
  if (!distill->has_text_label_tokens()) {
    distill->set_text_label_tokens(distill->label_tokens());
  }
  if (!distill->has_held_out_every()) {
    distill->set_held_out_every(
        std::max<std::int64_t>(1, distill->steps() / 4));
  }
}

void FillLists(configs::Run* run) {
  using configs::QuestionKind;
  const std::initializer_list<QuestionKind> all = {
      configs::SINGLE, configs::MULTI_KEY, configs::MULTI_VALUE,
      configs::MULTI_QUERY, configs::VARIABLE_TRACKING};
  FillList(all, run->mutable_data()->mutable_question_kinds());
  FillList(all, run->mutable_calibration()->mutable_effect_kinds());
  FillList({0.5, 0.8, 0.9, 0.95}, run->mutable_align()->mutable_recall_at());
  configs::Evaluation* evaluation = run->mutable_evaluation();
  FillList({configs::SINGLE, configs::MULTI_KEY, configs::MULTI_QUERY,
            configs::VARIABLE_TRACKING},
           evaluation->mutable_kinds());
  FillList({run->data().tokens()}, evaluation->mutable_tokens());
}

}  // namespace

void FillDefaults(std::int64_t world_size, configs::Run* run) {
  if (!run->has_mesh()) {
    run->mutable_mesh()->set_shard(world_size);
  }
  FillFromSchema(run);
  configs::Attention* attention = run->mutable_attention();
  if (!attention->has_dense_below()) {
    attention->set_dense_below(Times(2, attention->window()));
  }
  if (!run->data().has_min_tokens()) {
    run->mutable_data()->set_min_tokens(run->data().tokens());
  }
  FillStages(run);
  FillLists(run);
}

}  // namespace rtpurbo
