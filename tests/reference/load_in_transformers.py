#!/usr/bin/env python3
"""Shows that an exported folder is an ordinary model for transformers.

    load_in_transformers.py EXPORT TEACHER [--tokens 64] [--same-weights]

Needs the Python packages `torch`, `transformers` and `safetensors`. Loads both
folders with AutoModelForCausalLM and AutoTokenizer as anybody would, and checks

- every weight of the loaded export is the one in its .safetensors, bit for bit,
  none is missing, none is left over, and names, types and shapes are the
  teacher's; with --same-weights (an export that was not trained) values too;
- the tokenizer gives the same ids;
- config.json is the teacher's but for `headwise_config`;
- a forward pass gives finite logits; with --same-weights the teacher's.

Prints a line for each; exits with 1 if one fails.
"""
import argparse
import json
import pathlib
import sys

import safetensors.torch
import torch
import transformers

TEXT = "The passkey is 71432. Don't panic: 3.14 \u4f60\u597d"


def load(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", output_loading_info=True,
        attn_implementation="eager")
    return model.eval(), {k: sorted(v) for k, v in info.items() if v}


def tensors(folder):
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        if path.name != "projections.safetensors":
            found |= safetensors.torch.load_file(path)
    return found


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def loaded_values(model, name):
    """The value that the model holds for a published tensor, or None."""
    state = model.state_dict()
    if name in state:
        return state[name]
    # Newer versions keep the experts of a layer in one tensor.
    head, found, tail = name.partition(".experts.")
    if not found:
        return None
    number, matrix = tail.split(".")[:2]
    if matrix == "down_proj":
        return state[head + ".experts.down_proj"][int(number)]
    both = state[head + ".experts.gate_up_proj"][int(number)]
    return both.chunk(2)[0 if matrix == "gate_proj" else 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("export", type=pathlib.Path)
    parser.add_argument("teacher", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--same-weights", action="store_true")
    args = parser.parse_args()
    failed = []

    def check(what, good, detail=""):
        print(f"{'ok    ' if good else 'FAILED'}  {what}"
              f"{': ' + str(detail) if detail and not good else ''}", flush=True)
        if not good:
            failed.append(what)

    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    model, info = load(args.export)
    check("nothing is missing or left over", not info, info)
    ours, theirs = tensors(args.export), tensors(args.teacher)
    check("names, types and shapes are the teacher's",
          {k: (v.dtype, v.shape) for k, v in ours.items()}
          == {k: (v.dtype, v.shape) for k, v in theirs.items()})
    wrong = []
    for name, value in ours.items():
        loaded = loaded_values(model, name)
        if loaded is None or loaded.dtype != value.dtype or not torch.equal(
                bits(loaded), bits(value)):
            wrong.append(name)
    check(f"all {len(ours)} tensors are loaded bit for bit", not wrong,
          wrong[:5])

    tokenizer = transformers.AutoTokenizer.from_pretrained(args.export)
    other = transformers.AutoTokenizer.from_pretrained(args.teacher)
    check("the tokenizer gives the same ids",
          tokenizer(TEXT).input_ids == other(TEXT).input_ids)

    config = json.loads((args.export / "config.json").read_text())
    headwise = config.pop("headwise_config", None)
    original = json.loads((args.teacher / "config.json").read_text())
    check("config.json differs by headwise_config alone",
          headwise is not None and config == original
          and list(config) == list(original))

    ids = torch.arange(args.tokens).remainder(
        model.config.vocab_size).unsqueeze(0)
    with torch.no_grad():
        logits = model(ids).logits
        check("logits are finite", bool(torch.isfinite(logits).all()))
        if args.same_weights:
            different = [name for name in ours
                         if not torch.equal(bits(ours[name]),
                                            bits(theirs[name]))]
            check("weights are the teacher's", not different, different[:5])
            teacher, _ = load(args.teacher)
            check("logits are the teacher's",
                  torch.equal(logits, teacher(ids).logits))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
